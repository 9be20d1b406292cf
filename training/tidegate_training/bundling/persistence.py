# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Persistence: a fitted pipeline as bytes that are the same in every process.

The form is skops, which is read back under a list of trusted types and never runs code of the archive's
choosing. joblib is written only for who asks for it, and nothing here reads it.
"""

import copyreg
import io
import json
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first date that a ZIP archive can say, and so the usual one for archives that must not vary."""

_SCHEMA = "schema.json"


def to_skops(pipeline: Any) -> bytes:
    """The pipeline as a canonical skops archive."""
    from skops.io import dumps

    return canonical(dumps(pipeline))


def from_skops(archive: bytes) -> Any:
    """Read back what :func:`to_skops` has just written in this process, and so may be trusted."""
    from skops.io import get_untrusted_types, loads

    return loads(archive, trusted=get_untrusted_types(data=archive))


def to_joblib(pipeline: Any) -> bytes:
    """The pipeline as joblib writes it, uncompressed, and in the same bytes in every process.

    A pickle notes which objects are one and the same. Whether two equal texts are depends on what else
    the process has imported, so each is written out.
    """
    from joblib.numpy_pickle import NumpyPickler

    class Pickler(NumpyPickler):  # type: ignore[misc]  # joblib ships no types
        dispatch_table = copyreg.dispatch_table | {np.random.MT19937: _without_entropy}

        def save(self, value: Any) -> Any:
            if type(value) is np.ndarray and value.dtype.hasobject:
                # joblib would hand it to a pickler of its own, which knows nothing of the rules here.
                return super(NumpyPickler, self).save(value)
            return super().save(without_padding(value) if type(value) is np.ndarray else value)

        def memoize(self, value: Any) -> None:
            if not isinstance(value, str):
                super().memoize(value)

    buffer = io.BytesIO()
    Pickler(buffer).dump(pipeline)
    return buffer.getvalue()


def without_padding(array: Array) -> Array:
    """The same records with zeros between their fields, where numpy leaves whatever was in memory.

    scikit-learn's trees are such records: what lies between their fields differs from process to process,
    and is nobody's business.
    """
    if array.dtype.names is None:
        return array
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    return clean


def _without_entropy(generator: np.random.MT19937) -> tuple[Any, ...]:
    """A generator of random numbers by its state alone, without the entropy that it began with."""
    build, arguments, *_ = generator.__reduce__()
    return build, arguments, generator.state


def canonical(archive: bytes) -> bytes:
    """Rewrite a skops archive so that it says the same and no longer when, or where in memory.

    skops names objects, and the files that hold arrays, by their address, and ZIP dates each file. Here
    both are numbered in the order in which the schema mentions them, and the date is fixed. Texts and single
    numbers get no name: whether two equal ones are one object depends on what else the process has imported.
    """
    with ZipFile(io.BytesIO(archive)) as source:
        schema = json.loads(source.read(_SCHEMA))
        identities: dict[int, int] = {}
        files: dict[str, str] = {}
        schema = _renumber(schema, identities, files)
        contents = {new: _clean(source.read(old)) for old, new in files.items()}
    contents[_SCHEMA] = json.dumps(schema, indent=2).encode()
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as target:
        for name, content in contents.items():
            target.writestr(ZipInfo(name, _EPOCH), content)
    return buffer.getvalue()


def _clean(content: bytes) -> bytes:
    """A member of an archive, its records without padding if it is an array of records."""
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    buffer = io.BytesIO()
    np.save(buffer, without_padding(array), allow_pickle=False)
    return buffer.getvalue()


def _renumber(node: Any, identities: dict[int, int], files: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_renumber(item, identities, files) for item in node]
    if not isinstance(node, dict):
        return node
    renumbered: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            if node.get("__loader__") != "JsonNode":
                # From 1, as skops takes 0 for no name.
                renumbered[key] = identities.setdefault(value, len(identities) + 1)
        elif key == "file" and "__loader__" in node and isinstance(value, str):
            suffix = value.rpartition(".")[2]
            renumbered[key] = files.setdefault(value, f"{len(files)}.{suffix}")
        else:
            renumbered[key] = _renumber(value, identities, files)
    return renumbered
