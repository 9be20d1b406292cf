# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command `python -m tests.e2e`: a cluster, the images, the scenarios, and nothing left afterwards.

With `E2E_CLUSTER=current` it only runs the scenarios, on the cluster of the current context; docs/e2e.md
lists what it has to be told of that. It ends with 0 only if every scenario passed and, of its own cluster,
no process, mount, namespace or control group is left.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tests.e2e.summary import SCENARIOS, shortcomings
from tests.e2e.target import IMAGES
from tests.e2e.traces import Trace, mounts_of_anybody, traces
from tools.cluster import Cluster, ClusterError, up
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.state import Record, locked
from tools.cluster.teardown import down

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "e2e"
SUMMARY = OUT / "summary.json"
TAG = "0.1.0"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e", description="The scenarios on a real cluster."
    )
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, for another run")
    parser.add_argument("-k", metavar="EXPRESSION", help="run only these scenarios, as pytest's -k")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    progress = Progress()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    try:
        if os.environ.get("E2E_CLUSTER", "built") == "current":
            code = run_scenarios([], {**os.environ, "E2E_CLUSTER": "current"}, options.k)
        else:
            code = on_own_cluster(options.k, progress, keep=options.keep)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code or conclude(() if options.k else SCENARIOS)


def _end(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM as an interruption, so that what was begun is taken down."""
    raise KeyboardInterrupt


def on_own_cluster(expression: str | None, progress: Progress, *, keep: bool) -> int:
    """Bring the test cluster up, run on it, and take it down, whatever happens in between.

    A cluster that somebody keeps is used and left up. One that nobody keeps is what a killed run has left; it
    goes first, and with it what that run may still have under way.
    """
    layout = Layout.from_environment(os.environ)
    with locked(layout.run_lock, "the cluster", wait=False):
        if not is_kept(layout):
            down(layout, progress)
        before = mounts_of_anybody()
        try:
            cluster = up(progress)
            if keep:
                cluster.keep()
            load_images(cluster, progress)
            environ = {**os.environ, **environment(cluster)}
            return run_scenarios(cluster.enter([]), environ, expression)
        finally:
            # A second interruption must not leave half a cluster behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if is_kept(layout):
                progress.say("the cluster stays up; `python -m tools.cluster down` takes it down")
            else:
                down(layout, progress)
                check_gone(traces(layout), before, mounts_of_anybody())
                progress.say("nothing of the cluster is left")


def is_kept(layout: Layout) -> bool:
    """Whether a cluster is up that somebody asked to stay: by `tools.cluster up`, or by `--keep`."""
    record = Record.open(layout.record)
    return record is not None and record.state.ready and record.state.kept


def load_images(cluster: Cluster, progress: Progress) -> None:
    """Build the project's images from its Dockerfile and take them into the cluster."""
    dockerfile = ROOT / "images" / "Dockerfile"
    for kind in IMAGES:
        name = image_name(kind)
        cluster.build(dockerfile, ROOT, name, target=kind)
        cluster.load(name)


def image_name(kind: str) -> str:
    """Give an image the full name of the chart's default, so that the chart needs no value for it."""
    return f"docker.io/tidegate/{kind}:{TAG}"


def environment(cluster: Cluster) -> dict[str, str]:
    """Tell the scenarios of the cluster in the variables of docs/e2e.md."""
    return {
        **cluster.environment,
        # Should this run be killed, the scenarios end with the cluster.
        **cluster.mark,
        **{f"E2E_{kind.upper()}_IMAGE": image_name(kind).removeprefix("docker.io/") for kind in IMAGES},
        "E2E_CLUSTER": "built",
        "E2E_GATEWAY": "tidegate-gateway/tidegate",
        "E2E_S3_ENDPOINT": cluster.s3.endpoint_from_pods,
        "E2E_VERSIONS": json.dumps(cluster.versions),
    }


def run_scenarios(prefix: Sequence[str], environ: Mapping[str, str], expression: str | None) -> int:
    """Run pytest on the scenarios; the prefix puts it into the cluster's network.

    An interruption reaches pytest too, which then ends what it began; this waits for it.
    """
    selection = ["-k", expression] if expression else []
    command = [*prefix, sys.executable, "-m", "pytest", "tests/e2e", "-p", "no:cacheprovider", "--tb=short"]
    command += ["-v", "--durations=0", f"--basetemp={OUT / 'scratch'}", *selection]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(environ))
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def check_gone(ours: Sequence[Trace], before: Sequence[Trace], after: Sequence[Trace]) -> None:
    """Fail if anything of the cluster is left: anything of its names, and mounts that were not there before.

    Raises:
        ClusterError: with what is left.
    """
    left = [*ours, *(trace for trace in after if trace not in before)]
    if left:
        raise ClusterError("Of the cluster are left: " + "; ".join(f"{what} {which}" for what, which in left))


def conclude(wanted: tuple[str, ...]) -> int:
    """Say what the summary holds; 1 unless all that was wanted passed."""
    document: dict[str, Any] = json.loads(SUMMARY.read_text())
    for scenario in document["scenarios"]:
        print(
            f"{'passed' if scenario['passed'] else 'FAILED'} {scenario['seconds']:6.1f} s {scenario['name']}"
        )
    wrong = shortcomings(document, wanted)
    print(
        "; ".join(wrong)
        or f"All {len(document['scenarios'])} scenarios passed; what they measured is in {SUMMARY}."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
