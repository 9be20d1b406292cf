# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import (
    canonical_archive,
    to_joblib,
    to_skops,
    without_padding,
)

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def fit_pipeline() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("estimator", LogisticRegression())]).fit(X, Y)


def test_to_skops_pipeline_predicts_the_same() -> None:
    pipeline = fit_pipeline()
    restored = build_pipeline(to_skops(pipeline), Policy())
    assert (restored.predict_proba(X) == pipeline.predict_proba(X)).all()
    assert restored["scale"].mean_.tolist() == pipeline["scale"].mean_.tolist()


def test_to_skops_of_two_equal_fits_gives_the_same_archive() -> None:
    assert to_skops(fit_pipeline()) == to_skops(fit_pipeline())
    assert to_joblib(fit_pipeline()) == to_joblib(fit_pipeline())


def test_to_skops_archive_has_no_dates_and_no_addresses() -> None:
    with ZipFile(io.BytesIO(to_skops(fit_pipeline()))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(len(entry.filename) < 12 for entry in archive.infolist())
        schema = archive.read("schema.json").decode()
    identities = {int(identity) for identity in re.findall(r'"__id__": (\d+)', schema)}
    assert identities == set(range(1, len(identities) + 1))


def test_canonical_archive_is_idempotent() -> None:
    archive = to_skops(fit_pipeline())
    assert canonical_archive(archive) == archive


@pytest.mark.parametrize("shared", [True, False])
def test_to_skops_shared_object_is_written_once(shared: bool) -> None:
    one = np.arange(3.0)
    archive = to_skops({"a": one, "b": one if shared else one.copy()})
    restored = build_pipeline(archive, Policy())
    assert restored["b"].tolist() == one.tolist()
    assert (restored["a"] is restored["b"]) == shared
    with ZipFile(io.BytesIO(archive)) as opened:
        assert sum(name.endswith(".npy") for name in opened.namelist()) == (1 if shared else 2)


@pytest.mark.parametrize("write", [to_skops, to_joblib])
def test_archive_does_not_depend_on_the_identity_of_texts(write: Callable[[Any], bytes]) -> None:
    text = "income"
    other = "".join(["inc", "ome"])
    assert text is not other
    assert write({"a": text, "b": text}) == write({"a": text, "b": other})


def test_to_joblib_file_is_read_by_joblib(tmp_path: Path) -> None:
    import joblib

    (tmp_path / "model.joblib").write_bytes(to_joblib(fit_pipeline()))
    restored = joblib.load(tmp_path / "model.joblib")
    assert (restored.predict_proba(X) == fit_pipeline().predict_proba(X)).all()


def fit_forest() -> Pipeline:
    return Pipeline([("estimator", RandomForestClassifier(n_estimators=2, random_state=0))]).fit(X, Y)


def padding_bytes(array: np.ndarray) -> set[int]:
    """Return the distinct bytes between the fields of an array of records."""
    inside = np.zeros(array.dtype.itemsize, dtype=bool)
    for dtype, offset, *_ in array.dtype.fields.values():
        inside[offset : offset + dtype.itemsize] = True
    return set(array.view(np.uint8).reshape(-1, array.dtype.itemsize)[:, ~inside].ravel().tolist())


def test_to_skops_tree_records_have_no_padding() -> None:
    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 16})
    dirty = np.frombuffer(b"\xff" * 64, dtype=dtype)
    clean = without_padding(dirty)
    assert (padding_bytes(dirty), padding_bytes(clean)) == ({255}, {0})
    assert clean.tobytes() != dirty.tobytes()
    assert clean["a"].tolist() == dirty["a"].tolist()
    with ZipFile(io.BytesIO(to_skops(fit_forest()))) as archive:
        members = [archive.read(name) for name in archive.namelist() if name.endswith("npy")]
    records = 0
    for member in members:
        array = np.load(io.BytesIO(member))
        if array.dtype.names is not None:
            records += 1
            # numpy keeps padding only where it copies bytes; loading an array does not copy it.
            assert padding_bytes(np.frombuffer(member[-array.nbytes :], array.dtype)) == {0}
    assert records == 2


@pytest.mark.parametrize("write", [to_skops, to_joblib])
def test_archive_of_a_random_generator_has_no_entropy(write: Callable[[Any], bytes]) -> None:
    first, second = (np.array([np.random.RandomState(3), None], dtype=object) for _ in range(2))
    assert write({"a": first}) == write({"a": second})


def test_to_joblib_random_generator_continues_its_sequence(tmp_path: Path) -> None:
    import joblib

    generator = np.random.RandomState(3)
    generator.random(5)
    (tmp_path / "generator.joblib").write_bytes(to_joblib(generator))
    assert joblib.load(tmp_path / "generator.joblib").random() == generator.random()
