# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The options: what may be chosen at the command line, and what holds if nothing is.

The command line shows them in its help and the server goes by them, so this module imports nothing that would
make the help slow. How much one request may ask is in :mod:`tidegate_serving.codecs.request`.
"""

from enum import StrEnum

DRAIN_SECONDS = 10.0
"""How long to go on answering after SIGTERM."""

SHUTDOWN_TIMEOUT = 15.0
"""How long what is in flight may take once nothing listens any more.

With the default drain it fits into Kubernetes' default grace period of 30 s."""


class EngineChoice(StrEnum):
    """Which engine to use: the compiled one where it is proven equal, or one by name."""

    AUTO = "auto"
    ONNX = "onnx"
    SKLEARN = "sklearn"


class Protocol(StrEnum):
    """How to ask a server."""

    V1 = "v1"
    V2 = "v2"
    V2_BINARY = "v2-binary"
    GRPC = "grpc"
