# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""ghz: a closed loop over gRPC by a client in Go, one connection per worker."""

import json
from pathlib import Path

from benchmarks.wrk import Summary
from tidegate.errors import ServerError
from tools.cluster.toolchain import ToolSet

GHZ = ToolSet("ghz", "github.com/bojand/ghz", "2 min")

METHOD = "inference.GRPCInferenceService.ModelInfer"


def command(
    ghz: Path, address: str, protoset: Path, body: Path, connections: int, seconds: int
) -> list[str | Path]:
    """Build the command line. Calls in flight at the end are awaited and counted as responses.

    Args:
        ghz: The program.
        address: ``host:port`` of the server.
        protoset: The file from :func:`write_protoset`.
        body: The file with the serialized request.
        connections: Number of connections and of concurrent calls.
        seconds: Duration of the load.
    """
    load = [f"--concurrency={connections}", f"--connections={connections}", f"--duration={seconds}s"]
    # The message may start with bytes that look like a template.
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
    """Write the Open Inference Protocol's service description for ghz, from KServe's classes."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import DESCRIPTOR

    descriptors = FileDescriptorSet()
    DESCRIPTOR.CopyToProto(descriptors.file.add())
    target.write_bytes(descriptors.SerializeToString())


def parse(output: str) -> Summary:
    """Parse ghz's JSON report, whose times are nanoseconds.

    Raises:
        ServerError: If the report holds no response.
    """
    try:
        report = json.loads(output)
        statuses, count = report["statusCodeDistribution"] or {}, report["count"]
        latency = {
            entry["percentage"]: entry["latency"] / 1e6 for entry in report["latencyDistribution"] or ()
        }
        errors = count - statuses.get("OK", 0)
        return Summary(count, errors, 0, float(report["rps"]), latency[50], latency[99])
    except (ValueError, KeyError, TypeError):
        raise ServerError(f"ghz printed no report: {output.strip()[:120]}") from None
