# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Training: from one YAML file to a sealed bundle.

The names here are the package's public face. They are imported when they are first used, so that the
command line starts without scikit-learn.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate_training.config import TrainingConfig
    from tidegate_training.run import Trained, train

__all__ = ["Trained", "TrainingConfig", "train"]


def __getattr__(name: str) -> Any:
    if name == "TrainingConfig":
        from tidegate_training.config import TrainingConfig

        return TrainingConfig
    if name in ("Trained", "train"):
        from tidegate_training import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
