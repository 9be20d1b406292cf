# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Bound sockets of the listeners, one for IPv4 and IPv6 where both exist."""

import errno
import socket

from tidegate.errors import ConfigurationError
from tidegate_serving.config import ALL_ADDRESSES

ALL_IPV4_ADDRESSES = "0.0.0.0"

ACCEPTS_PER_ITERATION = 16
"""Connections that one event-loop iteration accepts.

libuv accepts one connection per socket and iteration. Under load an iteration takes long, so new clients and
probes would wait for many of them. The loop therefore polls this many duplicates of the listening socket.
"""

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""The errors of a kernel without IPv6, and of one that has it disabled for every interface."""


def bind_socket(host: str, port: int, option: str) -> socket.socket:
    """Bind a socket before the model is loaded, so that a port in use is reported at once.

    The address ``::`` accepts IPv4 and IPv6, and IPv4 alone on a machine without IPv6.

    Args:
        host: The address; with a colon, it is IPv6.
        port: The port; 0 selects a free one.
        option: The option that chooses another port, for the message.

    Raises:
        ConfigurationError: If the port is not available.
    """
    try:
        return _bind(host, port)
    except OSError as error:
        if host == ALL_ADDRESSES and error.errno in _NO_IPV6:
            return bind_socket(ALL_IPV4_ADDRESSES, port, option)
        raise ConfigurationError(
            f"Port {port} of {host} is not available: {error.strerror}; choose another with {option}."
        ) from None


def duplicate(listener: socket.socket) -> list[socket.socket]:
    """Return the sockets that the event loop polls: the listener and its duplicates."""
    return [listener, *(listener.dup() for _ in range(ACCEPTS_PER_ITERATION - 1))]


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == ALL_ADDRESSES:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
