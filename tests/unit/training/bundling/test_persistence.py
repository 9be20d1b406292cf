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
from tidegate_training.bundling.persistence import canonical, from_skops, to_joblib, to_skops, without_padding

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def fitted() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("estimator", LogisticRegression())]).fit(X, Y)


def test_a_pipeline_read_back_answers_the_same_scaler_included():
    pipeline = fitted()
    restored = from_skops(to_skops(pipeline))
    assert (restored.predict_proba(X) == pipeline.predict_proba(X)).all()
    assert restored["scale"].mean_.tolist() == pipeline["scale"].mean_.tolist()


def test_two_fits_in_one_process_give_the_same_archive():
    assert to_skops(fitted()) == to_skops(fitted())
    assert to_joblib(fitted()) == to_joblib(fitted())


def test_an_archive_says_no_date_and_no_address():
    with ZipFile(io.BytesIO(to_skops(fitted()))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(len(entry.filename) < 12 for entry in archive.infolist())
        schema = archive.read("schema.json").decode()
    identities = {int(found) for found in re.findall(r'"__id__": (\d+)', schema)}
    assert identities == set(range(1, len(identities) + 1))


def test_rewriting_a_canonical_archive_changes_nothing():
    archive = to_skops(fitted())
    assert canonical(archive) == archive


@pytest.mark.parametrize("shared", [True, False])
def test_an_object_that_is_used_twice_is_written_and_built_once(shared: bool):
    one = np.arange(3.0)
    archive = to_skops({"a": one, "b": one if shared else one.copy()})
    restored = from_skops(archive)
    assert restored["b"].tolist() == one.tolist()
    assert (restored["a"] is restored["b"]) == shared
    with ZipFile(io.BytesIO(archive)) as opened:
        assert sum(name.endswith(".npy") for name in opened.namelist()) == (1 if shared else 2)


@pytest.mark.parametrize("write", [to_skops, to_joblib])
def test_it_does_not_matter_whether_two_equal_texts_are_one_object(write: Callable[[Any], bytes]):
    text = "income"
    other = "".join(["inc", "ome"])
    assert text is not other
    assert write({"a": text, "b": text}) == write({"a": text, "b": other})


def test_what_joblib_reads_is_what_was_written(tmp_path: Path):
    import joblib

    (tmp_path / "model.joblib").write_bytes(to_joblib(fitted()))
    restored = joblib.load(tmp_path / "model.joblib")
    assert (restored.predict_proba(X) == fitted().predict_proba(X)).all()


def forest() -> Pipeline:
    return Pipeline([("estimator", RandomForestClassifier(n_estimators=2, random_state=0))]).fit(X, Y)


def padding_of(array: np.ndarray) -> set[int]:
    """The bytes of an array of records that are in none of its fields."""
    inside = np.zeros(array.dtype.itemsize, dtype=bool)
    for dtype, offset, *_ in array.dtype.fields.values():
        inside[offset : offset + dtype.itemsize] = True
    return set(array.view(np.uint8).reshape(-1, array.dtype.itemsize)[:, ~inside].ravel().tolist())


def test_nothing_of_the_memory_between_a_tree_s_fields_is_written():
    dtype = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 16})
    dirty = np.frombuffer(b"\xff" * 64, dtype=dtype)
    clean = without_padding(dirty)
    assert (padding_of(dirty), padding_of(clean)) == ({255}, {0})
    assert clean.tobytes() != dirty.tobytes()
    assert clean["a"].tolist() == dirty["a"].tolist()
    with ZipFile(io.BytesIO(to_skops(forest()))) as archive:
        members = [archive.read(name) for name in archive.namelist() if name.endswith("npy")]
    records = 0
    for member in members:
        array = np.load(io.BytesIO(member))
        if array.dtype.names is not None:
            records += 1
            # numpy leaves padding as it is only where it copies bytes, and so not when it loads.
            assert padding_of(np.frombuffer(member[-array.nbytes :], array.dtype)) == {0}
    assert records == 2


@pytest.mark.parametrize("write", [to_skops, to_joblib])
def test_a_random_generator_is_written_without_the_entropy_it_began_with(write: Callable[[Any], bytes]):
    first, second = (np.array([np.random.RandomState(3), None], dtype=object) for _ in range(2))
    assert write({"a": first}) == write({"a": second})


def test_a_random_generator_goes_on_where_it_was(tmp_path: Path):
    import joblib

    generator = np.random.RandomState(3)
    generator.random(5)
    (tmp_path / "generator.joblib").write_bytes(to_joblib(generator))
    assert joblib.load(tmp_path / "generator.joblib").random() == generator.random()
