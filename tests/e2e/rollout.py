# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""`tidegate rollout` as a process that a scenario can follow, wait for and kill."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.e2e.kube import TIDEGATE
from tests.e2e.release import CHART, Release

PROMOTED, STOPPED = 0, 3
"""Exit codes."""
END_SECONDS = 420.0


class Rollout:
    """A rollout of a digest.

    Args:
        release: The release.
        digest: The new digest; None to rehearse with the release's own.
        policy: The fields of the policy file.
        out: A folder for the policy and the report.
        options: Further options of the command.
    """

    def __init__(
        self,
        release: Release,
        digest: str | None,
        policy: Mapping[str, Any],
        out: Path,
        options: Sequence[str] = (),
    ) -> None:
        self._release = release
        self._command = ["rehearse", release.name] if digest is None else ["start", release.name, digest]
        self._options = options
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        self._policy = out / "rollout.yaml"
        self._policy.write_text(yaml.safe_dump(dict(policy)))
        self.lines: list[str] = []
        """The command's progress so far, of all its processes."""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the command, or start it again after it was killed."""
        options = [f"--policy={self._policy}", f"--out={self.out}", f"--chart={CHART}", "--output=json"]
        self._process = subprocess.Popen(
            [
                *(TIDEGATE, "rollout", *self._command, f"--namespace={self._release.namespace.name}"),
                *(*options, *self._options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._follow, args=[self._process], daemon=True).start()

    def wait_for(self, text: str, timeout: float = 180) -> None:
        """Wait until a line of the progress contains a text."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if any(text in line for line in self.lines):
                return
            if self._running.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"tidegate rollout: expected {text!r}, received:\n{self.explain()}")

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self._running.send_signal(signal.SIGKILL)
        self._running.wait(10)

    def kill_helm(self, timeout: float = 180) -> None:
        """Kill Helm in the middle of the command's next upgrade, when the release is pending.

        Helm advances in slices of time, so that it is stopped whenever the release's status is read.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for child in psutil.Process(self._running.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if child.cmdline()[1:2] == ["upgrade"] and self._kill_while_pending(child):
                        return
            time.sleep(0.02)
        raise AssertionError(f"tidegate rollout: expected an upgrade, received:\n{self.explain()}")

    def _kill_while_pending(self, helm: psutil.Process) -> bool:
        """Return whether Helm was killed before it had ended."""
        while helm.status() != psutil.STATUS_ZOMBIE:
            helm.suspend()
            if self._release.metadata()["status"].startswith("pending-"):
                helm.kill()
                return True
            helm.resume()
            time.sleep(0.05)
        return False

    def end(self, exit_code: int) -> dict[str, Any]:
        """Wait for the end of the command, and return the report's document.

        Args:
            exit_code: The expected exit code.
        """
        try:
            received = self._running.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            received = None
        assert received == exit_code, f"ended with {received}, expected {exit_code}:\n{self.explain()}"
        assert "<svg" in (self.out / "rollout.html").read_text()
        document: dict[str, Any] = json.loads((self.out / "rollout.json").read_text())
        return document

    def explain(self) -> str:
        """Return the last lines of the progress."""
        return "\n".join(self.lines[-40:])

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "start() comes first"
        return self._process

    def _follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line.rstrip())
        process.stderr.close()


def describe(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a report that the summary shows."""
    steps = [[step["step"], round(step["ended_at"] - step["started_at"], 1)] for step in document["steps"]]
    requests = document["requests"]
    return {
        "result": document["result"],
        "reasons": document["reasons"],
        "step_seconds": steps,
        "minutes": round(sum(seconds for _, seconds in steps) / 60, 1),
        "counted_requests": {track: requests[track]["timed"] for track in requests},
        "pairs": document["pairs"]["pairs"],
        "odds_ratios": {check["name"]: [check["figure"], *check["interval"]] for check in document["checks"]},
    }
