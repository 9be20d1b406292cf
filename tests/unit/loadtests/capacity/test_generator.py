# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The load generator's process against a stub server on the loopback interface."""

import os
import resource

import numpy as np
import pytest

from tests.support.stub_server import make_contract, run_stub_server
from tidegate.errors import ServerError
from tidegate.protocol.constants import Protocol
from tidegate_loadtests.capacity.generator import (
    Arrivals,
    GeneratorConfig,
    max_connections,
    send_window,
    start_generator,
)
from tidegate_loadtests.capacity.replica import Endpoint


def make_config(url: str) -> GeneratorConfig:
    endpoint = Endpoint(url, make_contract(), Protocol.V1, 1, {})
    cpu = max(os.sched_getaffinity(0))
    return GeneratorConfig(endpoint.address, endpoint.contents(endpoint.requests()), 8, cpu)


def test_generator_serves_window_after_window() -> None:
    with run_stub_server(lambda number: "status" if number == 3 else None) as stub:
        with start_generator(make_config(stub.url)) as generator:
            probe = generator.send(Arrivals(np.zeros(10), 10.0, 1, 0.0))
            window = generator.send(
                Arrivals(np.linspace(0.0, 0.5, 40), 0.5, connections=40, response_seconds=20.0)
            )
        assert stub.requests.total() == 50
    assert probe.statuses.tolist() == [200] * 3 + [500] + [200] * 6
    assert (np.diff(probe.completed) > 0).all()
    assert probe.waited.tolist() == [False] + [True] * 9  # for the only connection
    assert not window.waited.any()
    assert window.statuses.tolist() == [200] * 40
    assert (window.completed > np.linspace(0.0, 0.5, 40)).all()
    assert (window.send_delays >= 0).all()
    assert sorted(window.kept) == [0, 8, 16, 24, 32]
    assert window.kept[0].body == b'{"predictions": [0]}'
    assert window.cpu_seconds > 0


def test_request_that_is_never_sent_waited_for_a_connection() -> None:
    assert send_window(
        make_config("http://127.0.0.1:80"), Arrivals(np.zeros(2), -1.0, connections=0, response_seconds=0.0)
    ).waited.tolist() == [True, True]


@pytest.mark.parametrize(("hard", "expected"), [(resource.RLIM_INFINITY, 4096), (1 << 20, 4096), (1024, 768)])
def test_connections_are_at_most_what_files_permit(
    monkeypatch: pytest.MonkeyPatch, hard: int, expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (512, hard))
    assert max_connections() == expected


def test_generator_without_server_reports_the_loss() -> None:
    with run_stub_server() as stub:
        config = make_config(stub.url)
    with start_generator(config) as generator, pytest.raises(ServerError, match="lost the server"):
        generator.send(Arrivals(np.zeros(1), 1.0, connections=1))
