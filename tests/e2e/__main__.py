# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command `python -m tests.e2e`: it starts a cluster, builds the images and runs the scenarios.

With `E2E_CLUSTER=current` it only runs the scenarios, on the cluster of the current context; docs/e2e.md
lists the variables that describe that cluster. It exits with 0 only if all selected scenarios have passed and
no process, mount, network namespace or control group of its own cluster remains.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tests.e2e.scenarios import FULL_MARKER, names_of_run, required_addons
from tests.e2e.summary import find_failures
from tests.e2e.target import IMAGES
from tests.e2e.traces import Trace, find_shared_mounts, find_traces
from tidegate import __version__
from tools.cluster import Cluster, ClusterError, up
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.state import Record, locked
from tools.cluster.teardown import down

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "e2e"
SUMMARY = OUT / "summary.json"
PYTEST = (sys.executable, "-m", "pytest", "tests/e2e", "-p", "no:cacheprovider")


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e", description="Run the scenarios on a real cluster."
    )
    parser.add_argument("--keep", action="store_true", help="keep the cluster up after the run")
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument("--full", action="store_true", help="run all scenarios instead of CI's")
    selection.add_argument("-k", metavar="EXPRESSION", help="run the matching scenarios, as pytest's -k")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    progress = Progress()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    try:
        run = Run.matching(options.k) if options.k else Run.complete(full=options.full)
        if os.environ.get("E2E_CLUSTER", "built") == "current":
            code = run_scenarios([], {**os.environ, "E2E_CLUSTER": "current"}, run)
        else:
            code = on_own_cluster(run, progress, keep=options.keep)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code or report_outcome(run.scenarios)


@dataclass(frozen=True)
class Run:
    """The scenarios of one run.

    Args:
        scenarios: Their names; each must pass.
        selection: The options by which pytest selects them.
    """

    scenarios: tuple[str, ...]
    selection: tuple[str, ...]

    @classmethod
    def complete(cls, *, full: bool) -> "Run":
        """Return the run of `make e2e-full`, or of `make e2e`."""
        return cls(names_of_run(full=full), () if full else ("-m", f"not {FULL_MARKER}"))

    @classmethod
    def matching(cls, expression: str) -> "Run":
        """Return the run of the scenarios that match pytest's -k, after collecting them.

        Raises:
            ClusterError: If pytest collects none.
        """
        selection = ("-k", expression)
        command = [*PYTEST, "--collect-only", "--quiet", *selection]
        collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        names = parse_collected(collected.stdout)
        if not names:
            raise ClusterError(f"-k {expression}: no scenario was collected:\n{collected.stdout[-1000:]}")
        return cls(names, selection)


def parse_collected(output: str) -> tuple[str, ...]:
    r"""Return the names of the scenarios in the output of pytest's `--collect-only --quiet`.

    >>> parse_collected("tests/e2e/test_canary.py::test_promote\n\n1/22 tests collected (21 deselected)\n")
    ('promote',)
    """
    return tuple(re.findall(r"::test_(\w+)$", output, re.MULTILINE))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM as an interruption, so that the cluster is removed."""
    raise KeyboardInterrupt


def on_own_cluster(run: Run, progress: Progress, *, keep: bool) -> int:
    """Start the test cluster, run the scenarios on it, and remove it, also after an error.

    A kept cluster is used and stays up. A cluster that is not kept remains from a killed run; it is removed
    first, together with the processes of that run.

    Args:
        run: The scenarios to run.
        progress: Reports each step.
        keep: Whether the cluster stays up after the run.

    Returns:
        pytest's exit code.
    """
    layout = Layout.from_environment(os.environ)
    with locked(layout.run_lock, "the cluster", wait=False):
        if not is_kept(layout):
            down(layout, progress)
        mounts_before = find_shared_mounts()
        try:
            cluster = up(progress)
            if keep:
                cluster.keep()
            for addon in required_addons(run.scenarios):
                cluster.install(addon)
            load_images(cluster, progress)
            environ = {**os.environ, **environment(cluster)}
            return run_scenarios(cluster.enter([]), environ, run)
        finally:
            # A second interruption must not stop the removal.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if is_kept(layout):
                progress.log("the cluster stays up; `python -m tools.cluster down` removes it")
            else:
                down(layout, progress)
                verify_removed(find_traces(layout), mounts_before, find_shared_mounts())
                progress.log("the cluster is completely removed")


def is_kept(layout: Layout) -> bool:
    """Return whether a cluster is up that stays after a run: one of `tools.cluster up`, or of `--keep`."""
    record = Record.open(layout.record)
    return record is not None and record.state.ready and record.state.kept


def load_images(cluster: Cluster, progress: Progress) -> None:
    """Build the project's images from its Dockerfile and load them into the cluster."""
    dockerfile = ROOT / "images" / "Dockerfile"
    for kind in IMAGES:
        name = image_name(kind)
        cluster.build(dockerfile, ROOT, name, target=kind)
        cluster.load(name)


def image_name(kind: str) -> str:
    """Return an image's name. It is in no registry, and its host does not exist."""
    return f"registry.example.com/tidegate/{kind}:{__version__}"


def environment(cluster: Cluster) -> dict[str, str]:
    """Return the variables of docs/e2e.md for the test cluster."""
    return {
        **cluster.environment,
        # With the token in their environment, the scenarios of a killed run end with the cluster.
        **cluster.token_variable,
        **{f"E2E_{kind.upper()}_IMAGE": image_name(kind) for kind in IMAGES},
        "E2E_CLUSTER": "built",
        "E2E_GATEWAY": "tidegate-gateway/tidegate",
        "E2E_S3_ENDPOINT": cluster.s3.endpoint_from_pods,
        "E2E_VERSIONS": json.dumps(cluster.versions),
    }


def run_scenarios(prefix: Sequence[str], environ: Mapping[str, str], run: Run) -> int:
    """Run pytest on the scenarios.

    After an interruption it waits for pytest, which receives the interruption too and runs its teardowns.

    Args:
        prefix: The command that enters the cluster's network; empty for none.
        environ: pytest's environment.
        run: The scenarios to run.

    Returns:
        pytest's exit code.
    """
    command = [*prefix, *PYTEST, "--tb=short", "-v", "--durations=0", f"--basetemp={OUT / 'scratch'}"]
    command += run.selection
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


def verify_removed(
    traces: Sequence[Trace], mounts_before: Sequence[Trace], mounts_after: Sequence[Trace]
) -> None:
    """Check that the cluster is completely removed.

    Args:
        traces: The traces with the cluster's names.
        mounts_before: The mounts in shared folders before the cluster's start.
        mounts_after: The same after its end.

    Raises:
        ClusterError: If a trace or a new mount remains.
    """
    remaining = [*traces, *(mount for mount in mounts_after if mount not in mounts_before)]
    if remaining:
        names = "; ".join(f"{kind} {name}" for kind, name in remaining)
        raise ClusterError(f"The cluster is not completely removed. Remaining: {names}")


def report_outcome(required: Sequence[str]) -> int:
    """Print the outcome of each scenario; return 1 unless all required ones have passed."""
    document: dict[str, Any] = json.loads(SUMMARY.read_text())
    for scenario in document["scenarios"]:
        print(
            f"{'passed' if scenario['passed'] else 'FAILED'} {scenario['seconds']:6.1f} s {scenario['name']}"
        )
    failures = find_failures(document, required)
    print(
        "; ".join(failures)
        or f"All {len(document['scenarios'])} scenarios passed; their measurements are in {SUMMARY}."
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
