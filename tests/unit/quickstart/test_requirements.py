# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The requirements of the quick start, on machines that meet them and on others."""

from pathlib import Path

import pytest

from tests.unit.quickstart.conftest import Programs
from tidegate.errors import ConfigurationError
from tools.quickstart.plan import BUILT, KIND
from tools.quickstart.requirements import (
    REQUIREMENTS,
    Machine,
    Version,
    describe,
    find_missing,
    probe,
    select_provider,
)

VERSIONS: dict[str, Version | None] = {
    "docker": (27, 1),
    "kind": (0, 27),
    "kubectl": (1, 33),
    "helm": (3, 17),
}


def missing(name: str = KIND, *, debian_root: bool = True, **changes: Version | None) -> list[str]:
    versions = {**VERSIONS, "go": (1, 25)} | changes
    machine = Machine(versions, cpus=2, memory_gib=7.7, debian_root=debian_root)
    return list(find_missing(REQUIREMENTS[name], machine))


@pytest.mark.parametrize("name", [KIND, BUILT])
def test_machine_with_everything_misses_nothing(name: str) -> None:
    assert missing(name) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (missing(helm=(3, 13)), ["helm 3.14 or later", "found 3.13"]),
        (missing(docker=None), ["docker 20.10 or later", "not found"]),
        (missing(BUILT, debian_root=False), ["Debian and root"]),
    ],
)
def test_missing_requirement_is_named(lines: list[str], words: list[str]) -> None:
    [line] = lines
    assert all(word in line for word in words)


def test_small_machine_is_rejected_with_its_size() -> None:
    machine = Machine(VERSIONS, cpus=1, memory_gib=1.9, debian_root=False)
    assert list(find_missing(REQUIREMENTS[KIND], machine)) == [
        "2 CPUs: found 1",
        "4 GiB of memory: found 1.9",
    ]


@pytest.mark.parametrize(
    ("kind", "built", "expected"), [([], [], KIND), (["kind"], [], BUILT), ([], ["root"], KIND)]
)
def test_first_provider_that_misses_nothing_is_selected(
    kind: list[str], built: list[str], expected: str
) -> None:
    assert select_provider({KIND: kind, BUILT: built}) == expected


def test_machine_for_no_provider_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"kind needs docker; or built needs Debian and root"):
        select_provider({KIND: ["docker"], BUILT: ["Debian and root"]})


def test_description_names_tools_and_versions() -> None:
    needs, _ = describe(REQUIREMENTS[KIND])
    assert "kind 0.23" in needs
    assert "helm 3.14" in needs


def test_probe_reads_versions_and_the_size_of_docker(programs: Programs) -> None:
    programs.add("docker", 'if [ "$1" = info ]; then echo 6 8589934592; else echo 27.1.2; fi')
    programs.add("kind", "echo kind v0.27.0 go1.23.6 linux/amd64")
    programs.add("kubectl", "echo 'Client Version: v1.33.1'")
    programs.add("helm", "exit 1")
    machine = probe(KIND)
    assert machine.versions == {"docker": (27, 1), "kind": (0, 27), "kubectl": (1, 33), "helm": None}
    assert (machine.cpus, machine.memory_gib) == (6, 8.0)


def test_probe_without_docker_finds_none_of_its_tools(programs: Programs, tmp_path: Path) -> None:
    assert set(probe(KIND).versions.values()) == {None}
