# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The drift and violation metrics of a live server.

A server counts while a test reads its metrics. Therefore each test compares values of one scrape only.
"""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from tests.protocol.clients import post_once, scrape
from tests.support.servers import LiveServer
from tidegate.errors import ConfigurationError
from tidegate.protocol.constants import Protocol
from tidegate.protocol.requests import v1_body
from tidegate_serving.client import predict
from tidegate_serving.observability.drift_monitor import MIN_WINDOW_ROWS

THRESHOLD = 0.25
"""Siddiqi's threshold, and the alert's default."""

Scrape = dict[str, dict[str, float]]
"""By sample name, the values by the labels' values."""


def send_until_window_is_full(
    server: LiveServer, transform: Callable[[np.ndarray], np.ndarray]
) -> tuple[int, Scrape]:
    """Send transformed training rows in small requests. The monitor drops rows above its CPU budget.

    Returns:
        The number of rows sent, and the scrape that shows the full window.
    """
    table = transform(load_breast_cancer().data)
    generator, sent = np.random.default_rng(1), 0
    metrics = scrape(server)
    assert "tidegate_feature_drift_psi" not in metrics
    while metrics["tidegate_drift_window_rows"][""] < MIN_WINDOW_ROWS:
        rows = table[generator.permutation(len(table))[:50]].tolist()
        body = v1_body(server.bundle.contract, rows)
        response = post_once(server, f"/v1/models/{server.name}:predict", body)
        assert response.status_code == 200
        sent += len(rows)
        metrics = scrape(server)
    return sent, metrics


def test_drift_training_rows_are_below_threshold(unused_server: LiveServer) -> None:
    _, metrics = send_until_window_is_full(unused_server, lambda table: table)
    drift = metrics["tidegate_feature_drift_psi"]
    assert list(drift) == list(unused_server.bundle.contract.feature_names)
    assert max(drift.values()) < THRESHOLD
    assert metrics["tidegate_prediction_drift_psi"][""] < THRESHOLD


def test_drift_shifted_feature_alone_is_above_threshold(unused_server: LiveServer) -> None:
    shifted = unused_server.bundle.contract.feature_names.index("worst perimeter")

    def shift(table: np.ndarray) -> np.ndarray:
        table[:, shifted] += 2 * table[:, shifted].std()
        return table

    sent, metrics = send_until_window_is_full(unused_server, shift)
    drift = metrics["tidegate_feature_drift_psi"]
    assert drift.pop("worst perimeter") > THRESHOLD > max(drift.values())
    counted = metrics["tidegate_drift_rows_total"]["counted"]
    predictions = metrics["tidegate_predictions_total"]
    assert MIN_WINDOW_ROWS <= counted <= sent
    assert set(predictions) == {"malignant", "benign", "other"}
    assert predictions["other"] == 0
    assert sum(predictions.values()) == counted


def test_violation_is_counted_per_feature_and_kind(unused_server: LiveServer) -> None:
    contract = unused_server.bundle.contract
    row = list(contract.golden.rows[0])
    row[3] = None
    name = contract.feature_names[3]
    for protocol in (Protocol.V1, Protocol.V2, Protocol.GRPC):
        address = unused_server.grpc if protocol is Protocol.GRPC else unused_server.http
        with pytest.raises(ConfigurationError, match=name):
            predict(address, unused_server.name, protocol, [row])
    violations = scrape(unused_server)["tidegate_input_violations_total"]
    assert violations.pop(f"{name} missing_feature") == 3
    assert not any(violations.values())
