# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.cluster import envoy


def test_requirements_pin_envoy_by_hash() -> None:
    text = envoy.REQUIREMENTS.read_text()
    assert "--hash=sha256:" in text
    assert envoy.version(text)[0].isdigit()


def test_shared_libraries_of_ldds_output_exist() -> None:
    program = shutil.which("ldd")
    if program is None:
        pytest.skip("ldd is not installed")
    shell = str(Path("/bin/sh").resolve())
    listing = subprocess.run([program, shell], capture_output=True, text=True, check=True).stdout
    libraries = envoy.shared_libraries(listing)
    assert libraries
    assert all(library.exists() for library in libraries)
