# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What a live server's metrics say of its inputs and answers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.datasets import load_breast_cancer
from tidegate_serving.client import Protocol, predict
from tidegate_serving.observability.drift_monitor import WINDOW_ROWS

from tests.support.servers import LiveServer, serving
from tidegate.bundle import Bundle
from tidegate.errors import ConfigurationError
from tidegate.protocol.requests import v1_body

TOO_MUCH = 0.25
"""Siddiqi's threshold, and the alert's default."""


@pytest.fixture
def fresh(numeric_bundle: Bundle, tmp_path: Path) -> Iterator[LiveServer]:
    """A server that nobody else has asked anything."""
    with serving(numeric_bundle, tmp_path / "log") as server:
        yield server


def samples(server: LiveServer, name: str) -> dict[str, float]:
    """The values of a metric by its labels' values."""
    return {
        " ".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(httpx.get(f"{server.http}/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def ask_until_a_window_is_full(server: LiveServer, change: Callable[[np.ndarray], np.ndarray]) -> int:
    """Send the data of training, changed, in small requests; more than the server can follow is left out."""
    table = change(load_breast_cancer().data)
    order, sent = np.random.default_rng(1), 0
    assert samples(server, "tidegate_feature_drift_psi") == {}
    while samples(server, "tidegate_drift_window_rows")[""] < WINDOW_ROWS:
        rows = table[order.permutation(len(table))[:50]].tolist()
        body = v1_body(server.bundle.contract, rows)
        answer = httpx.post(
            f"{server.http}/v1/models/{server.name}:predict",
            content=body,
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert answer.status_code == 200
        sent += len(rows)
    return sent


def test_rows_like_those_of_training_show_no_drift(fresh: LiveServer) -> None:
    ask_until_a_window_is_full(fresh, lambda table: table)
    drift = samples(fresh, "tidegate_feature_drift_psi")
    assert list(drift) == list(fresh.bundle.contract.feature_names)
    assert max(drift.values()) < TOO_MUCH
    assert samples(fresh, "tidegate_prediction_drift_psi")[""] < TOO_MUCH


def test_a_shifted_feature_shows_drift_and_the_others_do_not(fresh: LiveServer) -> None:
    names = fresh.bundle.contract.feature_names
    shifted = names.index("worst perimeter")

    def change(table: np.ndarray) -> np.ndarray:
        table[:, shifted] += 2 * table[:, shifted].std()
        return table

    sent = ask_until_a_window_is_full(fresh, change)
    drift = samples(fresh, "tidegate_feature_drift_psi")
    assert drift.pop("worst perimeter") > TOO_MUCH > max(drift.values())
    counted = samples(fresh, "tidegate_drift_rows_total")
    predictions = samples(fresh, "tidegate_predictions_total")
    assert WINDOW_ROWS <= counted["counted"] <= sent
    assert set(predictions) == {"malignant", "benign", "other"}
    assert predictions["other"] == 0
    assert sum(predictions.values()) == counted["counted"]


def test_a_refused_input_is_counted_by_feature_and_kind_for_each_protocol(numeric_server: LiveServer) -> None:
    contract = numeric_server.bundle.contract
    row = list(contract.golden.rows[0])
    row[3] = None
    name = contract.feature_names[3]

    def violations() -> float:
        return samples(numeric_server, "tidegate_input_violations_total").get(f"{name} missing", 0)

    before = violations()
    for protocol in (Protocol.V1, Protocol.V2, Protocol.GRPC):
        address = numeric_server.grpc if protocol is Protocol.GRPC else numeric_server.http
        with pytest.raises(ConfigurationError, match=name):
            predict(address, numeric_server.name, protocol, [row])
    assert violations() == before + 3
