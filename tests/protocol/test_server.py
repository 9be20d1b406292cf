# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import re
import subprocess
import sys

from tidegate.bundle import Bundle

# KServe's application is global, so the server needs a process of its own.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from tidegate_serving import Predictor, Server

def ready(address):
    print(address)
    print(type(asyncio.get_running_loop()).__module__)
    os.kill(os.getpid(), signal.SIGINT)

predictor = Predictor("tumour", Path(sys.argv[1]))
predictor.load()
Server("127.0.0.1", 0, 0, on_ready=ready).start([predictor])
"""


def test_server_from_python_runs_on_uvloop(numeric_bundle: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(numeric_bundle.path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    address, loop = done.stdout.splitlines()
    assert re.fullmatch(r"http=127\.0\.0\.1:\d+ grpc=127\.0\.0\.1:\d+", address)
    assert loop == "uvloop"
