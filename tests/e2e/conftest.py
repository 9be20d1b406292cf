# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the scenarios: the cluster, one namespace per scenario, models, clients and evidence."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Namespace, run
from tests.e2e.model import BREAST_CANCER, FOREST, SVM, GoldenRequest, Model, push, train
from tests.e2e.release import Release, create_namespace
from tests.e2e.rollout_site import VALUES, Site
from tests.e2e.scenarios import FULL_MARKER, find_scenario
from tests.e2e.summary import ScenarioResult, Summary
from tests.e2e.target import Target
from tests.e2e.traffic import ClientPod, StartTraffic, Traffic

SUMMARY = Path("out/e2e/summary.json")

_evidence = pytest.StashKey[dict[str, Any]]()
_started_at = pytest.StashKey[float]()
_summary = pytest.StashKey[Summary]()
_failures = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Any:
    item.stash[_started_at] = time.monotonic()
    item.stash[_evidence] = {}
    item.stash[_failures] = []
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Add the scenario to the summary after its teardown."""
    report = yield
    if not report.passed:
        item.stash[_failures].append(str(report.longrepr)[-3000:])
    namespace = getattr(item, "funcargs", {}).get("namespace")
    if report.failed and report.when == "call" and namespace is not None:
        # The teardown removes the namespace, so describe it now.
        report.sections.append(("namespace", namespace.explain()))
    if report.when == "teardown" and (summary := item.session.stash.get(_summary, None)) is not None:
        failures = item.stash[_failures]
        summary.scenarios.append(
            ScenarioResult(
                name=item.name.removeprefix("test_"),
                passed=not failures,
                seconds=round(time.monotonic() - item.stash[_started_at], 1),
                evidence=item.stash[_evidence],
                reason="\n".join(failures) or None,
            )
        )
        summary.write(SUMMARY)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the scenarios of the full run, before pytest applies `-m`."""
    for item in items:
        try:
            scenario = find_scenario(item.name)
        except LookupError as error:
            raise pytest.UsageError(str(error)) from error
        if scenario.full:
            item.add_marker(FULL_MARKER)


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return  # the command collects the scenarios before it starts a cluster
    target = Target.from_environment(os.environ)
    version = json.loads(run(["kubectl", "version", "--output=json"]))["serverVersion"]["gitVersion"]
    session.stash[_summary] = Summary({"kind": target.kind, "kubernetes": version, **target.versions})
    session.stash[_summary].write(SUMMARY)


def pytest_sessionfinish(session: pytest.Session) -> None:
    summary = session.stash.get(_summary, None)
    if summary is not None:
        # At the end of the run, because a node reports an image only some time after its import.
        summary.cluster["images"] = image_sizes(Target.from_environment(os.environ))
        summary.write(SUMMARY)


def image_sizes(target: Target) -> dict[str, int]:
    """Return the images' sizes in bytes, as the nodes report them."""
    nodes = json.loads(run(["kubectl", "get", "nodes", "--output=json"]))["items"]
    sizes = {
        name: image["sizeBytes"]
        for node in nodes
        for image in node["status"].get("images", [])
        for name in image.get("names") or []  # a replaced image has no names
    }
    return {
        kind: size
        for kind, image in target.images.items()
        for name, size in sizes.items()
        if name in (image, f"docker.io/{image}")
    }


@pytest.fixture(scope="session")
def target() -> Target:
    return Target.from_environment(os.environ)


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The scenario's measurements, for the summary."""
    measurements: dict[str, Any] = request.node.stash[_evidence]
    return measurements


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> str:
    """The scenario's name in the form of a namespace's name."""
    return str(request.node.name).removeprefix("test_").replace("_", "-")


@pytest.fixture
def namespace(scenario: str, target: Target) -> Iterator[Namespace]:
    """A namespace of the scenario's own."""
    with create_namespace(scenario, target) as namespace:
        yield namespace


@pytest.fixture(scope="session")
def models(target: Target, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """Two versions of one model, which differ in one hyperparameter."""
    folder = tmp_path_factory.mktemp("models")
    other_config = BREAST_CANCER | {"algorithm": {"name": "LogisticRegression", "parameters": {"C": 0.05}}}
    bundles = [train(BREAST_CANCER, folder / "v1"), train(other_config, folder / "v2")]
    first, other = (push(bundle, target) for bundle in bundles)
    assert first.digest != other.digest
    return first, other


@pytest.fixture
def v1(models: tuple[Model, Model]) -> Model:
    return models[0]


@pytest.fixture
def v2(models: tuple[Model, Model]) -> Model:
    return models[1]


@pytest.fixture(scope="session")
def forest(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return push(train(FOREST, tmp_path_factory.mktemp("forest")), target)


@pytest.fixture(scope="session")
def svm(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return push(train(SVM, tmp_path_factory.mktemp("svm")), target)


@pytest.fixture
def release(namespace: Namespace, target: Target, tmp_path: Path) -> Release:
    """A release that is not installed yet."""
    return Release("cancer", namespace, target, tmp_path)


@pytest.fixture(scope="session")
def gateway(target: Target) -> str:
    """The Gateway's address."""
    namespace, name = target.gateway
    gateway = Namespace(namespace).get(f"gateway/{name}")
    return str(gateway["status"]["addresses"][0]["value"])


@pytest.fixture
def client(namespace: Namespace, target: Target, gateway: str, release: Release) -> ClientPod:
    """The clients' pod. It starts concurrently with the scenario; `start_traffic` waits for it."""
    pod = ClientPod(namespace, target, gateway)
    pod.start([release.hostname])
    return pod


@pytest.fixture
def start_traffic(client: ClientPod, models: tuple[Model, Model]) -> StartTraffic:
    """A function that returns a context in which clients send requests to a release."""

    def start(release: Release, rates: Mapping[str, float] | None = None) -> Traffic:
        client.wait()
        return Traffic(client, release, GoldenRequest.from_models(models), rates)

    return start


@pytest.fixture(scope="module")
def site(target: Target, gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The release of a module's rollouts."""
    folder = tmp_path_factory.mktemp("rollout")
    with create_namespace("rollout", target) as namespace:
        release = Release("cancer", namespace, target, folder)
        clients = ClientPod(namespace, target, gateway)
        clients.start([release.hostname])
        site = Site(release, clients, target, folder)
        release.install(site.models[0], VALUES)
        clients.wait()
        yield site


@pytest.fixture
def end_rollout(site: Site) -> Iterator[None]:
    """End the rollout of a scenario that failed, so that the next one has a release without a canary."""
    yield
    if site.release.computed_values()["canary"]["digest"]:
        try:
            site.abort()
        except AssertionError:  # the scenario itself has started the canary, without a rollout
            site.release.upgrade({"canary.digest": "", "canary.mirrorPercent": 0, "canary.weight": 0})
