# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The smallest hand-written server: Starlette, orjson and the pipeline, without validation."""

import os

import joblib
import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

pipeline = joblib.load(os.environ["BENCH_MODEL"])


async def predict(request):
    """Compute the labels of a V1 request."""
    instances = orjson.loads(await request.body())["instances"]
    labels = pipeline.predict(np.array(instances))
    return Response(orjson.dumps({"predictions": labels.tolist()}), media_type="application/json")


async def ready(_):
    """Return status 200 once the server runs."""
    return Response()


app = Starlette(
    routes=[
        Route(f"/v1/models/{os.environ['BENCH_NAME']}:predict", predict, methods=["POST"]),
        Route("/ready", ready),
    ]
)

if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), access_log=False, log_level="warning"
    )
