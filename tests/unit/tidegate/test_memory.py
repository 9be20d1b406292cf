# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.support.bundles import write_bundle
from tidegate.bundle import BASELINE, CONTRACT, JOBLIB, ONNX, SKOPS, FileEntry
from tidegate.memory import COMPILED, SCIKIT_LEARN, memory_limit


@pytest.fixture
def manifest(tmp_path):
    manifest = write_bundle(tmp_path / "iris", model=b"x" * 3_000).manifest
    onnx = FileEntry(size=1_000, sha256="0" * 64)
    return manifest.model_copy(update={"files": {**manifest.files, ONNX: onnx}})


def test_memory_limit_grows_with_the_files_of_the_engine(manifest):
    shared = manifest.files[CONTRACT].size + manifest.files[BASELINE].size
    assert manifest.files[SKOPS].size == 3_000
    assert memory_limit(manifest, compiled=True) == COMPILED.limit(1_000 + shared)
    assert memory_limit(manifest, compiled=False) == SCIKIT_LEARN.limit(3_000 + shared)


def test_memory_limit_of_a_pickle_is_that_of_the_pickle(manifest):
    pickled = {**manifest.files, JOBLIB: FileEntry(size=9_000, sha256="0" * 64)}
    larger = memory_limit(manifest.model_copy(update={"files": pickled}), compiled=False)
    assert larger - memory_limit(manifest, compiled=False) == SCIKIT_LEARN.factor * 6_000
