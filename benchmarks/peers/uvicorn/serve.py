# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""uvicorn with an application that does nothing: the most that any application under uvicorn can reach."""

import os

import uvicorn

_START = {
    "type": "http.response.start",
    "status": 404,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"9")],
}
_BODY = {"type": "http.response.body", "body": b"Not Found"}


async def app(scope, receive, send):
    """Answer 404 to everything, and read nothing."""
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
