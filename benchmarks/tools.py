# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Load generators and the ceiling: wrk, h2load and nginx from Debian packages.

On Debian, as root, missing packages are installed. Elsewhere an error names them.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import ConfigurationError

PACKAGES = {
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "nginx": "nginx-light",
    "taskset": "util-linux",
    "setpriv": "util-linux",
}
"""Debian package by command."""

# On Debian nginx is outside of the users' PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the commands, and their versions."""

    wrk: Path
    h2load: Path
    nginx: Path
    versions: Mapping[str, str]


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for builds that are kept between runs, by the XDG Base Directory specification."""
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tidegate" / "bench"


def ensure() -> Tools:
    """Find, install or build the commands.

    Raises:
        ConfigurationError: If one is missing and cannot be installed here.
    """
    missing = [command for command in PACKAGES if _which(command) is None]
    if missing:
        _install(sorted({PACKAGES[command] for command in missing}))
    paths = {command: _which(command) for command in PACKAGES}
    if still := [command for command, path in paths.items() if path is None]:
        raise ConfigurationError(f"{', '.join(still)} cannot be found on the PATH even after installing.")
    wrk, h2load, nginx = paths["wrk"], paths["h2load"], paths["nginx"]
    assert wrk is not None
    assert h2load is not None
    assert nginx is not None
    versions = {
        "wrk": _version([wrk, "-v"], r"wrk (?:debian/)?(\S+)"),
        "nginx": _version([nginx, "-v"], r"nginx/(\S+)"),
        "h2load": _version([h2load, "--version"], r"nghttp2/(\S+)"),
    }
    return Tools(wrk, h2load, nginx, versions)


def _which(command: str) -> Path | None:
    path = shutil.which(command, path=_PATH)
    return None if path is None else Path(path)


def _install(packages: list[str]) -> None:
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ConfigurationError(
            f"Benchmarks need the Debian packages {names}: install them with 'apt-get install {names}', or "
            "install the same commands with another system's package manager."
        )
    print(f"bench: install {names}", flush=True)
    # A run level of 1 keeps the packages from starting services of their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt_get = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run([*apt_get, *arguments], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise ConfigurationError(
                f"'apt-get {arguments[0]}' failed: {lines[-1] if lines else done.returncode}; install "
                f"{names} by hand."
            )


def _version(argv: list[str | Path], pattern: str) -> str:
    # wrk exits with 1 after printing its version.
    done = subprocess.run(argv, capture_output=True, text=True)
    match = re.search(pattern, done.stdout + done.stderr)
    return match[1] if match else "unknown"
