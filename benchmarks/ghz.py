# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""ghz: the closed loop over gRPC, a connection a worker, the request's bytes as they are."""

import json
from pathlib import Path

from benchmarks.wrk import Summary
from tidegate.errors import ServerError

METHOD = "inference.GRPCInferenceService.ModelInfer"


def command(
    ghz: Path, address: str, protoset: Path, body: Path, connections: int, seconds: int
) -> list[str | Path]:
    """The command line. What is in flight at the end is waited for, and so counted as an answer."""
    load = [f"--concurrency={connections}", f"--connections={connections}", f"--duration={seconds}s"]
    # A first line of a message that looks like a template must not be taken for one.
    options = ["--insecure", "--duration-stop=wait", "--cpus=1", "--format=json", "--disable-template-data"]
    return [
        ghz,
        *options,
        *load,
        f"--protoset={protoset}",
        f"--call={METHOD}",
        f"--binary-file={body}",
        address,
    ]


def write_protoset(target: Path) -> None:
    """Describe the Open Inference Protocol's service to ghz, from KServe's own classes."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import DESCRIPTOR

    described = FileDescriptorSet()
    DESCRIPTOR.CopyToProto(described.file.add())
    target.write_bytes(described.SerializeToString())


def parse(output: str) -> Summary:
    """Read ghz's JSON report; its times are nanoseconds.

    Raises:
        ServerError: It holds no answer.
    """
    try:
        seen = json.loads(output)
        statuses = seen["statusCodeDistribution"] or {}
        latency = {entry["percentage"]: entry["latency"] / 1e6 for entry in seen["latencyDistribution"] or ()}
        right = statuses.get("OK", 0)
        return Summary(seen["count"], seen["count"] - right, 0, float(seen["rps"]), latency[50], latency[99])
    except (ValueError, KeyError, TypeError):
        raise ServerError(f"ghz printed no result: {output.strip()[:120]}") from None
