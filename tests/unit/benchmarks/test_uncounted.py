# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

from benchmarks.environments import PEERS

# A process of its own, because the removal is permanent.
PROGRAM = """
import runpy, sys
from prometheus_client import CollectorRegistry, generate_latest
from tidegate_serving.observability.metrics import Metrics

def is_recorded():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.record_response("v1", "200", 1, 0.001)
    return b'tidegate_requests_total{code="200",protocol="v1"} 1.0' in generate_latest(registry)

assert is_recorded()
runpy.run_path(sys.argv[1])["strip"]()
assert not is_recorded()
"""


def test_uncounted_server_records_no_request() -> None:
    program = PEERS / "uncounted" / "serve.py"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(program)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
