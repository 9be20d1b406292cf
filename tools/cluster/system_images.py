# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The images of the cluster's own components: one binary per image, built from scratch into cached archives.

Each image has a Dockerfile in images/. Its name lies below a domain that does not exist, so that it cannot be
mistaken for the published image. An archive's name holds a hash of the image's inputs, not of their paths.
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
        name: The short name, which is also the Dockerfile's.
        tag: The version.
        sources: File or folder by its path in the build context.
        identity: A text that changes with the sources' content, such as a cache folder's name with its hash.
    """

    name: str
    tag: str
    sources: dict[str, Path]
    identity: str

    @property
    def repository(self) -> str:
        """The image's name without its tag."""
        return f"{DOMAIN}/{self.name}"

    @property
    def reference(self) -> str:
        """The image's full name in manifests."""
        return f"{self.repository}:{self.tag}"

    @property
    def dockerfile(self) -> Path:
        """The image's Dockerfile."""
        return DOCKERFILES / f"{self.name}.Dockerfile"

    def key(self) -> str:
        """Return the archive's name, which changes with each input of the build."""
        text = "\0".join([self.reference, self.identity, self.dockerfile.read_text()])
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def one_command(tools: Toolchain, name: str, tool_set: str, command: str) -> SystemImage:
    """Return the image of one built command.

    Args:
        tools: The built commands.
        name: The image's name.
        tool_set: The command's tool set, whose version becomes the tag.
        command: The command's file name.
    """
    folder = tools.folders[tool_set]
    return SystemImage(
        name, tools.versions[tool_set], {command: folder / "bin" / command}, identity=folder.name
    )


def all_images(tools: Toolchain, envoy: Path, envoy_version: str, busybox: Path) -> list[SystemImage]:
    """Return the images that every cluster has.

    Args:
        tools: The built commands.
        envoy: The folder of Envoy and its libraries.
        envoy_version: Envoy's version.
        busybox: The static busybox of the pause image.
    """
    return [
        SystemImage(
            "pause", "1", {"busybox": busybox}, identity=hashlib.sha256(busybox.read_bytes()).hexdigest()
        ),
        one_command(tools, "coredns", "coredns", "coredns"),
        one_command(tools, "metrics-server", "metrics-server", "metrics-server"),
        one_command(tools, "kserve-controller", "kserve", "kserve-manager"),
        one_command(tools, "envoy-gateway", "envoy-gateway", "envoy-gateway"),
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
    """Build the archives that are missing from the cache.

    Args:
        images: The images to build.
        layout: The cache.
        builder: Builds an image into an archive.
        progress: Reports each build.

    Returns:
        The archive by the image's reference.
    """
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
        for context_path, source in image.sources.items():
            if source.is_dir():
                shutil.copytree(source, context / context_path)
            else:
                shutil.copy(source, context / context_path)
        (context / "tmp").mkdir()
        builder.build_archive(image.dockerfile, context, image.reference, archive)
