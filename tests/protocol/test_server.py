# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import asyncio
import signal
import socket
import subprocess
import sys
from typing import Any

import uvicorn
import uvloop
from tidegate_serving.drain import ACCEPTED, Drain, DrainingServer

from tidegate.bundle import Bundle

# A process of its own, for KServe's application is one a process.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from tidegate_serving import Predictor, Server

def ready(http_port, grpc_port):
    print(type(asyncio.get_running_loop()).__module__)
    os.kill(os.getpid(), signal.SIGINT)

predictor = Predictor("tumour", Path(sys.argv[1]))
predictor.load()
Server("127.0.0.1", 0, 0, on_ready=ready).start([predictor])
"""


def test_the_server_runs_on_uvloop_which_kserve_alone_does_not_manage(numeric_bundle: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(numeric_bundle.path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "uvloop\n"


def test_one_turn_of_a_busy_loop_lets_many_new_clients_in() -> None:
    clients = 4 * ACCEPTED

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody asks")

    async def turns() -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        drain = Drain(0)
        config = uvicorn.Config(application, lifespan="off", log_level="error")
        server = DrainingServer(config, listener, drain)
        serving = asyncio.create_task(server.serve())
        watching = asyncio.create_task(drain.watch())
        await server.listening.wait()
        connections = [socket.create_connection(listener.getsockname()) for _ in range(clients)]
        count = 0
        while len(server.server_state.connections) < clients:
            await asyncio.sleep(0)
            count += 1
        for connection in connections:
            connection.close()
        drain.signalled(signal.SIGINT)
        await asyncio.wait_for(asyncio.gather(serving, watching), 60)
        return count

    # libuv alone accepts one a turn.
    assert uvloop.run(turns()) < clients / 2
