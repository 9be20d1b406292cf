# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Helm, the only writer of a release: values of a release, and upgrades that change a few of them.

An upgrade keeps the chart's version and all other values, so a step of a rollout changes nothing that a
verdict would mistake for the canary's effect. A killed upgrade leaves the release in a pending state, in
which Helm rejects every upgrade; the next one first returns to the last deployed revision.
"""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tidegate.errors import ConfigurationError, ServerError

OLDEST_VERSION = (3, 14)
"""The first version with --reset-then-reuse-values."""
TIMEOUT_SECONDS = 300.0
"""The longest duration of one command of Helm."""
PENDING_SECONDS = 60.0
"""How long a pending upgrade may belong to a Helm process that still runs."""

_POLL_SECONDS = 0.5
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_PERMANENT = (
    "don't meet the specifications",
    "execution error at",
    "parse error",
    "is forbidden",
    "Unauthorized",
    "is invalid",
    "denied the request",
    "not found",
    "failed to download",
    "unknown flag",
)
"""Parts of Helm's messages about failures that a retry repeats."""

Values = Mapping[str, Any]
RunCommand = Callable[[Sequence[str], Callable[[], None]], "Completed"]


@dataclass(frozen=True, slots=True)
class Completed:
    """A process that has ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart of a release, or that of a reference."""

    name: str
    version: str


class Helm:
    """Helm for one release.

    Args:
        release: The release's name in Helm.
        namespace: The release's namespace.
        chart: A folder or a reference of the chart, such as ``oci://registry.example.com/charts/tidegate``.
        run: Runs a command; the second argument is called while the command runs.
        on_wait: Called at least once per second while Helm runs, for example to renew a lease.
        clock: Seconds of a monotonic clock.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        release: str,
        namespace: str,
        chart: str,
        *,
        run: RunCommand | None = None,
        on_wait: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._release = release
        self._namespace = namespace
        self._chart = chart
        self._run_command = run or run_command
        self._on_wait = on_wait
        self._clock = clock
        self._sleep = sleep

    def verify_version(self) -> None:
        """Check that the installed Helm can keep the other values of a release.

        Raises:
            ConfigurationError: If Helm is not installed, or is too old.
        """
        text = self._helm("version", "--template={{.Version}}")
        match = _VERSION.match(text.strip())
        if match is None or tuple(map(int, match.groups())) < OLDEST_VERSION:
            raise ConfigurationError(
                f"helm on PATH is version {text.strip() or 'unknown'}: expected "
                f"{'.'.join(map(str, OLDEST_VERSION))} or newer, which keeps the other values of a release. "
                "Install it."
            )

    def deployed_values(self) -> dict[str, Any] | None:
        """Return the release's values with defaults; None if the last upgrade is pending or failed.

        Raises:
            ConfigurationError: If the release does not exist.
            ServerError: If the cluster is unreachable or fails.
        """
        if self._metadata()["status"] != "deployed":
            return None
        values: dict[str, Any] = json.loads(
            self._helm("get", "values", self._release, "--all", "--output=json")
        )
        return values

    def default_values(self) -> dict[str, Any]:
        """Return the chart's default values."""
        values: dict[str, Any] = yaml.safe_load(self._helm("show", "values", self._chart))
        return values

    def verify_chart(self) -> None:
        """Check that the chart is the one that the release has.

        Raises:
            ConfigurationError: If its name or version differs.
        """
        installed = self._metadata()
        expected = Chart(str(installed["chart"]), str(installed["version"]))
        document = yaml.safe_load(self._helm("show", "chart", self._chart, f"--version={expected.version}"))
        chart = Chart(str(document["name"]), str(document["version"]))
        if chart != expected:
            raise ConfigurationError(
                f"--chart {self._chart} is {chart.name} {chart.version}, but the release {self._release} has "
                f"{expected.name} {expected.version}: a step would change the chart together with the "
                "canary. Select the release's chart, or upgrade the release before the rollout."
            )

    def upgrade(self, values: Values, description: str) -> None:
        """Upgrade the release, with these values and otherwise its own.

        Args:
            values: Nested values of the chart.
            description: The text in ``helm history``.

        Raises:
            ConfigurationError: If Helm or the API server rejects the upgrade.
            ServerError: If the cluster is unreachable or fails.
        """
        version = str(self._settled_metadata()["version"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "values.yaml"
            file.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
            self._helm(
                "upgrade",
                self._release,
                self._chart,
                "--reset-then-reuse-values",
                f"--version={version}",
                f"--values={file}",
                f"--description={description}",
            )

    def _settled_metadata(self) -> dict[str, Any]:
        """Read the metadata after a pending upgrade: its end, or the return to the last deployed revision."""
        deadline = self._clock() + PENDING_SECONDS
        while str((metadata := self._metadata())["status"]).startswith("pending-"):
            if self._clock() > deadline:
                self._helm("rollback", self._release, str(self._deployed_revision()))
                return self._metadata()
            self._on_wait()
            self._sleep(_POLL_SECONDS)
        return metadata

    def _deployed_revision(self) -> int:
        history = json.loads(self._helm("history", self._release, "--output=json"))
        deployed = [int(entry["revision"]) for entry in history if entry["status"] == "deployed"]
        if not deployed:
            raise ConfigurationError(
                f"The release {self._release} has no deployed revision to return to: run 'helm history "
                f"{self._release}', and repair it with 'helm upgrade'."
            )
        return max(deployed)

    def _metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = json.loads(self._helm("get", "metadata", self._release, "--output=json"))
        return metadata

    def _helm(self, *arguments: str) -> str:
        completed = self._run_command(["helm", *arguments, f"--namespace={self._namespace}"], self._on_wait)
        if completed.exit_code != 0:
            message = _message(completed.stderr) or f"exit code {completed.exit_code}"
            error = ConfigurationError if any(part in message for part in _PERMANENT) else ServerError
            raise error(f"helm {arguments[0]} of {self._release} failed: {message.rstrip('.')}.")
        return completed.stdout


def run_command(argv: Sequence[str], on_wait: Callable[[], None]) -> Completed:
    """Run a command in a session of its own, so that Ctrl-C does not interrupt an upgrade halfway.

    Raises:
        ConfigurationError: If the command is not installed.
        ServerError: If the command does not end in time.
    """
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
            )
        except FileNotFoundError:
            raise ConfigurationError(
                f"'{argv[0]}' is not on PATH, and each step of a rollout is an upgrade with it: install Helm."
            ) from None
        deadline = time.monotonic() + TIMEOUT_SECONDS
        try:
            while True:
                try:
                    exit_code = process.wait(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > deadline:
                        process.kill()
                        raise ServerError(
                            f"'{' '.join(argv[:2])}' has not ended within {TIMEOUT_SECONDS:g} s."
                        ) from None
                    on_wait()
        finally:
            process.wait()
        stdout.seek(0)
        stderr.seek(0)
        return Completed(exit_code, stdout.read(), stderr.read())


def _message(stderr: str) -> str:
    r"""Return Helm's error without its prefix and without warnings.

    >>> _message("WARNING: old\nError: UPGRADE FAILED: no such host\n")
    'UPGRADE FAILED: no such host'
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    start = next((index for index, line in enumerate(lines) if line.startswith("Error:")), 0)
    return " ".join(lines[start:]).removeprefix("Error: ")


def merge(base: Values, changes: Values) -> dict[str, Any]:
    """Merge nested values, as Helm merges values files.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(base)
    for key, value in changes.items():
        current = merged.get(key)
        if isinstance(current, Mapping) and isinstance(value, Mapping):
            value = merge(current, value)
        merged[key] = value
    return merged
