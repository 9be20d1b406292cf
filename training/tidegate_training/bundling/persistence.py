# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Persistence: converts a fitted pipeline to bytes that are the same in every process.

The format is skops: a reader passes a list of trusted types, and no code from the archive runs. joblib files
are written on request, and never read here.
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
"""The earliest date of the ZIP format, which reproducible archives use by convention."""

_SCHEMA = "schema.json"

_ADDRESS = "_stop_words_id"
"""The attribute in which scikit-learn's vectorizers of texts remember a memory address, to warn once."""


def to_skops(pipeline: Any) -> bytes:
    """Serialize a pipeline to a canonical skops archive."""
    from skops.io import dumps

    return canonical_archive(dumps(pipeline))


def to_joblib(pipeline: Any) -> bytes:
    """Serialize a pipeline in joblib's format, uncompressed.

    A pickle writes an object once and refers to it afterwards. Two equal texts can be one object or two,
    depending on the modules that the process has imported. Each text is therefore written in full.
    """
    from joblib.numpy_pickle import NumpyPickler
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

    vectorizers = dict.fromkeys((CountVectorizer, HashingVectorizer, TfidfVectorizer), _without_address)

    class Pickler(NumpyPickler):  # type: ignore[misc]  # joblib ships no types
        dispatch_table = copyreg.dispatch_table | {np.random.MT19937: _without_entropy} | vectorizers

        def save(self, value: Any) -> Any:
            if type(value) is np.ndarray and value.dtype.hasobject:
                # joblib would pickle the array with another pickler, without the rules of this class.
                return super(NumpyPickler, self).save(value)
            return super().save(without_padding(value) if type(value) is np.ndarray else value)

        def memoize(self, value: Any) -> None:
            if not isinstance(value, str):
                super().memoize(value)

    buffer = io.BytesIO()
    Pickler(buffer).dump(pipeline)
    return buffer.getvalue()


def without_padding(array: Array) -> Array:
    """Return the records, ``[records]`` or any shape, with zeros between their fields.

    numpy leaves uninitialized memory there, which differs between processes. The nodes of
    scikit-learn's trees are such records.
    """
    if array.dtype.names is None:
        return array
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    return clean


def _without_entropy(generator: np.random.MT19937) -> tuple[Any, ...]:
    """Reduce a random generator to its state, without the entropy that seeded it."""
    build, arguments, *_ = generator.__reduce__()
    return build, arguments, generator.state


def _without_address(vectorizer: Any) -> tuple[Any, ...]:
    """Reduce a vectorizer of texts to its state, without the memory address of its stop words."""
    build, arguments, state, *rest = vectorizer.__reduce_ex__(2)
    return build, arguments, {name: value for name, value in state.items() if name != _ADDRESS}, *rest


def canonical_archive(archive: bytes) -> bytes:
    """Rewrite a skops archive without dates and memory addresses; its content stays the same.

    skops identifies objects, and names the files of arrays, by memory address. Both are numbered here in the
    order of the schema. Texts and single numbers lose their identity, because two equal ones can be one
    object or two, depending on the modules that the process has imported.
    """
    with ZipFile(io.BytesIO(archive)) as source:
        schema = json.loads(source.read(_SCHEMA))
        identities: dict[int, int] = {}
        files: dict[str, str] = {}
        schema = _renumber(schema, identities, files)
        contents = {new: _clean_member(source.read(old)) for old, new in files.items()}
    contents[_SCHEMA] = json.dumps(schema, indent=2).encode()
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as target:
        for name, content in contents.items():
            target.writestr(ZipInfo(name, _EPOCH), content)
    return buffer.getvalue()


def _clean_member(content: bytes) -> bytes:
    """Return a member of an archive; an array of records loses its padding."""
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    buffer = io.BytesIO()
    np.save(buffer, without_padding(array), allow_pickle=False)
    return buffer.getvalue()


def _renumber(node: Any, identities: dict[int, int], files: dict[str, str]) -> Any:
    """Return a node of the schema with new numbers; collect them by old identity and by old file name."""
    if isinstance(node, list):
        return [_renumber(item, identities, files) for item in node]
    if not isinstance(node, dict):
        return node
    node = _without_address_of_words(node)
    renumbered: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            if node.get("__loader__") != "JsonNode":
                # skops reads 0 as "no identity".
                renumbered[key] = identities.setdefault(value, len(identities) + 1)
        elif key == "file" and "__loader__" in node and isinstance(value, str):
            suffix = value.rpartition(".")[2]
            renumbered[key] = files.setdefault(value, f"{len(files)}.{suffix}")
        else:
            renumbered[key] = _renumber(value, identities, files)
    return renumbered


def _without_address_of_words(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node of the schema without the memory address of stop words and the type of its key."""
    names = list(node["content"]) if node.get("__loader__") == "DictNode" else []
    if _ADDRESS not in names:
        return node
    types = list(node["key_types"]["content"])
    del types[names.index(_ADDRESS)]
    content = {name: value for name, value in node["content"].items() if name != _ADDRESS}
    return node | {"content": content, "key_types": node["key_types"] | {"content": types}}
