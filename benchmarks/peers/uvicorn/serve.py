# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""uvicorn with an empty application: the ceiling of every application under uvicorn."""

import os

import uvicorn

_START = {
    "type": "http.response.start",
    "status": 404,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"9")],
}
_BODY = {"type": "http.response.body", "body": b"Not Found"}


async def app(scope, receive, send):
    """Return 404 for every request, without reading its body.

    Args:
        scope: The connection scope.
        receive: Receives events.
        send: Sends events.

    From the ASGI specification, version 3.
    """
    await send(_START)
    await send(_BODY)


if __name__ == "__main__":
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
