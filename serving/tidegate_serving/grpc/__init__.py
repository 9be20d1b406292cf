# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC: the Open Inference Protocol's service on grpc.aio."""
