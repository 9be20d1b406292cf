# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The protocol's constants: the four protocols, header names, media types, and a port."""

from enum import StrEnum


class Protocol(StrEnum):
    """The protocols of an inference request, by the names that the command line and YAML files use."""

    V1 = "v1"
    """KServe's V1 protocol: JSON with ``instances`` and ``predictions``."""
    V2 = "v2"
    """The Open Inference Protocol in JSON."""
    V2_BINARY = "v2-binary"
    """The Open Inference Protocol with the binary tensor data extension."""
    GRPC = "grpc"
    """The Open Inference Protocol over gRPC."""


INFERENCE_HEADER_CONTENT_LENGTH = "Inference-Header-Content-Length"
"""The number of bytes of the body that are JSON; the raw tensors follow them.

From the Open Inference Protocol, "Binary Tensor Data extension".
"""

REQUEST_TIMEOUT_HEADER = "X-Request-Timeout-Ms"
"""The time in milliseconds that the client waits for the response."""

JSON_MEDIA_TYPE = "application/json"
BINARY_MEDIA_TYPE = "application/octet-stream"
"""The media type of a request or a response with raw tensors."""

PAIRS_PORT = 8085
"""The port of a server's sampled predictions, on the loopback interface. A rollout reads them there."""
