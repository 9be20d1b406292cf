# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Files without a certificate and its key; handshakes are in tests/protocol/test_tls.py."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from tests.support.certificates import create_pair
from tidegate.errors import ConfigurationError
from tidegate_serving.tls import CertificateFiles

CHAIN, KEY = create_pair()


@pytest.mark.parametrize(
    ("chain", "key", "received"),
    [
        (None, KEY, "No such file"),
        (CHAIN, create_pair()[1], "key values mismatch"),
        (CHAIN, create_pair(BestAvailableEncryption(b"secret"))[1], "PEM"),
        (KEY, CHAIN, "PEM"),
    ],
    ids=["missing", "other key", "password", "exchanged"],
)
def test_files_without_a_pair_are_rejected(
    tmp_path: Path, chain: bytes | None, key: bytes, received: str
) -> None:
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file, content in zip(files, (chain, key), strict=True):
        if content is not None:
            file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=received) as caught:
        CertificateFiles(*files)
    assert all(str(file) in str(caught.value) for file in files)


def test_missing_file_keeps_the_pair(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file, content in zip(files, (CHAIN, KEY), strict=True):
        file.write_bytes(content)
    certificate = CertificateFiles(*files)
    pair = certificate.current()
    files[0].unlink()
    assert certificate.current() is certificate.current() is pair
    assert caplog.text.count("stays in use") == 1  # and not once per connection
