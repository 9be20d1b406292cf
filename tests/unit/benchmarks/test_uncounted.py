# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

PROGRAM = """
from prometheus_client import CollectorRegistry, generate_latest
from benchmarks import uncounted
from serving.metrics import Metrics

def seen():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.answered("v1", "200", 1, 0.001)
    return b'tidegate_requests_total{code="200"' in generate_latest(registry)

assert seen()
uncounted.strip()
assert not seen()
"""


def test_the_server_that_counts_nothing_counts_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
