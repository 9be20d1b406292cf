# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import platform
from pathlib import Path

import pytest
import sklearn.cluster  # noqa: F401  # loads OpenMP
from threadpoolctl import threadpool_limits

from tidegate_training import environment
from tidegate_training.environment import describe_environment


@pytest.mark.parametrize("threads", [1, 2])
def test_describe_environment_has_the_threads_of_the_limit(threads: int) -> None:
    with threadpool_limits(limits=threads):
        described = describe_environment()
    assert described["threads"] == threads
    assert described["machine"] == platform.machine()
    assert any(library.startswith("openblas 0.") for library in described["libraries"])


def test_describe_environment_names_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(environment, "_CPUINFO", file)
    assert describe_environment()["processor"]
    file.write_text("processor\t: 0\nmodel name\t: Example CPU @ 2.00GHz\nprocessor\t: 1\n")
    assert describe_environment()["processor"] == "Example CPU @ 2.00GHz"
