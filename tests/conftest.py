# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles trained once a session, and servers on them, for every test that wants real ones."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tidegate.bundle import Bundle, seal

NUMERIC = {
    "name": "tumour",
    "task": "classification",
    "data": {"dataset": "breast_cancer", "target_names": True},
    "preprocessing": {"numeric": {"scale": "standard"}},
    "algorithm": {"name": "LogisticRegression"},
}
BOOSTING = {
    "name": "boosting",
    "task": "classification",
    "data": {"dataset": "iris"},
    "algorithm": {"name": "HistGradientBoostingClassifier", "parameters": {"max_iter": 5}},
}
REGRESSION = {
    "name": "diabetes",
    "task": "regression",
    "data": {"dataset": "diabetes"},
    "algorithm": {"name": "Ridge"},
}
MIXED = {
    "name": "mixed",
    "task": "classification",
    "data": {"path": "rows.csv"},
    "target": "ill",
    "features": {"overrides": {"city": {"handle_unknown": "accept"}, "smoker": {"datatype": "bool"}}},
    "preprocessing": {"numeric": {"impute": "mean", "scale": "standard"}},
    "algorithm": {"name": "LogisticRegression"},
}
FOREST = MIXED | {
    "name": "forest",
    # The converter has no form for categories that share a column, so this is not proven equal.
    "preprocessing": {"numeric": {"impute": "mean"}, "text": {"min_frequency": 70}},
    "algorithm": {"name": "RandomForestClassifier", "parameters": {"n_estimators": 10, "max_depth": 4}},
}


def train_bundle(config: dict[str, Any], directory: Path, *, joblib: bool = False) -> Bundle:
    from tidegate_training import TrainingConfig, train

    (directory.parent / "rows.csv").write_text(_mixed_rows())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what training warns of is for its own tests
        return train(
            TrainingConfig.model_validate(config), directory, joblib=joblib, base_dir=directory.parent
        ).bundle


def _mixed_rows() -> str:
    source = random.Random(5)
    lines = ["age,visits,smoker,city,grade,ill"]
    for _ in range(240):
        age = "" if source.random() < 0.1 else f"{source.uniform(20, 80):.1f}"
        visits, smoker = source.randint(0, 9), source.random() < 0.4
        city, grade = source.choice(["Oslo", "Rome", "Paris"]), source.choice(["low", "mid", "high"])
        ill = (float(age or 50) > 55) != (smoker and grade == "high")
        lines.append(f"{age},{visits},{smoker},{city},{grade},{'yes' if ill else 'no'}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def numeric_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A classifier of 30 floats with text labels, proven equal to its compiled form."""
    return train_bundle(NUMERIC, tmp_path_factory.mktemp("numeric") / "bundle")


@pytest.fixture(scope="session")
def mixed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A classifier of a float that may be missing, an integer, a boolean and two texts."""
    return train_bundle(MIXED, tmp_path_factory.mktemp("mixed") / "bundle")


@pytest.fixture(scope="session")
def forest_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A forest on mixed columns, which its compiled form does not equal."""
    return train_bundle(FOREST, tmp_path_factory.mktemp("forest") / "bundle")


@pytest.fixture(scope="session")
def boosting_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Histogram gradient boosting, whose trees are of another kind."""
    return train_bundle(BOOSTING, tmp_path_factory.mktemp("boosting") / "bundle")


@pytest.fixture(scope="session")
def regression_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A linear regression of ten floats."""
    return train_bundle(REGRESSION, tmp_path_factory.mktemp("regression") / "bundle")


@pytest.fixture(scope="session")
def joblib_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a pickle in it."""
    return train_bundle(FOREST, tmp_path_factory.mktemp("joblib") / "bundle", joblib=True)


def altered(bundle: Bundle, directory: Path, change: Callable[[Path], None], **fields: Any) -> Bundle:
    """A copy of a bundle, changed and sealed again: what a trusted digest names, but nobody trained.

    Args:
        bundle: The original.
        directory: Where the copy goes.
        change: Changes the copy's files.
        **fields: Fields of the manifest to replace.
    """
    shutil.copytree(bundle.path, directory)
    change(directory)
    manifest = bundle.manifest.model_dump(exclude={"format_version", "files"}) | fields
    return seal(directory, **manifest)


TIDEGATE = [sys.executable, "-c", "from tidegate.cli import main; main()"]


@dataclass
class LiveServer:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    log: Path
    name: str
    bundle: Bundle
    http: str
    grpc: str

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def serving(bundle: Bundle, log: Path, *options: str, source: str | None = None) -> Iterator[LiveServer]:
    """Run ``tidegate serve`` on free ports until the block ends."""
    command = [*TIDEGATE, "serve", source or str(bundle.path), "--host", "127.0.0.1", "--output", "json"]
    command += ["--http-port", "0", "--grpc-port", "0", "--drain-seconds", "0", *options]
    with log.open("w") as sink:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "default"},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the server ended before it was ready:\n{log.read_text()}"
        ready = json.loads(line)
        yield LiveServer(
            process,
            log,
            ready["name"],
            bundle,
            f"http://127.0.0.1:{ready['http_port']}",
            f"127.0.0.1:{ready['grpc_port']}",
        )
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def numeric_server(numeric_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(
        numeric_bundle,
        tmp_path_factory.mktemp("log") / "log",
        "--max-rows",
        "500",
        "--max-body-bytes",
        "300000",
    ) as server:
        yield server


@pytest.fixture(scope="session")
def mixed_server(mixed_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(mixed_bundle, tmp_path_factory.mktemp("log") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def forest_server(forest_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(forest_bundle, tmp_path_factory.mktemp("log") / "log", "--access-log") as server:
        yield server


@pytest.fixture(scope="session")
def regression_server(
    regression_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    with serving(regression_bundle, tmp_path_factory.mktemp("log") / "log") as server:
        yield server


@pytest.fixture(scope="session", params=["numeric", "mixed", "forest", "regression"])
def any_server(request: pytest.FixtureRequest) -> LiveServer:
    """Each kind of model in turn."""
    server: LiveServer = request.getfixturevalue(f"{request.param}_server")
    return server
