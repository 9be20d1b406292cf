# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The KServe predictor: loads a verified bundle and answers V1 and V2 requests, over REST and gRPC.

The public names are imported when they are first used, so that the command line stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.options import EngineChoice as EngineChoice
    from serving.policy import Policy as Policy
    from serving.predictor import Predictor as Predictor
    from serving.question import Limits as Limits
    from serving.server import Server as Server

_HOMES = {
    "EngineChoice": "serving.options",
    "Limits": "serving.question",
    "Policy": "serving.policy",
    "Predictor": "serving.predictor",
    "Server": "serving.server",
}

__all__ = ["EngineChoice", "Limits", "Policy", "Predictor", "Server"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
