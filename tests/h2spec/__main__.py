# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make h2spec``: every case of h2spec on a live server, over plain TCP and over TLS.

``out/grpc/h2spec.json`` has the counts and the failed cases; a failed case, or a run with fewer cases than
h2spec has, exits with 1.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.h2spec import command
from tests.h2spec.cases import summarize
from tests.support import go_tool
from tests.support.certificates import MountedSecret
from tests.support.servers import GRPC_TRANSPORTS, serving
from tests.support.trained_bundles import NUMERIC, train_bundle
from tools.cluster import ClusterError

RESULT = Path(__file__).parents[2] / "out" / "grpc" / "h2spec.json"
MIN_CASES = 140
"""Passed cases of the three groups; fewer mean that h2spec has not run them."""


def run_all(transport: str) -> dict[str, Any]:
    """Run h2spec on both kinds of connections, and return its version and the outcomes."""
    commands, version = go_tool.build(command.H2SPEC)
    runs = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secret = MountedSecret(folder / "secret")
        certificate = ("--ssl-certfile", str(secret.chain), "--ssl-keyfile", str(secret.key))
        bundle = train_bundle(NUMERIC, folder / "bundle")
        for kind, of_server, of_client in (("plain", (), ()), ("tls", certificate, ("--tls", "--insecure"))):
            with serving(bundle, folder / f"{kind}.log", *of_server, transport=transport) as server:
                cases = command.run(commands / "h2spec", server, folder / f"{kind}.xml", *of_client)
            runs[kind] = summarize(cases)
            show(kind, runs[kind])
    return {"h2spec": version, "transport": transport, "runs": runs}


def show(kind: str, outcomes: dict[str, Any]) -> None:
    """Print a run's counts, and the cases that have not passed."""
    print(f"{kind}: {outcomes['passed']} passed, {outcomes['failed']} failed", flush=True)
    for group in ("failed", "excluded", "skipped"):
        for case in outcomes[f"{group}_cases"]:
            text = case.get("reason") or case["message"].replace("\n", ", ")
            print(f"  {group} {case['name']} {case['title']}{': ' if text else ''}{text}", flush=True)


def main() -> None:
    """Run h2spec, write the outcomes, and exit with 1 unless all cases pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.h2spec", description="Run h2spec on a server.")
    parser.add_argument("--transport", choices=GRPC_TRANSPORTS, default=GRPC_TRANSPORTS[0])
    try:
        document = run_all(parser.parse_args().transport)
    except ClusterError as error:
        sys.exit(f"error: {error}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    runs = document["runs"].values()
    passed = all(not outcomes["failed"] and outcomes["passed"] >= MIN_CASES for outcomes in runs)
    print(f"{'passed' if passed else 'failed'}: {RESULT}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
