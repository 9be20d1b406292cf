# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a release, without a registry: distributions, charts, bills of materials, names of images.

``python -m tools.release`` writes them to ``out/release``, and fails if two files name different versions.
``--tag`` also compares the tag, ``--registry`` names the registry of the images, and ``--source`` the address
of the repository, which the packages of the charts then have.
``.github/workflows/release.yaml`` publishes the files; nothing is published here.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

from helm.generate import HELM, PAGES
from tools.sbom import bill_of_materials, parse_lock

ROOT = HELM.parent
OUT = ROOT / "out" / "release"
CHARTS = tuple(PAGES)
MENTION = re.compile(
    r"(?:registry\.example\.com/tidegate/[\w$<>-]+(?::|\s+newTag: )|\btargetRevision: v)(\d+\.\d+\.\d+)\b"
)
"""A mention of the release's version in examples, manifests and pages."""
CHART_IMAGES = {
    "tidegate": ("serving", "serving-boosters"),
    "tidegate-training": ("training",),
    "tidegate-loadtest": ("loadtest",),
    "tidegate-monitoring": (),
}
"""The images that each chart can run."""
LINT_WARNING = 2
"""Helm's number of a warning; 3 is an error, and 1 a recommendation."""


def version_faults(version: str, charts: dict[str, dict[str, str]], heading: str, tag: str) -> Iterator[str]:
    """Yield a sentence per place that names another version.

    Args:
        version: The version of pyproject.toml.
        charts: The metadata of each chart.
        heading: The version of the first heading of CHANGELOG.md.
        tag: The release's tag; empty before there is one.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f"pyproject.toml: expected a version such as 1.2.3, received {version}: write three numbers."
    for chart, metadata in charts.items():
        for field in ("version", "appVersion"):
            if metadata[field] != version:
                yield (
                    f"helm/{chart}/Chart.yaml: {field}: expected {version}, received {metadata[field]}: "
                    "run `make charts`."
                )
    expected = [version] if tag else [version, "Unreleased"]
    if heading not in expected:
        yield (
            f"CHANGELOG.md: expected the first heading [{'] or ['.join(expected)}], received [{heading}]: "
            "give the heading the version."
        )
    if tag and tag != f"v{version}":
        yield f"tag: expected v{version}, received {tag}: tag the commit that has the version."


def mention_faults(version: str, files: Iterable[tuple[str, str]]) -> Iterator[str]:
    r"""Yield a sentence per file that mentions another version.

    >>> image = "newName: registry.example.com/tidegate/serving"
    >>> pages = [("a.yaml", f"{image}\n  newTag: 0.1.0"), ("b.yaml", "newName: helm\n  newTag: 4.3.1")]
    >>> list(mention_faults("0.2.0", pages))
    ['a.yaml: expected only 0.2.0, received 0.1.0: replace it.']
    """
    for name, text in files:
        if others := sorted(set(MENTION.findall(text)) - {version}):
            yield f"{name}: expected only {version}, received {', '.join(others)}: replace it."


def texts_with_mentions() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each page, manifest and example that can mention the version."""
    for folder in ("docs", "examples", "images", "manifests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in ("", ".md", ".yaml"):
                yield str(path.relative_to(ROOT)), path.read_text()


def image_targets(dockerfile: str) -> list[str]:
    r"""Return the images that a Dockerfile builds: the stages on its common base.

    >>> image_targets("FROM python AS base\nFROM base AS serving\nFROM base AS training\n")
    ['serving', 'training']
    """
    return re.findall(r"^FROM base AS (\S+)$", dockerfile, re.MULTILINE)


def image_python(dockerfile: str) -> str:
    r"""Return the minor version of the images' Python.

    >>> image_python("ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm\n")
    '3.11'
    """
    [python] = re.findall(r"^ARG PYTHON_IMAGE=\S+/python:(\d+\.\d+)", dockerfile, re.MULTILINE)
    return str(python)


def build_distributions(folder: Path, created: int) -> list[Path]:
    """Build the sdist, and from it the wheel; return their paths.

    Args:
        folder: The folder to build into.
        created: The time of the archives' files in seconds since 1970.
    """
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(created)},
        check=True,
        capture_output=True,
    )
    return sorted(folder.iterdir())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lint_faults(chart: str) -> Iterator[str]:
    """Yield a sentence per warning and error of ``helm lint --strict`` with each file of values in ``ci``."""
    for file in sorted((HELM / chart / "ci").glob("*-values.yaml")):
        report = helm_python.lint(HELM / chart, values=yaml.safe_load(file.read_text()), strict=True)
        for message in report["messages"]:
            if message["severity"] >= LINT_WARNING:
                yield f"helm/{chart}/ci/{file.name}: {message['path']}: {message['error']}"


def chart_metadata(chart: str, version: str, registry: str, source: str) -> dict[str, Any]:
    """Return a chart's metadata with addresses, which only a release knows.

    From Artifact Hub, "Supported annotations for Helm charts".

    Args:
        chart: The chart's folder.
        version: The version of the release.
        registry: The registry and the folder of the images.
        source: The address of the repository; empty leaves out all addresses of pages.
    """
    metadata: dict[str, Any] = yaml.safe_load((HELM / chart / "Chart.yaml").read_text())
    lists: dict[str, list[dict[str, Any]]] = {
        "images": [{"name": name, "image": f"{registry}/{name}:{version}"} for name in CHART_IMAGES[chart]]
    }
    if source:
        metadata |= {"home": source, "sources": [source]}
        changes = {"name": "CHANGELOG.md", "url": f"{source}/blob/v{version}/CHANGELOG.md"}
        lists["links"] = [{"name": "documentation", "url": f"{source}/tree/v{version}/docs"}, changes]
        lists["changes"] = [{"kind": "changed", "description": f"Release {version}", "links": [changes]}]
    annotations = {
        f"artifacthub.io/{name}": yaml.safe_dump(entries, sort_keys=False)
        for name, entries in lists.items()
        if entries
    }
    return metadata | {"annotations": metadata["annotations"] | annotations}


def package_chart(chart: str, metadata: dict[str, Any], folder: Path, created: int) -> None:
    """Package a chart like ``helm package``; the archive does not depend on the time of the checkout.

    Args:
        chart: The chart's folder.
        metadata: The content of its ``Chart.yaml``.
        folder: The folder to write the archive into.
        created: The time of the archive's files in seconds since 1970.
    """
    with tempfile.TemporaryDirectory() as parent:
        copy = shutil.copytree(HELM / chart, Path(parent) / chart)
        (copy / "Chart.yaml").write_text(yaml.safe_dump(metadata, sort_keys=False))
        for path in copy.rglob("*"):
            os.utime(path, (created, created))
        helm_python.package(copy, destination=folder)


def write_release(out: Path, version: str, registry: str, source: str, created: int) -> None:
    """Write the files of a release into an empty folder.

    Args:
        out: The folder.
        version: The version of the release.
        registry: The registry and the folder of the images.
        source: The address of the repository; empty for none.
        created: The time of the release in seconds since 1970.
    """
    distributions = build_distributions(out / "dist", created)
    with tempfile.TemporaryDirectory() as again:
        repeated = build_distributions(Path(again), created)
        require(
            f"{first.name}: two builds of the same commit differ."
            for first, second in zip(distributions, repeated, strict=True)
            if sha256(first) != sha256(second)
        )
    [wheel] = (out / "dist").glob("*.whl")

    require(fault for chart in CHARTS for fault in lint_faults(chart))
    for chart in CHARTS:
        package_chart(chart, chart_metadata(chart, version, registry, source), out / "charts", created)

    dockerfile = (ROOT / "images" / "Dockerfile").read_text()
    python, targets = image_python(dockerfile), image_targets(dockerfile)
    for target in targets:
        lock = (ROOT / "requirements" / f"{target}.lock").read_text()
        packages = [package for package in parse_lock(lock) if package.installed(python)]
        bill = bill_of_materials(f"tidegate/{target}", version, packages, sha256(wheel), created)
        (out / "sbom" / f"{target}.cdx.json").write_text(json.dumps(bill, indent=2) + "\n")

    (out / "images.txt").write_text("".join(f"{registry}/{target}:{version}\n" for target in targets))
    files = sorted(path for path in out.rglob("*") if path.is_file())
    sums = "".join(f"{sha256(path)}  {path.relative_to(out)}\n" for path in files)
    (out / "SHA256SUMS").write_text(sums)


def require(faults: Iterable[str]) -> None:
    """End the program with exit code 2 if there are faults."""
    if found := list(faults):
        print("\n".join(f"release: {fault}" for fault in found), file=sys.stderr)
        raise SystemExit(2)


def main() -> None:
    """Compare the versions, and write the files."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("--tag", default="", help="the tag of the release, for example v0.1.0")
    parser.add_argument("--registry", default="registry.example.com/tidegate", help="where the images go")
    parser.add_argument("--source", default="", help="the address of the repository, for the charts")
    arguments = parser.parse_args()

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    charts = {chart: yaml.safe_load((HELM / chart / "Chart.yaml").read_text()) for chart in CHARTS}
    heading = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    faults = [*version_faults(version, charts, heading, arguments.tag)]
    require([*faults, *mention_faults(version, texts_with_mentions())])

    commit = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shutil.rmtree(OUT, ignore_errors=True)
    for folder in ("dist", "charts", "sbom"):
        (OUT / folder).mkdir(parents=True)
    write_release(OUT, version, arguments.registry, arguments.source, int(commit.stdout))
    print((OUT / "SHA256SUMS").read_text(), end="")


if __name__ == "__main__":
    main()
