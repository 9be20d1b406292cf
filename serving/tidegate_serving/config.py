# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Defaults and choices of the server's options.

The command line shows them in its help, so this module imports nothing that takes time. The limits of one
request are in :mod:`tidegate_serving.codecs.request`.
"""

from dataclasses import dataclass
from enum import StrEnum

from tidegate.protocol.constants import PAIRS_PORT

ALL_ADDRESSES = "::"
"""The address to listen on: every address, of IPv6 and of IPv4."""

DRAIN_SECONDS = 10.0
"""The time after SIGTERM in which the server still accepts requests."""

SHUTDOWN_TIMEOUT = 15.0
"""The time in seconds that requests in flight have after the drain.

Together with the default drain it fits into Kubernetes' default grace period of 30 s."""


MAX_QUEUE_DELAY = 2.0
"""The longest estimated time in seconds that an accepted request waits before its engine call.

A short one rejects bursts that the server would work off, and hardly a client prefers a rejection."""


REQUEST_SAMPLE_RATE = 0.01
"""The fraction of the requests that a request sample has."""

REQUEST_SAMPLE_HOURLY_BYTES = 64 << 20
"""The bytes that one server writes to a request sample per hour of the clock."""


class SampledSensitivity(StrEnum):
    """The sensitivities of features that a request sample can have."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"


@dataclass(frozen=True, slots=True)
class RequestSampleOptions:
    """The options of a request sample."""

    url: str
    """The folder or the bucket with a prefix that receives the files."""
    rate: float = REQUEST_SAMPLE_RATE
    """The fraction of the requests with an id."""
    sensitivity: SampledSensitivity = SampledSensitivity.PUBLIC
    """The highest sensitivity of a feature whose values are written."""
    hourly_bytes: int = REQUEST_SAMPLE_HOURLY_BYTES
    """The bytes that may be written per hour of the clock."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The records of each response in addition to the metrics."""

    access_log: bool = False
    """Whether standard error receives a line of JSON per response."""
    logged_headers: tuple[str, ...] = ()
    """Headers whose values the line has."""
    traces: bool = False
    """Whether OpenTelemetry's exporter receives a span per response."""
    pairs_sample_rate: float = 0.0
    """The fraction of the requests whose predictions are kept, to compare them with another server's."""
    pairs_port: int = PAIRS_PORT
    """The port of the kept predictions, on the loopback interface; 0 selects a free one."""
    pairs_key: str | None = None
    """The secret of a release, with which the hashes of the kept predictions are keyed."""
    request_sample: RequestSampleOptions | None = None
    """The sample of requests in object storage; None if none is written."""


class EngineChoice(StrEnum):
    """The engine that computes batches."""

    AUTO = "auto"
    """ONNX Runtime if the parity report says ``equal``, else scikit-learn."""
    ONNX = "onnx"
    SKLEARN = "sklearn"


class GrpcTransport(StrEnum):
    """The implementation of gRPC's protocol."""

    ASYNCIO = "asyncio"
    """The server's own, on the event loop of REST."""
    GRPCIO = "grpcio"
    """That of the package grpcio."""
