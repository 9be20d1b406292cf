# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""TLS of the listeners for REST and gRPC: a certificate and a key in files.

Every handshake compares the times of the files with those of the loaded pair. A rotated pair is therefore
used from the next connection on, without a watcher and without a restart. A pair that cannot be used is
logged, and the loaded one stays.
"""

import logging
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from tidegate.errors import ConfigurationError

logger = logging.getLogger("tidegate.serving")

HTTP_1 = "http/1.1"
HTTP_2 = "h2"

Stamp = tuple[tuple[int, int], ...]
"""Inode and time of each file; empty without one of them. A rotated Secret of Kubernetes has new inodes."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its key, as the listeners need them."""

    stamp: Stamp
    contexts: Mapping[str, ssl.SSLContext]
    """The contexts by the protocol that they offer."""
    chain: bytes
    key: bytes


class CertificateFiles:
    """The files of a certificate chain and of its key, in PEM.

    Args:
        chain: The file of the chain, the server's certificate first.
        key: The file of the key, without a password.

    Raises:
        ConfigurationError: If the files do not hold a certificate and its key.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain = chain
        self._key = key
        # Handshakes of gRPC run in threads of its own.
        self._lock = threading.Lock()
        self._pair = self._load(self._read_stamp())
        self._rejected: Stamp | None = None

    def current(self) -> Pair:
        """Return the pair of the files, or the last one that could be used."""
        with self._lock:
            stamp = self._read_stamp()
            if stamp in (self._pair.stamp, self._rejected):
                return self._pair
            self._rejected = stamp
            try:
                self._pair = self._load(stamp)
                logger.warning("The certificate %s has changed, and is used from now on.", self._chain)
            except ConfigurationError as error:
                logger.warning("The last certificate stays in use: %s", error)
            return self._pair

    def create_context(self, protocol: str = HTTP_1) -> ssl.SSLContext:
        """Return the context of a listener, which takes the current pair at each handshake.

        Args:
            protocol: The protocol that it offers, as ALPN names it.
        """
        context = self.current().contexts[protocol]

        def select(connection: ssl.SSLObject, *_: object) -> None:
            connection.context = self.current().contexts[protocol]

        # OpenSSL calls it at every handshake, also without a server name.
        context.sni_callback = select
        return context

    def create_grpc_credentials(self) -> grpc.ServerCredentials:
        """Return gRPC's credentials, which take the current pair at each handshake."""
        pair = used = self.current()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal used
            latest = self.current()
            if latest is used:
                return None
            used = latest
            return _certificate_configuration(latest)

        return grpc.dynamic_ssl_server_credentials(_certificate_configuration(pair), fetch)

    def _read_stamp(self) -> Stamp:
        try:
            states = [path.stat() for path in (self._chain, self._key)]
        except OSError:
            return ()
        return tuple((state.st_ino, state.st_mtime_ns) for state in states)

    def _load(self, stamp: Stamp) -> Pair:
        contexts: dict[str, ssl.SSLContext] = {}
        try:
            for protocol in (HTTP_1, HTTP_2):
                context = contexts[protocol] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.set_alpn_protocols([protocol])
                context.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9113, section 9.2.1
                # Without the empty password, OpenSSL would read one from the terminal.
                context.load_cert_chain(self._chain, self._key, password="")
            return Pair(stamp, contexts, self._chain.read_bytes(), self._key.read_bytes())
        except OSError as error:  # SSLError is one
            raise ConfigurationError(
                f"TLS: expected a certificate in {self._chain} and its key in {self._key}, both in PEM, "
                f"received '{error}': correct --ssl-certfile and --ssl-keyfile."
            ) from None


def _certificate_configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)])
