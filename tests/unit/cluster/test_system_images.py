# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import shutil
from pathlib import Path

import pytest

from tools.cluster import system_images
from tools.cluster.optional_addons import OPTIONAL_ADDONS
from tools.cluster.toolchain import Toolchain


def all_images(tmp_path: Path) -> list[system_images.SystemImage]:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"binary")
    names = ("coredns", "metrics-server", "kserve", "envoy-gateway")
    folders = {name: tmp_path / f"{name}-0123" for name in names}
    tools = Toolchain(folders, dict.fromkeys(names, "v1"))
    return system_images.all_images(tools, tmp_path / "envoy-0123", "1.0", busybox)


def test_images_use_every_dockerfile_once(tmp_path: Path) -> None:
    optional = [name for addon in OPTIONAL_ADDONS.values() for name in addon.images]
    used = {system_images.DOCKERFILES / f"{name}.Dockerfile" for name in optional}
    used |= {image.dockerfile for image in all_images(tmp_path)}
    assert used == set(system_images.DOCKERFILES.glob("*.Dockerfile"))


def test_key_changes_with_content_and_tag(tmp_path: Path) -> None:
    image = all_images(tmp_path)[1]
    assert image.reference == "tidegate.test/coredns:v1"
    assert image.key() != dataclasses.replace(image, identity="coredns-4567").key()
    assert image.key() != dataclasses.replace(image, tag="v2").key()


def test_key_ignores_the_path_of_the_dockerfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = all_images(tmp_path)[1]
    key = image.key()
    shutil.copytree(system_images.DOCKERFILES, tmp_path / "moved")
    monkeypatch.setattr(system_images, "DOCKERFILES", tmp_path / "moved")
    assert image.key() == key
