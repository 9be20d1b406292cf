# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The requirements of each provider, and those that a machine misses.

:func:`probe` runs programs; the decisions are functions of their output.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tidegate.errors import ConfigurationError
from tools.cluster import packages
from tools.quickstart.plan import BUILT, KIND

CPUS = 2
MEMORY_GIB = 4
_GIB = 1 << 30

Version = tuple[int, int]


@dataclass(frozen=True)
class Tool:
    """A command that a provider needs.

    Args:
        name: The command.
        arguments: The arguments that print its version.
        oldest: The oldest version that works.
    """

    name: str
    arguments: tuple[str, ...]
    oldest: Version


@dataclass(frozen=True)
class Requirements:
    """The requirements of a provider, in addition to CPUs and memory.

    Args:
        tools: The commands.
        debian_root: Whether it needs Debian and root.
        duration: Its duration, as a sentence.
    """

    tools: tuple[Tool, ...]
    debian_root: bool
    duration: str


@dataclass(frozen=True)
class Machine:
    """A machine, as far as the requirements go.

    Args:
        versions: The version of each tool; None for a tool that is not installed, or whose server is down.
        cpus: The CPUs for containers.
        memory_gib: The memory for containers.
        debian_root: Whether the machine has Debian's packages, and the user is root.
    """

    versions: Mapping[str, Version | None]
    cpus: int
    memory_gib: float
    debian_root: bool


REQUIREMENTS = {
    KIND: Requirements(
        tools=(
            # The server's version, so that a stopped server counts as missing.
            Tool("docker", ("version", "--format", "{{.Server.Version}}"), (20, 10)),
            Tool("kind", ("version",), (0, 23)),
            Tool("kubectl", ("version", "--client"), (1, 30)),
            Tool("helm", ("version", "--short"), (3, 14)),
        ),
        debian_root=False,
        duration="The duration depends on the network: it downloads kind's node, KServe and Python packages.",
    ),
    BUILT: Requirements(
        tools=(Tool("go", ("version",), (1, 21)),),
        debian_root=True,
        duration="It takes minutes, and about 20 more the first time, to build Kubernetes and KServe.",
    ),
}
"""The requirements by provider, in the order of preference."""


def find_missing(requirements: Requirements, machine: Machine) -> Iterator[str]:
    """Yield each requirement that a machine misses, with the received value."""
    for tool in requirements.tools:
        version = machine.versions[tool.name]
        expected = f"{tool.name} {format_version(tool.oldest)} or later"
        if version is None:
            yield f"{expected}: not found, or its server is not running"
        elif version < tool.oldest:
            yield f"{expected}: found {format_version(version)}"
    if requirements.debian_root and not machine.debian_root:
        yield "Debian and root: this machine or user is another"
    if machine.cpus < CPUS:
        yield f"{CPUS} CPUs: found {machine.cpus}"
    if machine.memory_gib < MEMORY_GIB:
        yield f"{MEMORY_GIB} GiB of memory: found {machine.memory_gib:.1f}"


def select_provider(missing: Mapping[str, Sequence[str]]) -> str:
    """Return the first provider without a missing requirement.

    Args:
        missing: The missing requirements by provider, in the order of preference.

    Raises:
        ConfigurationError: If each provider misses one.
    """
    for name, lines in missing.items():
        if not lines:
            return name
    reasons = "; or ".join(f"{name} needs {', '.join(lines)}" for name, lines in missing.items())
    raise ConfigurationError(
        f"This machine cannot run the quick start: {reasons}. Install what one of them needs."
    )


def describe(requirements: Requirements) -> Iterator[str]:
    """Yield the lines that name the requirements."""
    tools = [f"{tool.name} {format_version(tool.oldest)}" for tool in requirements.tools]
    place = ["Debian and root"] if requirements.debian_root else []
    yield f"Needs {', '.join([*tools, *place, f'{CPUS} CPUs', f'{MEMORY_GIB} GiB of memory'])}, or more."
    yield requirements.duration


def parse_version(output: str) -> Version | None:
    """Return the first version in a program's output.

    >>> parse_version("kind v0.27.0 go1.23.6 linux/amd64"), parse_version("go version go1.25.1 linux/amd64")
    ((0, 27), (1, 25))
    """
    match = re.search(r"(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else None


def format_version(version: Version) -> str:
    """Return a version as text."""
    return ".".join(map(str, version))


def probe(name: str) -> Machine:
    """Return this machine, as far as a provider's requirements go."""
    tools = REQUIREMENTS[name].tools
    versions = {tool.name: parse_version(_output(tool.name, *tool.arguments)) for tool in tools}
    cpus, memory = os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if name == KIND:
        # Docker's own machine, where it has one.
        found = re.match(r"(\d+) (\d+)", _output("docker", "info", "--format", "{{.NCPU}} {{.MemTotal}}"))
        cpus, memory = map(int, found.groups()) if found else (cpus, memory)
    return Machine(versions, cpus, memory / _GIB, debian_root=packages.unsupported() is None)


def _output(program: str, *arguments: str) -> str:
    """Return a program's standard output; empty if it is missing or fails."""
    if shutil.which(program) is None:
        return ""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
