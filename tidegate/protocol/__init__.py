# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol from the client's side: requests, responses, constants, retry on connect.

Every client of the project uses these modules. The server reads requests in :mod:`tidegate_serving.codecs`
instead, because it validates each value against the contract. gRPC messages belong to KServe's SDK.
"""
