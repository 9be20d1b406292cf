# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The release of the scenarios about rollouts, with its models and its clients.

Each scenario ends with the stable track and no canary, so the next one continues with the same release.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sklearn.datasets import load_breast_cancer

from tests.e2e.kube import CommandError, tidegate
from tests.e2e.model import BREAST_CANCER, GoldenRequest, Model, push, train
from tests.e2e.release import CHART, Release
from tests.e2e.rollout import Rollout
from tests.e2e.target import Target
from tests.e2e.traffic import ClientPod, Report, Traffic

RATE = 100.0
"""Requests per second through the Gateway."""
OUT = Path("out/e2e/rollout")

POLICY: dict[str, Any] = {
    "steps": [{"mirror": 10}, {"weight": 5}, {"weight": 25}, {"weight": 50}],
    "settle_seconds": 6,
    "block_seconds": 3,
    "min_seconds": 6,
    "min_requests": 50,
    "max_seconds": 120,
    # Wide enough for the evidence of two minutes, and for a machine that runs a whole cluster.
    "errors": {"max_ratio": 0.05},
    "latency": {"threshold_ms": 500, "max_ratio": 0.05},
}

VALUES: dict[str, Any] = {
    "server": {"engine": "sklearn", "pairsSampleRate": 1},
    # A whole CPU before a replica is added, because the start of a server would add some.
    "resources": {"requests": {"cpu": "100m"}},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": 1000},
}
"""The values of the release."""


@dataclass
class Site:
    """The release of all scenarios, its models and its clients.

    Args:
        release: The release.
        clients: The pod of the clients.
        target: The cluster under test.
        folder: A folder for bundles.
    """

    release: Release
    clients: ClientPod
    target: Target
    folder: Path

    @cached_property
    def models(self) -> tuple[Model, Model]:
        """Two models with nearly the same outputs."""
        return self.train("first", {"C": 1.0}), self.train("second", {"C": 0.9})

    def train(self, name: str, parameters: dict[str, Any], algorithm: str = "LogisticRegression") -> Model:
        """Train and push a bundle.

        Args:
            name: The folder's name.
            parameters: Those of the algorithm.
            algorithm: Its name.
        """
        config = BREAST_CANCER | {
            "float_dtype": "float64",
            "algorithm": {"name": algorithm, "parameters": parameters},
        }
        return push(train(config, self.folder / name), self.target)

    def train_swapped(self) -> Model:
        """Train a model with the labels of the other class."""
        data = load_breast_cancer(as_frame=True)
        frame = data.data.assign(target=[data.target_names[1 - label] for label in data.target])
        file = self.folder / "swapped.csv"
        frame.to_csv(file, index=False)
        config = BREAST_CANCER | {
            "float_dtype": "float64",
            "data": {"path": str(file)},
            "target": "target",
            "algorithm": {"name": "LogisticRegression", "parameters": {"C": 1.0}},
        }
        return push(train(config, self.folder / "swapped"), self.target)

    @property
    def stable(self) -> Model:
        """The model of the stable track."""
        digest = self.release.recorded_values()["model"]["digest"]
        return next(model for model in self.models if model.digest == digest)

    @property
    def other(self) -> Model:
        """The other one of the two models."""
        return next(model for model in self.models if model is not self.stable)

    def traffic(self, rate: float = RATE, request: GoldenRequest | None = None) -> Traffic:
        """Return clients that send one request again and again through the Gateway.

        Args:
            rate: Requests per second.
            request: The request; a golden one by default.
        """
        golden = request or GoldenRequest.from_models(self.models)
        return Traffic(self.clients, self.release, golden, {"gateway": rate})

    def rollout(
        self, scenario: str, canary: Model | None, options: Sequence[str] = (), **policy: Any
    ) -> Rollout:
        """Return a rollout that is not started yet.

        Args:
            scenario: The name of the report's folder.
            canary: The new model; None for a rehearsal.
            options: Further options of the command.
            policy: Fields that replace those of :data:`POLICY`.
        """
        digest = None if canary is None else canary.digest
        return Rollout(self.release, digest, POLICY | policy, OUT / scenario, options)

    def abort(self) -> Any:
        """Abort a rollout that is held, and return the report's document."""
        options = (f"--namespace={self.release.namespace.name}", f"--chart={CHART}")
        try:
            return tidegate("rollout", "abort", self.release.name, *options)
        except CommandError as error:
            raise AssertionError(f"{error}\n{self.release.namespace.explain()}") from None


def assert_no_canary(site: Site, stable: Model) -> None:
    """Assert that the release is as before the rollout, with one digest."""
    values = site.release.recorded_values()
    assert values["model"]["digest"] == stable.digest
    assert values["canary"]["digest"] == ""
    assert values["canary"]["weight"] == 0
    site.release.namespace.wait(
        "the canary's end", lambda: "it has pods" if site.release.pods("canary") else None, timeout=120
    )


def assert_only(report: Report, model: Model) -> None:
    """Assert that every response to a user is one of this model, and that no request was lost."""
    report.assert_nothing_lost(at_least=200)
    assert {version for phase in report.clients["gateway"]["versions"].values() for version in phase} == {
        model.version
    }


def failed_checks(document: dict[str, Any]) -> set[str]:
    """Return the names of the failed checks."""
    return {check["name"] for check in document["checks"] if check["outcome"] == "fail"}
