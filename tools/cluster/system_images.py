# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The images of what the cluster itself runs: one binary each, built from scratch into cached archives.

Each has a Dockerfile under images/. They carry names of their own, below a domain that exists nowhere, so
that nobody takes them for the published images.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cache
from .images import ImageBuilder
from .layout import Layout
from .progress import Progress
from .toolchain import Toolchain

DOCKERFILES = Path(__file__).parent / "images"
DOMAIN = "tidegate.test"


@dataclass(frozen=True)
class SystemImage:
    """An image to build.

    Args:
        name: short name, and the Dockerfile's.
        tag: the version.
        sources: path in the build context to a file or folder.
        identity: what tells this content from another; a cache folder's name has a hash in it.
    """

    name: str
    tag: str
    sources: dict[str, Path]
    identity: str

    @property
    def reference(self) -> str:
        """The full name that manifests use."""
        return f"{DOMAIN}/{self.name}:{self.tag}"

    @property
    def dockerfile(self) -> Path:
        """What it is built from."""
        return DOCKERFILES / f"{self.name}.Dockerfile"

    def key(self) -> str:
        """Name the archive by all that goes into it."""
        text = "\0".join([self.reference, self.identity, self.dockerfile.read_text()])
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def all_images(tools: Toolchain, envoy: Path, envoy_version: str, busybox: Path) -> list[SystemImage]:
    """List the images of a cluster."""

    def one_command(name: str, tool_set: str, command: str) -> SystemImage:
        folder = tools.folders[tool_set]
        return SystemImage(
            name, tools.versions[tool_set], {command: folder / "bin" / command}, identity=folder.name
        )

    return [
        SystemImage(
            "pause", "1", {"busybox": busybox}, identity=hashlib.sha256(busybox.read_bytes()).hexdigest()
        ),
        one_command("coredns", "coredns", "coredns"),
        one_command("metrics-server", "metrics-server", "metrics-server"),
        one_command("kserve-controller", "kserve", "kserve-manager"),
        one_command("envoy-gateway", "envoy-gateway", "envoy-gateway"),
        SystemImage(
            "envoy",
            envoy_version,
            {"envoy": envoy / "bin" / "envoy", "root": envoy / "lib"},
            identity=envoy.name,
        ),
    ]


def ensure(
    images: Sequence[SystemImage], layout: Layout, builder: ImageBuilder, progress: Progress
) -> dict[str, Path]:
    """Build the archives that are missing, and tell where each image's is, by reference."""
    archives = {}
    with cache.building(layout, progress):
        for image in images:
            archive = layout.archives / f"{image.key()}.tar"
            if not archive.exists():
                with progress.step(f"build image {image.reference} (once)"):
                    _build(image, archive, layout, builder)
            archives[image.reference] = archive
    return archives


def _build(image: SystemImage, archive: Path, layout: Layout, builder: ImageBuilder) -> None:
    with tempfile.TemporaryDirectory(prefix="context-", suffix=".partial", dir=layout.cache) as name:
        context = Path(name)
        for inside, source in image.sources.items():
            if source.is_dir():
                shutil.copytree(source, context / inside)
            else:
                shutil.copy(source, context / inside)
        (context / "tmp").mkdir()
        builder.build_archive(image.dockerfile, context, image.reference, archive)
