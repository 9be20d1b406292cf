# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from tools.cluster import images


def test_base_key_changes_with_the_certificates() -> None:
    assert images.base_key(b"one") != images.base_key(b"two")


def test_finish_base_adds_python_pip_and_certificates(tmp_path: Path) -> None:
    for folder in ("usr/local/bin", "usr/lib/python3.11", "etc/ssl/certs", "var/cache/apt/archives"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/python3.11/EXTERNALLY-MANAGED").touch()
    (tmp_path / "var/cache/apt/archives/a.deb").touch()
    certificates = tmp_path / "bundle.pem"
    certificates.write_text("PEM")
    images.finish_base(tmp_path, certificates)
    assert (tmp_path / "usr/local/bin/python").readlink() == Path("/usr/bin/python3")
    assert not (tmp_path / "usr/lib/python3.11/EXTERNALLY-MANAGED").exists()
    assert not (tmp_path / "var/cache/apt/archives/a.deb").exists()
    assert (tmp_path / "etc/ssl/certs/ca-certificates.crt").read_text() == "PEM"
