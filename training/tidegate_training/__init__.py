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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate_training.config import TrainingConfig
    from tidegate_training.run import TrainingResult, train

__all__ = ["TrainingConfig", "TrainingResult", "train"]


def __getattr__(name: str) -> Any:
    if name == "TrainingConfig":
        from tidegate_training.config import TrainingConfig

        return TrainingConfig
    if name in ("TrainingResult", "train"):
        from tidegate_training import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
