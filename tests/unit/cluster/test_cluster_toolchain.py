# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Commands and images are cached under names that say what they were made from."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.cluster import envoy, images, packages, system_images, toolchain
from tools.cluster.errors import ClusterError
from tools.cluster.toolchain import TOOL_SETS, Toolchain, ToolSet

SET = ToolSet("one", "example.test/one", "1 s")


@pytest.mark.parametrize("tool_set", TOOL_SETS, ids=lambda tool_set: tool_set.name)
def test_every_tool_set_pins_its_module_and_holds_no_code(tool_set: ToolSet) -> None:
    folder = toolchain.DEFINITIONS / tool_set.name
    assert sorted(path.name for path in folder.iterdir()) == ["go.mod", "go.sum"]
    assert toolchain.module_version((folder / "go.mod").read_text(), tool_set.module).startswith("v")


def test_every_definition_belongs_to_a_tool_set() -> None:
    folders = {path.name for path in toolchain.DEFINITIONS.iterdir()}
    assert folders == {tool_set.name for tool_set in TOOL_SETS} | {"envoy"}


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("require example.test/one v1.2.3", "example.test/one"),
        ("\texample.test/one v1.2.3 // indirect", "example.test/one"),
        ("\texample.test/one/v3 v1.2.3", "example.test/one/v3"),
    ],
)
def test_the_version_is_read_from_go_mod(line: str, module: str) -> None:
    assert toolchain.module_version(f"module m\n\n{line}\n", module) == "v1.2.3"


def test_another_module_with_the_same_beginning_is_not_taken() -> None:
    with pytest.raises(ClusterError, match="not required"):
        toolchain.module_version("require example.test/one/more v1.0.0", "example.test/one")


def test_the_cache_key_changes_with_all_that_is_built_from() -> None:
    keys = {
        toolchain.cache_key(SET, b"mod", b"sum", "x86_64"),
        toolchain.cache_key(SET, b"mod2", b"sum", "x86_64"),
        toolchain.cache_key(SET, b"mod", b"sum2", "x86_64"),
        toolchain.cache_key(SET, b"mod", b"sum", "aarch64"),
        toolchain.cache_key(dataclasses.replace(SET, link_flags="-X a=b"), b"mod", b"sum", "x86_64"),
        toolchain.cache_key(dataclasses.replace(SET, carries={"a": "b"}), b"mod", b"sum", "x86_64"),
        # Moving bytes from one file to the other is a change too.
        toolchain.cache_key(SET, b"mods", b"um", "x86_64"),
    }
    assert len(keys) == 7


def test_the_cache_key_does_not_change_with_what_a_person_is_told() -> None:
    told = dataclasses.replace(SET, about="2 s")
    assert toolchain.cache_key(told, b"", b"", "x") == toolchain.cache_key(SET, b"", b"", "x")


def test_commands_are_linked_into_one_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / f"command-{name}").touch()
    tools = Toolchain({"a": tmp_path / "a", "b": tmp_path / "b"}, {})
    tools.link_into(tmp_path / "links")
    assert sorted(path.name for path in (tmp_path / "links").iterdir()) == ["command-a", "command-b"]


def test_what_a_module_carries_is_found_or_named(tmp_path: Path) -> None:
    (tmp_path / "share" / "chart").mkdir(parents=True)
    tools = Toolchain({"a": tmp_path}, {})
    assert tools.carried("chart") == tmp_path / "share" / "chart"
    with pytest.raises(ClusterError, match="carries other"):
        tools.carried("other")


def test_only_packages_that_are_installed_count() -> None:
    statuses = "runc installed\nnftables config-files\nruncible installed\n"
    assert packages.missing(("runc", "nftables", "buildah"), statuses) == ["nftables", "buildah"]


def test_envoy_is_pinned_by_hash() -> None:
    text = envoy.REQUIREMENTS.read_text()
    assert "--hash=sha256:" in text
    assert envoy.version(text)[0].isdigit()


def test_libraries_are_read_from_what_ldd_prints() -> None:
    program = shutil.which("ldd")
    if program is None:
        pytest.skip("no ldd here")
    shell = str(Path("/bin/sh").resolve())
    listing = subprocess.run([program, shell], capture_output=True, text=True, check=True).stdout
    libraries = envoy.shared_libraries(listing)
    assert libraries
    assert all(library.exists() for library in libraries)


def system_set(tmp_path: Path) -> list[system_images.SystemImage]:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"binary")
    names = ("coredns", "metrics-server", "kserve", "envoy-gateway")
    folders = {name: tmp_path / f"{name}-0123" for name in names}
    tools = Toolchain(folders, dict.fromkeys(names, "v1"))
    return system_images.all_images(tools, tmp_path / "envoy-0123", "1.0", busybox)


def test_every_system_image_has_a_dockerfile_and_the_other_way_round(tmp_path: Path) -> None:
    used = {image.dockerfile for image in system_set(tmp_path)}
    assert used == set(system_images.DOCKERFILES.glob("*.Dockerfile"))


def test_an_images_key_changes_with_its_content(tmp_path: Path) -> None:
    image = system_set(tmp_path)[1]
    assert image.reference == "tidegate.test/coredns:v1"
    assert image.key() != dataclasses.replace(image, identity="coredns-4567").key()
    assert image.key() != dataclasses.replace(image, tag="v2").key()


def test_the_base_images_key_changes_with_the_certificates() -> None:
    assert images.base_key(b"one") != images.base_key(b"two")


def test_the_stand_in_offers_what_the_real_base_image_offers(tmp_path: Path) -> None:
    for folder in ("usr/local/bin", "usr/lib/python3.11", "etc/ssl/certs", "var/cache/apt/archives"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/python3.11/EXTERNALLY-MANAGED").touch()
    (tmp_path / "var/cache/apt/archives/a.deb").touch()
    certificates = tmp_path / "bundle.pem"
    certificates.write_text("PEM")
    images.finish_base(tmp_path, certificates)
    assert (tmp_path / "usr/local/bin/python").readlink() == Path("/usr/bin/python3")
    assert not (tmp_path / "usr/lib/python3.11/EXTERNALLY-MANAGED").exists()
    assert not (tmp_path / "var/cache/apt/archives/a.deb").exists()
    assert (tmp_path / "etc/ssl/certs/ca-certificates.crt").read_text() == "PEM"
