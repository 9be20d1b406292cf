# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Ports and addresses of the loopback interface."""

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """Return a port that no process listens on, below those that the kernel gives to other sockets."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def ipv6_is_available() -> bool:
    """Return whether the loopback interface has an IPv6 address."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
