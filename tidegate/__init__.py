# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The core that all packages share: contract, bundle, store, protocol and command line.

Its only numerical dependency is numpy, and it imports none of the packages that use it. Start with
:mod:`tidegate.bundle` and :mod:`tidegate.store`.
"""

from importlib.metadata import version

__version__ = version("tidegate")
