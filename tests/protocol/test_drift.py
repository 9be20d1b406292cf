# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The drift metrics of a live server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from tests.protocol.clients import JSON_HEADERS, scrape
from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.errors import ConfigurationError
from tidegate.protocol.constants import Protocol
from tidegate.protocol.requests import v1_body
from tidegate_serving.client import predict
from tidegate_serving.observability.drift_monitor import MIN_WINDOW_ROWS

THRESHOLD = 0.25
"""Siddiqi's threshold, and the alert's default."""


@pytest.fixture
def unused_server(numeric_bundle: Bundle, tmp_path: Path) -> Iterator[LiveServer]:
    """A server that has received no request."""
    with serving(numeric_bundle, tmp_path / "log") as server:
        yield server


def send_until_a_window_is_full(server: LiveServer, transform: Callable[[np.ndarray], np.ndarray]) -> int:
    """Send transformed training rows in small requests; the monitor drops rows that exceed its CPU budget.

    Returns:
        The number of rows sent.
    """
    table = transform(load_breast_cancer().data)
    generator, sent = np.random.default_rng(1), 0
    assert scrape(server).get("tidegate_feature_drift_psi", {}) == {}
    while scrape(server)["tidegate_drift_window_rows"][""] < MIN_WINDOW_ROWS:
        rows = table[generator.permutation(len(table))[:50]].tolist()
        response = httpx.post(
            f"{server.http}/v1/models/{server.name}:predict",
            content=v1_body(server.bundle.contract, rows),
            headers=JSON_HEADERS,
            timeout=30,
        )
        assert response.status_code == 200
        sent += len(rows)
    return sent


def test_rows_like_the_training_data_show_no_drift(unused_server: LiveServer) -> None:
    send_until_a_window_is_full(unused_server, lambda table: table)
    metrics = scrape(unused_server)
    drift = metrics["tidegate_feature_drift_psi"]
    assert list(drift) == list(unused_server.bundle.contract.feature_names)
    assert max(drift.values()) < THRESHOLD
    assert metrics["tidegate_prediction_drift_psi"][""] < THRESHOLD


def test_shifted_feature_shows_drift_alone(unused_server: LiveServer) -> None:
    shifted = unused_server.bundle.contract.feature_names.index("worst perimeter")

    def shift(table: np.ndarray) -> np.ndarray:
        table[:, shifted] += 2 * table[:, shifted].std()
        return table

    sent = send_until_a_window_is_full(unused_server, shift)
    metrics = scrape(unused_server)
    drift = metrics["tidegate_feature_drift_psi"]
    assert drift.pop("worst perimeter") > THRESHOLD > max(drift.values())
    counted = metrics["tidegate_drift_rows_total"]["counted"]
    predictions = metrics["tidegate_predictions_total"]
    assert MIN_WINDOW_ROWS <= counted <= sent
    assert set(predictions) == {"malignant", "benign", "other"}
    assert predictions["other"] == 0
    assert sum(predictions.values()) == counted


def test_violation_is_counted_by_feature_and_kind(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    row = list(contract.golden.rows[0])
    row[3] = None
    name = contract.feature_names[3]

    def violations() -> float:
        return (
            scrape(numeric_server)
            .get("tidegate_input_violations_total", {})
            .get(f"{name} missing_feature", 0)
        )

    before = violations()
    for protocol in (Protocol.V1, Protocol.V2, Protocol.GRPC):
        address = numeric_server.grpc if protocol is Protocol.GRPC else numeric_server.http
        with pytest.raises(ConfigurationError, match=name):
            predict(address, numeric_server.name, protocol, [row])
    assert violations() == before + 3
