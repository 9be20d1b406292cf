# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The generators and the ceiling: wrk and nginx from the machine's packages, ghz from its Go module, once.

On Debian, as root, what is missing is installed; elsewhere one sentence says what to install.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import ConfigurationError

GHZ = Path(__file__).parent / "ghz"
PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux", "setpriv": "util-linux"}
"""A command to the Debian package that has it."""

# Debian keeps nginx where only root looks.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the commands are, and their versions."""

    wrk: Path
    nginx: Path
    ghz: Path
    versions: Mapping[str, str]


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where what is dear to build stays between runs, by the XDG base directories."""
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tidegate" / "bench"


def ensure() -> Tools:
    """Find, install or build the commands.

    Raises:
        ConfigurationError: One is missing and cannot be had here.
    """
    missing = [command for command in PACKAGES if _which(command) is None]
    if missing:
        _install(sorted({PACKAGES[command] for command in missing}))
    paths = {command: _which(command) for command in PACKAGES}
    if still := [command for command, path in paths.items() if path is None]:
        raise ConfigurationError(f"{', '.join(still)} cannot be found on the PATH even after installing.")
    wrk, nginx = paths["wrk"], paths["nginx"]
    assert wrk is not None
    assert nginx is not None
    versions = {
        "wrk": _version([wrk, "-v"], r"wrk (?:debian/)?(\S+)"),
        "nginx": _version([nginx, "-v"], r"nginx/(\S+)"),
        "ghz": _required_version((GHZ / "go.mod").read_text()),
    }
    return Tools(wrk, nginx, _ghz(), versions)


def _which(command: str) -> Path | None:
    found = shutil.which(command, path=_PATH)
    return None if found is None else Path(found)


def _install(packages: list[str]) -> None:
    words = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ConfigurationError(
            f"Benchmarks need the Debian packages {words}: install them with 'apt-get install {words}', or "
            "what has the same commands on another system."
        )
    print(f"bench: install {words}", flush=True)
    # A run level of 1 keeps the packages from starting services of their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    patient = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    for words_of in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run([*patient, *words_of], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ConfigurationError(
                f"'apt-get {words_of[0]}' failed: {said[-1] if said else done.returncode}; install {words} "
                "by hand."
            )


def _version(argv: list[str | Path], pattern: str) -> str:
    # wrk exits with 1 after it has said its version.
    said = subprocess.run(argv, capture_output=True, text=True)
    found = re.search(pattern, said.stdout + said.stderr)
    return found[1] if found else "unknown"


def _required_version(go_mod: str) -> str:
    found = re.search(r"^\s*(?:require )?github\.com/bojand/ghz (v\S+)", go_mod, re.MULTILINE)
    assert found is not None, "ghz's go.mod requires ghz"
    return found[1]


def _ghz() -> Path:
    """Build ghz, unless the cache holds what these go.mod and go.sum make."""
    digest = hashlib.sha256((GHZ / "go.mod").read_bytes() + (GHZ / "go.sum").read_bytes()).hexdigest()
    folder = cache_folder() / f"ghz-{digest[:16]}"
    if not folder.exists():
        if shutil.which("go") is None:
            raise ConfigurationError(
                "'go' is not on the PATH: ghz, which asks by gRPC, is built from its Go module; install Go."
            )
        print("bench: build ghz (about 2 min, once)", flush=True)
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        build = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", f"{partial}/", "tool"]
        done = subprocess.run(
            build, cwd=GHZ, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise ConfigurationError(f"ghz cannot be built: {said[-1] if said else done.returncode}")
        partial.rename(folder)
    return folder / "ghz"
