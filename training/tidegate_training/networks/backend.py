# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Imports Keras with a backend that is installed."""

import os
import sys
from importlib.util import find_spec
from typing import Any

from tidegate.errors import ConfigurationError

BACKENDS = ("jax", "tensorflow", "torch")
"""Backends that can fit a model, the one of the extra ``keras`` first."""

INSTALL = "install tidegate[training,keras]"


def import_keras() -> Any:
    """Import Keras, with the backend of ``KERAS_BACKEND`` or the first one that is installed.

    Raises:
        ConfigurationError: If Keras or its backend is not installed.
    """
    if "keras" not in sys.modules and "KERAS_BACKEND" not in os.environ:
        installed = next((name for name in BACKENDS if find_spec(name) is not None), None)
        if installed is not None:
            os.environ["KERAS_BACKEND"] = installed
    # TensorFlow writes its settings to stderr unless this is set before the import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
    except ImportError as error:
        raise ConfigurationError(f"Keras or its backend cannot be imported ({error}): {INSTALL}.") from None
    return keras


def library_versions() -> dict[str, str]:
    """Return the versions of Keras and its backend, which the process has imported."""
    keras = sys.modules["keras"]
    backend = keras.backend.backend()
    return {"keras": keras.__version__, backend: sys.modules[backend].__version__}
