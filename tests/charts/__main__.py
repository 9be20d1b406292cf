# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make kube-score``: build kube-score, unless the cache has it, and run it on the charts."""

import sys
from pathlib import Path

import pytest

from tests.charts import kube_score
from tools.cluster import ClusterError

if __name__ == "__main__":
    try:
        kube_score.build()
    except ClusterError as error:
        sys.exit(f"error: {error}")
    sys.exit(pytest.main([str(Path(__file__).parent / "test_kube_score.py")]))
