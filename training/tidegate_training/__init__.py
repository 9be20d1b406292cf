# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Training: from a configuration to a sealed bundle.

>>> import tempfile
>>> from pathlib import Path
>>> from tidegate_training import TrainingConfig, train
>>> config = TrainingConfig.model_validate(
...     {
...         "name": "iris",
...         "task": "classification",
...         "data": {"dataset": "iris"},
...         "preprocessing": {"numeric": {"scale": "standard"}},
...         "algorithm": {"name": "LogisticRegression"},
...         "gates": {"test.f1": ">= 0.8"},
...     }
... )
>>> with tempfile.TemporaryDirectory() as folder:
...     result = train(config, Path(folder) / "iris")
>>> len(result.bundle.digest)
64
>>> result.parity.verdict
'equal'

The names of this module are imported on first use, so that the command line starts without scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate_training.config import ModelCard as ModelCard
    from tidegate_training.config import TrainingConfig as TrainingConfig
    from tidegate_training.fitted import bundle as bundle
    from tidegate_training.run import TrainingResult as TrainingResult
    from tidegate_training.run import train as train

_MODULES = {
    "ModelCard": "tidegate_training.config",
    "TrainingConfig": "tidegate_training.config",
    "TrainingResult": "tidegate_training.run",
    "bundle": "tidegate_training.fitted",
    "train": "tidegate_training.run",
}

__all__ = ["ModelCard", "TrainingConfig", "TrainingResult", "bundle", "train"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
