# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``make upgrade``: install the charts of an older commit, upgrade them to those of the tree, and roll back.

The values are those of the older commit's ``ci/``, as a user has them. Helm 3, Helm 4, and Helm 4 after Helm
3 do it on a real API server, which rejects a change of an immutable field. The objects of the tree's charts
are validated against the schemas of every supported version of Kubernetes, too. The results are in
``out/upgrade/summary.json``.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.charts.chart import HELM, OLDEST_KUBERNETES, ROOT, validated
from tests.upgrade.api_server import ApiServer, run_api_server
from tidegate.errors import ConfigurationError, TidegateError
from tools.cluster import cache, toolchain
from tools.cluster.command import Runner
from tools.cluster.errors import ClusterError
from tools.cluster.layout import Layout
from tools.cluster.progress import Progress
from tools.cluster.toolchain import HELM_3, TOOL_SETS

OUT = ROOT / "out" / "upgrade"
REQUIRED = ("kubernetes", "etcd", "helm")
PAIRS = (("helm3", "helm3"), ("helm", "helm"), ("helm3", "helm"))
"""The Helm that installs, and the Helm that upgrades; `helm` is Helm 4."""


@dataclass(frozen=True)
class Case:
    """A release to upgrade.

    Args:
        values: The file with its values, in the folder ``ci/`` of the older chart.
    """

    values: Path

    @property
    def old(self) -> Path:
        """The older chart."""
        return self.values.parents[1]

    @property
    def new(self) -> Path:
        """The chart of the tree."""
        return HELM / self.old.name

    @property
    def name(self) -> str:
        """The release's name."""
        return f"{self.old.name}-{self.values.stem.removesuffix('-values')}".removeprefix("tidegate-")


@dataclass(frozen=True)
class Result:
    """The outcome of one upgrade.

    Args:
        release: The case's name.
        helm: The versions of Helm that installed and upgraded.
        error: The reason why a step failed; None if all succeeded.
        restarts: The number of InferenceServices whose pods restart.
    """

    release: str
    helm: tuple[str, str]
    error: str | None
    restarts: int


def export_charts(ref: str, folder: Path) -> Path:
    """Write the charts of a commit to a folder, and return their path.

    Raises:
        ConfigurationError: If the commit does not exist, or has no charts.
    """
    done = subprocess.run(["git", "archive", ref, "helm"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode().strip()
        raise ConfigurationError(
            f"--from: expected a commit with charts, received {ref} ({reason}): name another."
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "helm"


def last_release() -> str:
    """Return the newest tag of a release before the current commit.

    Raises:
        ConfigurationError: If there is none.
    """
    command = ["git", "describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigurationError(
            "--from: expected a release's tag, found none: name a commit, as FROM=<commit>."
        )
    return done.stdout.strip()


def cases(old: Path) -> list[Case]:
    """Return a case per values file of the older charts that still exist."""
    found = [Case(file) for file in sorted(old.glob("*/ci/*-values.yaml"))]
    return [case for case in found if (case.new / "Chart.yaml").exists()]


class Upgrade:
    """Upgrades with one pair of Helms.

    Args:
        server: The API server.
        installs: The Helm that installs.
        upgrades: The Helm that upgrades and rolls back.
        settings: Values of the upgrade in addition to the older ones, as Helm's options.
    """

    def __init__(self, server: ApiServer, installs: Path, upgrades: Path, settings: Sequence[str]) -> None:
        self._settings = settings
        self._server = server
        self._installs = installs
        self._upgrades = upgrades

    def run(self, case: Case, namespace: str) -> int:
        """Install, upgrade, roll back and uninstall a release; return the InferenceServices that restart.

        Raises:
            ClusterError: If a step fails.
            jsonschema.ValidationError: If an object is invalid for a supported version of Kubernetes.
        """
        values = f"--values={case.values}"
        self._server.kubectl("create", "namespace", namespace)
        old = self._render(namespace, case.name, str(case.old), values)
        new = self._render(namespace, case.name, str(case.new), values, "--is-upgrade", *self._settings)
        self._server.define((item["apiVersion"], item["kind"]) for item in [*old, *new])
        for item in new:
            validated(item)
        self._helm(self._installs, namespace, "install", case.name, str(case.old), values)
        before = self._checksums(namespace)
        self._helm(self._upgrades, namespace, "upgrade", case.name, str(case.new), values, *self._settings)
        after = self._checksums(namespace)
        self._helm(self._upgrades, namespace, "rollback", case.name, "1")
        self._helm(self._upgrades, namespace, "uninstall", case.name)
        return sum(after.get(name) != checksum for name, checksum in before.items())

    def _render(self, namespace: str, *arguments: str) -> list[Any]:
        """Return the objects of a chart for the oldest supported Kubernetes."""
        version = f"--kube-version=1.{OLDEST_KUBERNETES}.0"
        text = self._helm(self._upgrades, namespace, "template", *arguments, version)
        return [item for item in yaml.safe_load_all(text) if item]

    def _helm(self, helm: Path, namespace: str, *arguments: str) -> str:
        environment = {"KUBECONFIG": str(self._server.kubeconfig), "HELM_DRIVER": "secret"}
        return Runner().run([helm, *arguments, f"--namespace={namespace}"], env=environment)

    def _checksums(self, namespace: str) -> dict[str, Any]:
        """Return the checksum of the pods by InferenceService."""
        try:
            text = self._server.kubectl(
                "get", "inferenceservices", f"--namespace={namespace}", "--output=json"
            )
        except ClusterError:
            return {}  # the kind is not defined yet
        return {
            item["metadata"]["name"]: item["spec"]["predictor"].get("annotations", {}).get("checksum/pods")
            for item in json.loads(text)["items"]
        }


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description=__doc__)
    parser.add_argument("--from", dest="ref", metavar="COMMIT", help="by default the last release's tag")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a value of the upgrade",
    )
    options = parser.parse_args()
    try:
        results = run(options.ref or last_release(), [f"--set={pair}" for pair in options.settings])
    except TidegateError as error:
        print(f"upgrade: {error}", file=sys.stderr)
        return error.exit_code
    except ClusterError as error:
        print(f"upgrade: {error}", file=sys.stderr)
        return 1
    return 1 if any(result.error for result in results) else 0


def run(ref: str, settings: Sequence[str]) -> list[Result]:
    """Upgrade every release from a commit's charts, and write the summary.

    Args:
        ref: The commit.
        settings: Helm's options with values that the newer version requires.
    """
    progress, layout = Progress(), Layout.from_environment(os.environ)
    tool_sets = [HELM_3, *(tool_set for tool_set in TOOL_SETS if tool_set.name in REQUIRED)]
    tools = toolchain.ensure(layout, cache.runner(layout), progress, tool_sets)
    helms = {name: tools.folders[name] / "bin" / "helm" for name in ("helm3", "helm")}
    results = []
    with tempfile.TemporaryDirectory(prefix="tidegate-upgrade-") as scratch:
        folder = Path(scratch)
        binaries = folder / "bin"
        toolchain.Toolchain({name: tools.folders[name] for name in ("kubernetes", "etcd")}, {}).link_into(
            binaries
        )
        selected = cases(export_charts(ref, folder))
        with run_api_server(binaries, folder, progress) as server:
            for number, (installs, upgrades) in enumerate(PAIRS):
                upgrade = Upgrade(server, helms[installs], helms[upgrades], settings)
                for case in selected:
                    error, restarts = None, 0
                    try:
                        restarts = upgrade.run(case, f"{case.name}-{number}")
                    except (ClusterError, jsonschema.ValidationError) as failure:
                        error = str(failure).partition("\n\n")[0]
                    versions = (tools.versions[installs], tools.versions[upgrades])
                    results.append(Result(case.name, versions, error, restarts))
                    print(
                        f"{'FAILED' if error else 'passed'} {' to '.join(versions)} {case.name} {error or ''}"
                    )
    OUT.mkdir(parents=True, exist_ok=True)
    summary = {
        "from": ref,
        "settings": settings,
        "kubernetes": tools.versions["kubernetes"],
        "upgrades": [asdict(result) for result in results],
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return results


if __name__ == "__main__":
    sys.exit(main())
