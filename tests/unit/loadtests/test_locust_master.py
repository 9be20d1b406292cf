# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
import subprocess
import sys


def test_master_memory_does_not_grow_in_the_second_hour() -> None:
    command = [sys.executable, "-m", "tests.support.simulated_master", "7200", "200"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(result.stdout)
    assert figures["requests"] == 7200 * 200
    assert figures["locust_rate"] == 200
    # Locust's own statistics grow by two megabytes per hour.
    assert figures["end"] - figures["half"] < 1_000_000
