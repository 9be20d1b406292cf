# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import socket

import pytest

from tests.support.campaigns import make_load_campaign
from tests.support.ports import free_port
from tidegate.errors import ConfigurationError
from tidegate_loadtests.worker_pool import WorkerPool, parse_host, validate_worker_pool


def test_pool_that_cannot_divide_the_load_is_rejected() -> None:
    pool = WorkerPool(3, "127.0.0.1", free_port())
    users = {"model": "closed", "users": 3}
    poisson = {"model": "poisson", "rate": 20}
    validate_worker_pool(make_load_campaign(users), pool)
    with pytest.raises(ConfigurationError, match=r"3 workers .* 3 connections, received 2: raise 'conn"):
        validate_worker_pool(make_load_campaign(users, poisson, connections=2), pool)
    with pytest.raises(ConfigurationError, match=r"'cpu': 1 is a CPU of one machine.* 3 workers .*remove"):
        validate_worker_pool(make_load_campaign(users, cpu=1), pool)


@pytest.mark.parametrize("host", ["127.0.0.1", "*"])
def test_pool_with_a_port_in_use_is_rejected(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError) as error:
            validate_worker_pool(
                make_load_campaign({"model": "closed", "users": 1}), WorkerPool(1, host, port)
            )
    for text in (f"cannot listen on {host}:{port} (", "in use", "--master-bind-port"):
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("*", "*"),
        ("load-master", "load-master"),
        ("load-master.models.svc", "load-master.models.svc"),
        ("10.0.0.7", "10.0.0.7"),
        ("::1", "::1"),
        ("[::1]", "::1"),
    ],
)
def test_host_is_a_name_or_an_address(text: str, host: str) -> None:
    assert parse_host(text, "--master-host") == host


@pytest.mark.parametrize("text", ["", ":5557", "host:", "host:5557", "[::1]:7000", "http://host", "a b"])
def test_host_with_scheme_or_port_is_rejected(text: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_host(text, "--master-host")
    for part in (f"--master-host: '{text}'", "expected a name or an IP address", "--master-port"):
        assert part in str(error.value)
