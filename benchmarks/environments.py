# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Environments: one per peer, created by uv from the peer's hashed lock and kept between runs.

The name of an environment is a hash of its lock and the interpreter. It gets this name when it is complete.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.tools import cache_folder
from tidegate.errors import ServerError

PEERS = Path(__file__).parent / "peers"
UV = Path(sys.executable).with_name("uv")


def ensure(peer: str) -> Path:
    """Return the folder with the commands of a peer's environment.

    Raises:
        ServerError: If the environment cannot be installed.
    """
    lock = PEERS / peer / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    folder = cache_folder() / f"{peer}-{digest[:16]}"
    if not folder.exists():
        print(f"bench: install {peer} ({len(versions(peer))} packages, once)", flush=True)
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        _uv("venv", "--relocatable", "--python", sys.executable, partial)
        _uv("pip", "install", "--python", partial / "bin" / "python", "--require-hashes", "-r", lock)
        partial.rename(folder)
    return folder / "bin"


def versions(peer: str) -> dict[str, str]:
    """Return the versions that a peer's lock pins for this interpreter, by package."""
    return parse_lock((PEERS / peer / "requirements.lock").read_text(), sys.version_info[:2])


def parse_lock(lock: str, python: tuple[int, int]) -> dict[str, str]:
    r"""Parse the versions in a lock's text. Of two lines for one package, take the line for the interpreter.

    >>> parse_lock("a==1 ; python_full_version < '3.12' \\\n    --hash=x\nb==2", (3, 11))
    {'a': '1', 'b': '2'}
    """
    versions = {}
    for name, version, marker in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)(.*)$", lock, re.MULTILINE):
        bound = re.search(r"python_full_version (<|>=) '(\d+)\.(\d+)", marker)
        if bound is None or (python < (int(bound[2]), int(bound[3]))) == (bound[1] == "<"):
            versions[name] = version
    return versions


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run([UV, "--quiet", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ServerError(f"its environment cannot be created: {lines[0] if lines else done.returncode}")
