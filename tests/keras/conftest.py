# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Keras with the backend of the extra, before a test module imports it.

XLA compiles each step of fitting; without its optimizations the tests take half the time.
"""

import os

from tidegate_training.networks.backend import import_keras

os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
import_keras()
