# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles and servers that are made once per session, one per kind of model."""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.servers import GRPC_TRANSPORTS, NUMERIC_LIMITS, LiveServer, serving
from tests.support.trained_bundles import BOOSTING, FOREST, MIXED, NUMERIC, REGRESSION, train_bundle
from tidegate.bundle import Bundle

# Hypothesis limits the wall-clock time of an example, which fails on a busy machine.
settings.register_profile("tidegate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tidegate")

# Bundles


@pytest.fixture(scope="session")
def numeric_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A classifier of 30 floats with text labels, equal to its compiled model."""
    return train_bundle(NUMERIC, tmp_path_factory.mktemp("numeric") / "bundle")


@pytest.fixture(scope="session")
def mixed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A classifier of a float that may be missing, an integer, a boolean and two text columns."""
    return train_bundle(MIXED, tmp_path_factory.mktemp("mixed") / "bundle")


@pytest.fixture(scope="session")
def forest_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A forest on mixed columns, not equal to its compiled model."""
    return train_bundle(FOREST, tmp_path_factory.mktemp("forest") / "bundle")


@pytest.fixture(scope="session")
def boosting_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Histogram gradient boosting, whose trees have a format of their own."""
    return train_bundle(BOOSTING, tmp_path_factory.mktemp("boosting") / "bundle")


@pytest.fixture(scope="session")
def regression_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A linear regression of ten floats."""
    return train_bundle(REGRESSION, tmp_path_factory.mktemp("regression") / "bundle")


@pytest.fixture(scope="session")
def joblib_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that contains a pickle."""
    return train_bundle(FOREST, tmp_path_factory.mktemp("joblib") / "bundle", joblib=True)


# Servers

TRANSPORT = GRPC_TRANSPORTS[0]


@pytest.fixture(scope="session")
def numeric_server(numeric_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(
        numeric_bundle, tmp_path_factory.mktemp("log") / "log", *NUMERIC_LIMITS, transport=TRANSPORT
    ) as server:
        yield server


@pytest.fixture(scope="session")
def mixed_server(mixed_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(mixed_bundle, tmp_path_factory.mktemp("log") / "log", transport=TRANSPORT) as server:
        yield server


@pytest.fixture(scope="session")
def forest_server(forest_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    options = ("--access-log", "--access-log-header", "X-Client-Id")
    with serving(
        forest_bundle, tmp_path_factory.mktemp("log") / "log", *options, transport=TRANSPORT
    ) as server:
        yield server


@pytest.fixture(scope="session")
def regression_server(
    regression_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("log")
    options = ("--metrics-port", "--shadow-http-port", "--shadow-grpc-port", "--pairs-port")
    ports = [text for option in options for text in (option, "0")]
    samples = ("--pairs-sample-rate", "1", "--request-sample-url", str(folder / "samples"))
    with serving(regression_bundle, folder / "log", *ports, *samples, transport=TRANSPORT) as server:
        yield server


@pytest.fixture(scope="session", params=["numeric", "mixed", "forest", "regression"])
def any_server(request: pytest.FixtureRequest) -> LiveServer:
    """Each kind of model in turn."""
    server: LiveServer = request.getfixturevalue(f"{request.param}_server")
    return server


# Memory


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Leave reference cycles in memory."""
    gc.disable()
    yield
    gc.enable()
