# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The core that training, serving and load tests share: contract, bundle, store, command line.

It imports none of the packages that use it, and nothing heavier than numpy.
"""

from importlib.metadata import version

__version__ = version("tidegate")
