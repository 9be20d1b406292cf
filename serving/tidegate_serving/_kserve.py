# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KServe's SDK, imported so that it reads no command line of ours and brings no more than serving needs.

Importing ``kserve`` parses ``sys.argv``, and takes abbreviations: ``--timeout 7`` of another program
would set its keep-alive. Every import of KServe in this package goes through here; it holds nothing else.
"""

import sys

from tidegate_serving._lazy_imports import deferring

_DEFERRED = (
    "pandas",  # for requests as data frames, which serving reads as tensors
    "psutil",  # to count processors for more workers than one
    "httpx._main",  # httpx's command line, with click, pygments and rich's highlighting
)
"""Beside KServe's own ``__init__``, with which come its Kubernetes client and 100 generated models."""

_argv, sys.argv = sys.argv, sys.argv[:1]
try:
    with deferring("kserve", *_DEFERRED):
        from kserve import logging as kserve_logging
        from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig
        from kserve.metrics import POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME
        from kserve.model import Model
        from kserve.model_server import ModelServer, app
        from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
        from kserve.protocol.infer_type import InferInput, InferRequest, InferResponse
finally:
    sys.argv = _argv

__all__ = [
    "POST_HIST_TIME",
    "PREDICT_HIST_TIME",
    "PRE_HIST_TIME",
    "InferInput",
    "InferRequest",
    "InferResponse",
    "InferenceGRPCClient",
    "InferenceRESTClient",
    "Model",
    "ModelServer",
    "RESTConfig",
    "app",
    "kserve_logging",
    "pb",
]
