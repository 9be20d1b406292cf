# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The software bill of materials of an image, in CycloneDX 1.6, from its hashed lock.

It lists the Python packages of the image. The packages of the base image's Linux distribution are not in the
lock; BuildKit lists them when it builds the image.
"""

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from packaging.markers import Marker

PYTHON = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
"""The variables of environment markers that all images share."""
MACHINES = ("x86_64", "aarch64")
"""The machines that the images are built for, in the words of environment markers."""

_ENTRY = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>.+?))? \\$")
_HASH = re.compile(r"^ {4}--hash=sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class LockedPackage:
    """A package of a lock.

    Args:
        name: The normalized name.
        version: The only version that the lock accepts.
        marker: The condition of the installation, empty for none.
        hashes: The SHA-256 of each accepted distribution.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        """The package's URL, see https://github.com/package-url/purl-spec."""
        return f"pkg:pypi/{self.name}@{self.version}"

    def installed(self, python: str) -> bool:
        """Return whether an image installs the package on at least one machine.

        Args:
            python: The minor version of the image's Python, for example 3.11.
        """
        if not self.marker:
            return True
        version = {"python_version": python, "python_full_version": f"{python}.0"}
        return any(
            Marker(self.marker).evaluate({**PYTHON, **version, "platform_machine": machine})
            for machine in MACHINES
        )


def parse_lock(text: str) -> Iterator[LockedPackage]:
    """Yield the packages of a lock.

    Raises:
        ValueError: If a line is in another form than that of ``make lock``, or a package has no hash.
    """
    entry: re.Match[str] | None = None
    hashes: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if found := _HASH.match(line):
            hashes.append(found["digest"])
        elif line and not line.lstrip().startswith("#"):
            if entry:
                yield _package(entry, hashes)
            entry, hashes = _ENTRY.match(line), []
            if not entry:
                raise ValueError(f"line {number}: expected 'name==version \\', received '{line}'.")
    if entry:
        yield _package(entry, hashes)


def bill_of_materials(
    image: str, version: str, packages: Iterable[LockedPackage], wheel_sha256: str, created: int
) -> dict[str, Any]:
    """Return the bill of an image as a CycloneDX document.

    Args:
        image: The image's name, for example tidegate/serving.
        version: The version of Tidegate.
        packages: The packages that the image installs.
        wheel_sha256: The digest of Tidegate's own wheel.
        created: The time of the bill in seconds since 1970.
    """
    purl = f"pkg:pypi/tidegate@{version}"
    tidegate = {
        "type": "library",
        "bom-ref": purl,
        "name": "tidegate",
        "version": version,
        "purl": purl,
        "hashes": [_hash(wheel_sha256)],
    }
    components = [tidegate, *(_component(package) for package in packages)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # A function of the content, so that the same release has the same bill.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{image}:{version} {components}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(created, UTC).isoformat(),
            "component": {"type": "container", "bom-ref": image, "name": image, "version": version},
        },
        "components": components,
    }


def _package(entry: re.Match[str], hashes: list[str]) -> LockedPackage:
    if not hashes:
        raise ValueError(f"{entry['name']}: expected at least one hash, received none.")
    return LockedPackage(entry["name"], entry["version"], entry["marker"] or "", tuple(hashes))


def _component(package: LockedPackage) -> dict[str, Any]:
    """Return a package as a component; the lock accepts several distributions, so each has a hash."""
    distributions = {
        "type": "distribution",
        "url": package.purl,
        "comment": "The distributions that the lock accepts",
        "hashes": [_hash(digest) for digest in package.hashes],
    }
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "externalReferences": [distributions],
    }


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}
