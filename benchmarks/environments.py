# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Environments: one a peer, made by uv from the peer's hashed lock, kept between runs.

An environment is named by its lock and the interpreter, and gets that name when it is complete.
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
    """The folder with the commands of a peer's environment.

    Raises:
        ServerError: It cannot be installed here.
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
    """What a peer's lock pins: package to version, on this interpreter."""
    return pins((PEERS / peer / "requirements.lock").read_text(), sys.version_info[:2])


def pins(lock: str, python: tuple[int, int]) -> dict[str, str]:
    r"""Read the versions in a lock's text; of two lines for a package the one for the interpreter counts.

    >>> pins("a==1 ; python_full_version < '3.12' \\\n    --hash=x\nb==2", (3, 11))
    {'a': '1', 'b': '2'}
    """
    found = {}
    for name, version, marker in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)(.*)$", lock, re.MULTILINE):
        bound = re.search(r"python_full_version (<|>=) '(\d+)\.(\d+)", marker)
        if bound is None or (python < (int(bound[2]), int(bound[3]))) == (bound[1] == "<"):
            found[name] = version
    return found


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run([UV, "--quiet", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise ServerError(f"its environment cannot be made: {said[0] if said else done.returncode}")
