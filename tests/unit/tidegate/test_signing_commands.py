# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from typer.testing import CliRunner

from tests.support.bundles import write_bundle
from tests.support.signing import new_key, public_pem, write_policy, write_private
from tidegate import commands
from tidegate.bundle import SIGNATURE, Bundle, verify
from tidegate.errors import BundleError, ConfigurationError
from tidegate.options import read_signing_key

KEY = new_key()


def run(command: Any, *arguments: Any) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "iris")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_private(KEY, tmp_path / "key.pem")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    signer = {"name": "training", "public_key": public_pem(KEY)}
    return write_policy(tmp_path / "policy.yaml", signers=[signer])


def test_sign_then_verify_prints_the_signer(bundle: Bundle, key: Path, policy: Path) -> None:
    done = run(commands.sign, bundle.path, "--key", key)
    assert f"sha256:{KEY.fingerprint}" in done.stdout
    assert "signed by training" in run(commands.verify, bundle.path, "--policy", policy).stdout


@pytest.mark.parametrize("command", [commands.verify, commands.inspect, commands.lineage])
def test_policy_from_an_empty_variable_is_rejected(
    command: Any, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_POLICY", "")
    with pytest.raises(ConfigurationError, match="TIDEGATE_POLICY is empty: set it to the policy's file, or"):
        raise run(command, bundle.path).exception


def test_verify_names_a_missing_signature(bundle: Bundle, policy: Path) -> None:
    with pytest.raises(BundleError, match=r"it has no bundle\.sig, .* a signature by training; sign it"):
        raise run(commands.verify, bundle.path, "--policy", policy).exception


def test_inspect_shows_who_signed(bundle: Bundle, key: Path, policy: Path) -> None:
    assert "signature" not in run(commands.inspect, bundle.path).stdout
    run(commands.sign, bundle.path, "--key", key)
    assert "not verified; give --policy" in run(commands.inspect, bundle.path).stdout
    shown = run(commands.inspect, bundle.path, "--policy", policy, "-o", "json")
    assert json.loads(shown.stdout)["signature"] == {"present": True, "verified_signer": "training"}


def test_push_signs_and_pull_verifies(bundle: Bundle, key: Path, policy: Path, tmp_path: Path) -> None:
    pushed = run(commands.push, bundle.path, tmp_path / "store", "--sign", key, "-o", "json")
    reference = json.loads(pushed.stdout)["reference"]
    pulled = run(commands.pull, reference, tmp_path / "pulled", "--policy", policy)
    assert "verified, signed by training" in pulled.stdout
    assert (tmp_path / "pulled" / SIGNATURE).is_file()


def test_pull_of_an_unsigned_bundle_leaves_nothing(bundle: Bundle, policy: Path, tmp_path: Path) -> None:
    reference = json.loads(run(commands.push, bundle.path, tmp_path / "store", "-o", "json").stdout)[
        "reference"
    ]
    pulled = run(commands.pull, reference, tmp_path / "folder" / "pulled", "--policy", policy)
    assert isinstance(pulled.exception, BundleError)
    assert not list((tmp_path / "folder").iterdir())


def test_sign_in_the_store_keeps_the_digest(bundle: Bundle, key: Path, policy: Path, tmp_path: Path) -> None:
    run(commands.push, bundle.path, tmp_path / "store", "--channel", "stable")
    channel = f"{(tmp_path / 'store').as_uri()}/iris:stable"
    assert run(commands.sign, channel, "--key", key).exit_code == 0
    pulled = run(commands.pull, channel, tmp_path / "pulled", "--policy", policy)
    assert pulled.exit_code == 0, pulled.exception
    assert verify(tmp_path / "pulled").digest == bundle.digest


def test_pull_again_checks_the_policy_again(bundle: Bundle, policy: Path, tmp_path: Path) -> None:
    reference = json.loads(run(commands.push, bundle.path, tmp_path / "store", "-o", "json").stdout)[
        "reference"
    ]
    assert run(commands.pull, reference, tmp_path / "pulled").exit_code == 0
    again = run(commands.pull, reference, tmp_path / "pulled", "--policy", policy)
    assert isinstance(again.exception, BundleError)


def test_pull_again_takes_a_new_signature(bundle: Bundle, key: Path, policy: Path, tmp_path: Path) -> None:
    for signed in (None, write_private(new_key(), tmp_path / "old.pem")):
        arguments = () if signed is None else ("--sign", signed)
        pushed = run(commands.push, bundle.path, tmp_path / "store", *arguments, "-o", "json")
        reference, directory = json.loads(pushed.stdout)["reference"], tmp_path / f"{signed is None}"
        assert run(commands.pull, reference, directory).exit_code == 0
        assert isinstance(run(commands.pull, reference, directory, "--policy", policy).exception, BundleError)
        assert run(commands.sign, reference, "--key", key).exit_code == 0
        again = run(commands.pull, reference, directory, "--policy", policy)
        assert "signed by training" in again.stdout, again.exception


def test_certificate_without_a_key_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="belongs to a key: add --sign KEY"):
        read_signing_key(None, tmp_path / "certificate.pem")


def test_encrypted_key_needs_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_private(KEY, tmp_path / "key.pem", BestAvailableEncryption(b"secret"))
    with pytest.raises(ConfigurationError, match="is encrypted: set TIDEGATE_SIGNING_KEY_PASSWORD"):
        read_signing_key(file, None)
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY_PASSWORD", "wrong")
    with pytest.raises(ConfigurationError, match="is not its password"):
        read_signing_key(file, None)
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY_PASSWORD", "secret")
    read = read_signing_key(file, None)
    assert read is not None
    assert read.fingerprint == KEY.fingerprint


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"])
def test_file_that_is_not_a_key_is_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.pem").write_text(content)
    with pytest.raises(ConfigurationError, match=r"is not a private key in PEM.*openssl ecparam"):
        read_signing_key(tmp_path / "key.pem", None)
