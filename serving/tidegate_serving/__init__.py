# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The KServe predictor: loads a verified bundle, and serves V1 and V2 requests over REST and gRPC.

>>> import asyncio, pathlib, tempfile, prometheus_client
>>> from tidegate_serving import Predictor
>>> from tidegate_training import TrainingConfig, train
>>> settings = {"data": {"dataset": "iris"}, "algorithm": {"name": "LogisticRegression"}}
>>> config = TrainingConfig(name="iris", task="classification", **settings)
>>> bundle = train(config, pathlib.Path(tempfile.mkdtemp(), "iris")).bundle
>>> predictor = Predictor("iris", bundle.path, bundle.digest, registry=prometheus_client.CollectorRegistry())
>>> ready = predictor.load()
>>> asyncio.run(predictor.infer({"instances": [[5.1, 3.5, 1.4, 0.2]]}))
{'predictions': [0]}

``Server().start([predictor])`` serves the predictor until the process receives SIGTERM. The public names are
imported on first use, so that the command line stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.trust.policy import Policy as Policy
    from tidegate_serving.codecs.request import Limits as Limits
    from tidegate_serving.config import EngineChoice as EngineChoice
    from tidegate_serving.errors import RequestError as RequestError
    from tidegate_serving.predictor import Predictor as Predictor
    from tidegate_serving.server import Server as Server

_MODULES = {
    "EngineChoice": "tidegate_serving.config",
    "Limits": "tidegate_serving.codecs.request",
    "Policy": "tidegate.trust.policy",
    "Predictor": "tidegate_serving.predictor",
    "RequestError": "tidegate_serving.errors",
    "Server": "tidegate_serving.server",
}

__all__ = ["EngineChoice", "Limits", "Policy", "Predictor", "RequestError", "Server"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
