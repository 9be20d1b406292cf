# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tidegate``: the command line ``tidegate``."""

from tidegate.cli import main

if __name__ == "__main__":
    main()
