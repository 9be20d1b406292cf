# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The KServe predictor: loads a verified bundle and answers V1 and V2 requests, over REST and gRPC.

The public names are imported when they are first used, so that the command line stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate_serving.codecs.request import Limits as Limits
    from tidegate_serving.config import EngineChoice as EngineChoice
    from tidegate_serving.loading.policy import Policy as Policy
    from tidegate_serving.predictor import Predictor as Predictor
    from tidegate_serving.server import Server as Server

_HOMES = {
    "EngineChoice": "tidegate_serving.config",
    "Limits": "tidegate_serving.codecs.request",
    "Policy": "tidegate_serving.loading.policy",
    "Predictor": "tidegate_serving.predictor",
    "Server": "tidegate_serving.server",
}

__all__ = ["EngineChoice", "Limits", "Policy", "Predictor", "Server"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
