# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""KServe's SDK, imported without its command line and without the parts that serving does not need.

Importing ``kserve`` parses ``sys.argv``, and accepts abbreviations: ``--timeout 7`` of another program
would set its keep-alive timeout. This package therefore imports KServe here only. The module adds nothing
to KServe's names.
"""

import sys

from tidegate_serving._lazy_imports import postponed, without_init

_POSTPONED = (
    "pandas",  # requests as data frames: serving reads tensors
    "psutil",  # the number of CPUs for several workers: serving has one
    "httpx._main",  # httpx's command line, which imports click, pygments and rich's highlighting
)
"""In addition to KServe's own ``__init__``, which imports a Kubernetes client and 100 generated models."""

_argv, sys.argv = sys.argv, sys.argv[:1]
try:
    with without_init("kserve"), postponed(*_POSTPONED):
        from kserve import logging as kserve_logging
        from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig
        from kserve.metrics import POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME
        from kserve.model import Model
        from kserve.model_server import ModelServer, app
        from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
        from kserve.protocol.infer_type import InferInput, InferRequest, InferResponse
        from kserve.protocol.rest.server import metrics_handler
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
    "metrics_handler",
    "pb",
]
