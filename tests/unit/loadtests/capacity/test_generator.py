# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load generator's process against a stub server on the loopback interface."""

import os

import numpy as np
import pytest

from tests.support.stub_server import make_contract, run_stub_server
from tidegate.errors import ServerError
from tidegate.protocol.constants import Protocol
from tidegate_loadtests.capacity.generator import Arrivals, GeneratorConfig, start_generator
from tidegate_loadtests.capacity.replica import Endpoint


def make_config(url: str, connections: int = 4) -> GeneratorConfig:
    endpoint = Endpoint(url, make_contract(), Protocol.V1, 1, {})
    cpu = max(os.sched_getaffinity(0))
    return GeneratorConfig(endpoint.address, endpoint.contents(endpoint.requests()), connections, 8, cpu)


def test_generator_serves_window_after_window() -> None:
    with run_stub_server(lambda number: "status" if number == 3 else None) as stub:
        with start_generator(make_config(stub.url)) as generator:
            probe = generator.send(Arrivals(np.zeros(10), 10.0, 0.0, connections=1))
            window = generator.send(Arrivals(np.linspace(0.0, 0.5, 40), 0.5))
        assert stub.requests.total() == 50
    assert probe.statuses.tolist() == [200] * 3 + [500] + [200] * 6
    assert (np.diff(probe.completed) > 0).all()
    assert window.statuses.tolist() == [200] * 40
    assert (window.completed > np.linspace(0.0, 0.5, 40)).all()
    assert (window.send_delays >= 0).all()
    assert sorted(window.kept) == [0, 8, 16, 24, 32]
    assert window.kept[0].body == b'{"predictions": [0]}'
    assert window.cpu_seconds > 0


def test_generator_without_server_reports_the_loss() -> None:
    with run_stub_server() as stub:
        config = make_config(stub.url)
    with start_generator(config) as generator, pytest.raises(ServerError, match="lost the server"):
        generator.send(Arrivals(np.zeros(1), 1.0))
