# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the request sample of a server: the Parquet files of a folder as one table.

The format is that of ``tidegate serve --request-sample-url``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from tidegate.digest import sha256
from tidegate.errors import ConfigurationError, DataError
from tidegate.objects import Objects
from tidegate_training.data.columns import ArrowColumn
from tidegate_training.data.source import Source, read_parquet, where

ID, TIME, DIGEST = "id", "time", "digest"
"""The columns that every request sample has."""


def is_folder(path: str) -> bool:
    """Return whether a path is a folder, local or in a store, and not a file."""
    return path.endswith("/") or Path(path).is_dir()


def read_request_sample(folder: str, digest: str) -> Source:
    """Read all files below a folder. A row whose id occurs before is left out: the request was sent again.

    Args:
        folder: The folder, local or in a store, such as ``s3://samples/iris/17c3…/``.
        digest: The digest of the bundle that the rows must be of.

    Raises:
        ConfigurationError: If the folder has no Parquet file.
        DataError: If a file is damaged, is not of a request sample, or is that of another bundle.
        StoreError: If the store is not available.
    """
    import pyarrow as pa

    objects = Objects(folder)
    paths = sorted(path for path in objects.paths("") if path.endswith(".parquet"))
    if not paths:
        raise ConfigurationError(
            f"{folder} has no Parquet file: expected the folder of a request sample, "
            "<url>/<model>/<digest>/, or of one date in it."
        )
    tables, digests = [], []
    for path in paths:
        name = f"{objects.uri}/{path}"
        content = objects.read(path, None, name)
        table = read_parquet(name, content)
        _require_sample_of(digest, table, name)
        tables.append(table)
        digests.append(sha256(content))
    # Files of another sensitivity lack columns, whose values are missing.
    rows = pa.concat_tables(tables, promote_options="default").sort_by([(TIME, "ascending")])
    _, first = np.unique(np.array(rows.column(ID).to_pylist(), object), return_index=True)
    rows = rows.take(np.sort(first))
    columns = (ArrowColumn(where(folder, name), rows.column(name)) for name in rows.column_names)
    return Source(folder, sha256("".join(digests).encode()), tuple(rows.column_names), tuple(columns))


def _require_sample_of(digest: str, table: Any, name: str) -> None:
    missing = [column for column in (ID, TIME, DIGEST) if column not in table.column_names]
    if missing:
        raise DataError(
            f"{name} has no column '{missing[0]}' and is not of a request sample: name one file in place of "
            "the folder."
        )
    others = set(table.column(DIGEST).unique().to_pylist()) - {digest}
    if others:
        raise DataError(
            f"{name} has outputs of the bundle {others.pop()}, expected {digest}: name the folder of this "
            "digest."
        )
