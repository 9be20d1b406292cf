# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tidegate_rollout status``: the commands of ``tidegate`` that this package has."""

from tidegate.cli import main

if __name__ == "__main__":
    main()
