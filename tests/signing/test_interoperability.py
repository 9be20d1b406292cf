# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Signatures of this project and of OpenSSF's ``model_signing``: each verifies those of the other.

The statements next to a bundle match the schemas of SLSA and CycloneDX.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2

from tests.support.bundles import write_bundle
from tests.support.signing import (
    NOW,
    Authority,
    new_key,
    public_pem,
    trusting_identity,
    trusting_key,
    write_private,
)
from tidegate.bundle import (
    EXCLUDED_FROM_DIGEST,
    METRICS,
    ML_BOM,
    PROVENANCE,
    SIGNATURE,
    SKOPS,
    SLSA_PROVENANCE,
    Bundle,
    seal,
)
from tidegate.trust.admission import admit
from tidegate.trust.attestations import sign_bundle
from tidegate.trust.envelope import Envelope
from tidegate.trust.signing_key import SigningKey


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    bundle = write_bundle(tmp_path / "iris")
    (bundle.path / PROVENANCE).write_text('{"host": "a", "finished": "2026-06-01T10:01:00+00:00"}')
    interval = {"low": 0.875, "high": 1.0, "method": "bootstrap"}
    metrics = {"test": {"f1": 1.0}, "intervals": {"test": {"f1": interval}}}
    (bundle.path / METRICS).write_text(json.dumps(metrics))
    return seal(bundle.path, **bundle.manifest.model_dump(exclude={"format_version", "files"}))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def write_certificates(key: SigningKey, folder: Path) -> tuple[Path, Path]:
    """Write the certificate of a signer and those of its issuers."""
    own, issuers = folder / "signer.pem", folder / "issuers.pem"
    own.write_bytes(key.certificates[0].public_bytes(Encoding.PEM))
    issuers.write_bytes(b"".join(issuer.public_bytes(Encoding.PEM) for issuer in key.certificates[1:]))
    return own, issuers


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda it: it.name)
def test_model_signing_verifies_a_signature_by_a_key(
    bundle: Bundle, curve: ec.EllipticCurve, tmp_path: Path
) -> None:
    key, public = new_key(curve), tmp_path / "key.pub"
    public.write_text(public_pem(key))
    sign_bundle(bundle, key)
    options = ["--signature", bundle.path / SIGNATURE, "--public_key", public, bundle.path]
    done = model_signing("verify", "key", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (bundle.path / SKOPS).write_bytes(b"b model")
    assert model_signing("verify", "key", *options).returncode != 0


def test_model_signing_verifies_a_signature_by_a_certificate(
    bundle: Bundle, authority: Authority, tmp_path: Path
) -> None:
    root = tmp_path / "root.pem"
    root.write_text(authority.pem)
    sign_bundle(bundle, authority.signer())
    options = ["--signature", bundle.path / SIGNATURE, "--certificate_chain", root, bundle.path]
    done = model_signing("verify", "certificate", *options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_signature_by_a_key_of_model_signing_is_verified(bundle: Bundle, tmp_path: Path) -> None:
    key = new_key()
    private = write_private(key, tmp_path / "key.pem")
    ignored = [f"--ignore-paths={bundle.path / PROVENANCE}"]
    options = ["--signature", bundle.path / SIGNATURE, "--private_key", private, *ignored, bundle.path]
    done = model_signing("sign", "key", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert admit(bundle, trusting_key(key), NOW) == "training"


def test_signature_by_a_certificate_of_model_signing_is_verified(
    bundle: Bundle, authority: Authority, tmp_path: Path
) -> None:
    key = authority.signer()
    own, issuers = write_certificates(key, tmp_path)
    private = write_private(key, tmp_path / "key.pem")
    options = ["--private_key", private, "--signing_certificate", own, "--certificate_chain", issuers]
    done = model_signing("sign", "certificate", "--signature", bundle.path / SIGNATURE, *options, bundle.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert admit(bundle, trusting_identity(authority), NOW) == "training"


def test_statement_equals_that_of_model_signing(bundle: Bundle, tmp_path: Path) -> None:
    key = new_key()
    private = write_private(key, tmp_path / "key.pem")
    foreign = tmp_path / "foreign.sig"
    ignored = [f"--ignore-paths={bundle.path / name}" for name in sorted(EXCLUDED_FROM_DIGEST)]
    done = model_signing(
        "sign", "key", "--signature", foreign, "--private_key", private, *ignored, bundle.path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sign_bundle(bundle, key)
    theirs, own = (
        json.loads(Envelope.parse(file.read_bytes(), "").payload)
        for file in (foreign, bundle.path / SIGNATURE)
    )
    assert theirs["subject"] == own["subject"]
    assert theirs["predicateType"] == own["predicateType"]
    assert theirs["predicate"]["resources"] == own["predicate"]["resources"]


def test_provenance_matches_the_messages_of_slsa(bundle: Bundle) -> None:
    sign_bundle(bundle, new_key())
    document = json.loads(Envelope.parse((bundle.path / SLSA_PROVENANCE).read_bytes(), "").payload)
    json_format.ParseDict(document, statement_pb2.Statement())  # fails for an unknown field
    provenance = json_format.ParseDict(document["predicate"], provenance_pb2.Provenance())
    assert provenance.build_definition.resolved_dependencies[0].digest["sha256"] == "0" * 64


def test_ml_bom_matches_the_schema_of_cyclonedx(bundle: Bundle) -> None:
    sign_bundle(bundle, new_key())
    document = json.loads(Envelope.parse((bundle.path / ML_BOM).read_bytes(), ML_BOM).payload)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document["predicate"]))
    assert problem is None, problem
