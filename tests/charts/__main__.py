# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make kube-score``: build kube-score, unless the cache has it, and run it on the charts."""

from pathlib import Path

from tests.charts.kube_score import KUBE_SCORE
from tests.support.go_tool import build_and_test

if __name__ == "__main__":
    build_and_test(KUBE_SCORE, Path(__file__).parent / "test_kube_score.py")
