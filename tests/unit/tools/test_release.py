# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Releases: versions, charts, and the workflows that publish them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import release
from tools.release import ROOT, image_targets, package_chart, require, sha256, version_faults

WORKFLOWS = ROOT / ".github" / "workflows"
CHART = {"version": "1.2.3", "appVersion": "1.2.3"}


def workflow(name: str) -> Any:
    # YAML 1.1 reads the key `on` as true.
    return yaml.safe_load((WORKFLOWS / name).read_text())


@pytest.mark.parametrize(("heading", "tag"), [("Unreleased", ""), ("1.2.3", ""), ("1.2.3", "v1.2.3")])
def test_versions_that_agree_have_no_fault(heading: str, tag: str) -> None:
    assert list(version_faults("1.2.3", {"tidegate": CHART}, heading, tag)) == []


@pytest.mark.parametrize(
    ("version", "chart", "heading", "tag", "words"),
    [
        (
            "1.2.3rc1",
            {"version": "1.2.3rc1", "appVersion": "1.2.3rc1"},
            "Unreleased",
            "",
            ["pyproject", "1.2.3rc1"],
        ),
        ("1.2.3", CHART | {"version": "1.2.2"}, "1.2.3", "", ["helm/tidegate", " version", "1.2.3", "1.2.2"]),
        ("1.2.3", CHART | {"appVersion": "1.2.2"}, "1.2.3", "", ["helm/tidegate", "appVersion", "1.2.2"]),
        ("1.2.3", CHART, "1.2.2", "", ["CHANGELOG.md", "[1.2.3] or [Unreleased]", "[1.2.2]"]),
        ("1.2.3", CHART, "Unreleased", "v1.2.3", ["CHANGELOG.md", "[1.2.3]", "[Unreleased]"]),
        ("1.2.3", CHART, "1.2.3", "1.2.3", ["tag", "v1.2.3", "received 1.2.3"]),
    ],
)
def test_version_that_differs_is_named(
    version: str, chart: dict[str, str], heading: str, tag: str, words: list[str]
) -> None:
    [fault] = version_faults(version, {"tidegate": chart}, heading, tag)
    assert all(word in fault for word in words), fault


def test_faults_are_printed_and_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        require(["CHANGELOG.md: a fault."])
    assert (caught.value.code, capsys.readouterr().err) == (2, "release: CHANGELOG.md: a fault.\n")


def test_lint_warning_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = tmp_path / "broken"
    (chart / "ci").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: broken\nversion: one\n")
    (chart / "ci" / "minimal-values.yaml").write_text("{}\n")
    monkeypatch.setattr(release, "HELM", tmp_path)
    assert any("version" in fault for fault in release.lint_faults("broken"))


def test_chart_package_depends_only_on_content_and_time(tmp_path: Path) -> None:
    archives = []
    for name, created in (("first", 1_700_000_000), ("second", 1_700_000_000), ("later", 1_800_000_000)):
        package_chart("tidegate-monitoring", tmp_path / name, created)
        [archive] = (tmp_path / name).iterdir()
        archives.append(sha256(archive))
    assert archives[0] == archives[1] != archives[2]


def test_release_publishes_each_image_of_the_dockerfile() -> None:
    matrix = workflow("release.yaml")["jobs"]["images"]["strategy"]["matrix"]
    assert matrix["image"] == image_targets((ROOT / "images" / "Dockerfile").read_text())


def test_ci_runs_the_stages_of_the_script() -> None:
    jobs = workflow("ci.yaml")["jobs"]
    stages = re.findall(r"^for stage in (.+); do$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)[
        0
    ].split()
    assert [*jobs["stages"]["strategy"]["matrix"]["stage"], "e2e"] == stages
    assert "make e2e" in [step.get("run") for step in jobs["e2e"]["steps"]]


@pytest.mark.parametrize("name", ["ci.yaml", "release.yaml"])
def test_workflow_grants_write_permissions_to_single_jobs(name: str) -> None:
    document = workflow(name)
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        writes = {scope for scope, level in job.get("permissions", {}).items() if level == "write"}
        assert not ({"contents", "id-token"} <= writes), "the job that signs does not write the repository"
