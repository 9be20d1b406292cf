# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of gRPC's transport."""

from tidegate_serving.config import GrpcTransport
from tidegate_serving.grpc.base import GrpcServer


def server_class(transport: GrpcTransport) -> type[GrpcServer]:
    """Return the class of a transport's servers.

    It is imported when it is chosen, because the other one takes time and memory.
    """
    if transport is GrpcTransport.GRPCIO:
        from tidegate_serving.grpc.grpcio import GrpcioServer

        return GrpcioServer
    from tidegate_serving.grpc.http2.server import Http2Server

    return Http2Server
