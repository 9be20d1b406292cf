# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The worker pool: the number of workers that make a load, and the address where they connect to the master.

The workers start outside of this package, on this or on other machines. This module validates a pool before
anything starts.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import ConfigurationError

if TYPE_CHECKING:  # the command line imports this module for its defaults
    from tidegate_loadtests.campaign import Campaign

MASTER_PORT = 5557
"""The master's default port, which is Locust's."""

ALL_INTERFACES = "*"
"""The bind host for every interface, in Locust's notation."""


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """The workers of a campaign and the address of their master."""

    workers: int
    bind_host: str = ALL_INTERFACES
    bind_port: int = MASTER_PORT


def parse_host(text: str, option: str) -> str:
    """Parse a host name or an IP address, without a port.

    >>> parse_host("load-1.example.com", "--master-host"), parse_host("[::1]", "--master-host")
    ('load-1.example.com', '::1')

    Raises:
        ConfigurationError: If the text is not a host, for example because it has a scheme or a port.
    """
    host = re.sub(r"^\[(.*)\]$", r"\1", text)
    if not re.fullmatch(r"[\w.-]+|\*", host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ConfigurationError(
                f"{option}: '{text}' is not a host: expected a name or an IP address; remove the scheme, and "
                f"give a port with {option.replace('host', 'port')}."
            ) from None
    return host


def validate_worker_pool(campaign: "Campaign", pool: WorkerPool) -> None:
    """Check that a pool's workers can divide a campaign, and that its master can listen.

    Raises:
        ConfigurationError: If the plan names a CPU, if a worker would have no connection, or if the master's
            address is not free.
    """
    if campaign.cpu is not None:
        raise ConfigurationError(
            f"field 'cpu': {campaign.cpu} is a CPU of one machine, and {pool.workers} workers on any machine "
            "make the load: remove 'cpu'."
        )
    concurrency = min(campaign.phase_concurrency(phase) for phase in campaign.phases)
    if concurrency < pool.workers:
        raise ConfigurationError(
            f"{pool.workers} workers need at least {pool.workers} connections, received {concurrency}: "
            "raise 'connections' or 'users', or reduce --expect-workers."
        )
    try:
        family = socket.AF_INET6 if ":" in pool.bind_host else socket.AF_INET
        host = "" if pool.bind_host == ALL_INTERFACES else pool.bind_host
        socket.create_server((host, pool.bind_port), family=family).close()
    except OSError as error:
        raise ConfigurationError(
            f"The master cannot listen on {pool.bind_host}:{pool.bind_port} ({error.strerror or error}): "
            "correct --master-bind-host or --master-bind-port, or stop the process that listens there."
        ) from None
