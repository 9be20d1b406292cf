# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Releases: versions, charts, and the workflows that publish them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from tools import release
from tools.release import (
    CHART_IMAGES,
    CHARTS,
    MENTION,
    ROOT,
    chart_metadata,
    image_targets,
    mention_faults,
    package_chart,
    require,
    sha256,
    texts_with_mentions,
    version_faults,
)

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


def test_pages_and_manifests_mention_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    files = list(texts_with_mentions())
    assert list(mention_faults(version, files)) == []
    manifests = {name for name, text in files if name.startswith("manifests/") and MENTION.search(text)}
    images = {name for name, text in files if name.startswith("manifests/") and "newName: registry" in text}
    assert images <= manifests


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
        metadata = chart_metadata("tidegate-monitoring", "1.2.3", "ghcr.io/a", "")
        package_chart("tidegate-monitoring", metadata, tmp_path / name, created)
        [archive] = (tmp_path / name).iterdir()
        archives.append(sha256(archive))
    assert archives[0] == archives[1] != archives[2]


@pytest.mark.parametrize("chart", CHARTS)
def test_chart_package_has_the_addresses_of_the_release(chart: str, tmp_path: Path) -> None:
    source = "https://github.com/a/b"
    package_chart(chart, chart_metadata(chart, "1.2.3", "ghcr.io/a/b", source), tmp_path, 1_700_000_000)
    [archive] = tmp_path.iterdir()
    metadata = helm_python.Chart.load(archive).metadata
    annotations = {name: yaml.safe_load(text) for name, text in metadata["annotations"].items()}
    assert (metadata["home"], metadata["sources"]) == (source, [source])
    assert annotations["artifacthub.io/links"][0]["url"] == f"{source}/tree/v1.2.3/docs"
    assert annotations["artifacthub.io/changes"][0]["links"][0]["url"].endswith("/v1.2.3/CHANGELOG.md")
    images = [entry["image"] for entry in annotations.get("artifacthub.io/images", [])]
    assert images == [f"ghcr.io/a/b/{name}:1.2.3" for name in CHART_IMAGES[chart]]


def test_chart_without_a_release_has_no_addresses() -> None:
    metadata = chart_metadata("tidegate", "1.2.3", "ghcr.io/a", "")
    assert not {"home", "sources", "icon"} & metadata.keys()
    assert "http" not in str(metadata)


def test_charts_run_every_image() -> None:
    images = [name for names in CHART_IMAGES.values() for name in names]
    assert images == image_targets((ROOT / "images" / "Dockerfile").read_text())


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
