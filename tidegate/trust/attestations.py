# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Statements about a bundle: how it was built (SLSA provenance), and what it consists of (CycloneDX ML-BOM).

Both come from the manifest and from ``provenance.json``, which training has recorded; nothing is measured
here. Their subject is the bundle's digest, which is also the SHA-256 of ``manifest.json``.

From https://slsa.dev/spec/v1.1/provenance and https://cyclonedx.org/docs/1.6/json.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tidegate.bundle import METRICS, ML_BOM, PROVENANCE, SIGNATURE, SLSA_PROVENANCE, Bundle
from tidegate.errors import BundleError
from tidegate.trust.envelope import parse_statement, statement
from tidegate.trust.policy import Policy
from tidegate.trust.signature import signature_statement, verify_envelope
from tidegate.trust.signing_key import SigningKey

STATEMENTS = {
    SLSA_PROVENANCE: "https://slsa.dev/provenance/v1",
    ML_BOM: "https://cyclonedx.org/bom",
}
"""By file, the type of the statement's predicate."""

BUILD_TYPE = "pkg:pypi/tidegate#train"
"""The kind of build: external parameters are those of train.yaml that the manifest records."""

_APPROACHES = {
    "classification": "supervised",
    "regression": "supervised",
    "clustering": "unsupervised",
    "outlier_detection": "unsupervised",
}
"""By task, CycloneDX's word for the way of learning. A recommendation has none."""


def sign_bundle(bundle: Bundle, key: SigningKey) -> None:
    """Sign a bundle and the statements about it, and write both next to its manifest.

    The signature is written last, so that a bundle with a signature has the statements as well.

    Raises:
        BundleError: If the provenance is not that of a training run, or the directory cannot be written.
    """
    provenance = _read_provenance(bundle)
    predicates = {
        SLSA_PROVENANCE: slsa_provenance(bundle, provenance),
        ML_BOM: ml_bom(bundle, provenance),
    }
    for name, predicate in predicates.items():
        payload = statement(bundle.manifest.name, bundle.digest, STATEMENTS[name], predicate)
        bundle.write_excluded(name, key.sign(payload).to_bytes())
    bundle.write_excluded(SIGNATURE, key.sign(signature_statement(bundle)).to_bytes())


def verify_attestations(bundle: Bundle, policy: Policy, now: datetime | None = None) -> None:
    """Verify the statements next to a bundle: their signer, and that they are about this bundle.

    Args:
        bundle: The bundle.
        policy: The policy, which has signers.
        now: The time at which certificates are judged; by default that of the call.

    Raises:
        BundleError: If a statement is missing, not signed by a trusted signer, or about another bundle.
    """
    now = now or datetime.now(UTC)
    for name, predicate_type in STATEMENTS.items():
        _, payload = verify_envelope(bundle, name, policy, now)
        document = parse_statement(payload, f"{name} of {bundle.label}")
        subject = [{"name": bundle.manifest.name, "digest": {"sha256": bundle.digest}}]
        if document.get("predicateType") != predicate_type or document.get("subject") != subject:
            raise BundleError(
                f"{name} of {bundle.label} is about another bundle: expected a statement {predicate_type} "
                "about this digest; sign the bundle again."
            )


def slsa_provenance(bundle: Bundle, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the predicate of SLSA provenance.

    Args:
        bundle: The bundle.
        provenance: The content of ``provenance.json``; empty if the bundle has none.
    """
    manifest = bundle.manifest
    version = manifest.versions.get("tidegate")
    builder = "pkg:pypi/tidegate" if version is None else f"pkg:pypi/tidegate@{version}"
    parameters = {
        "name": manifest.name,
        "task": manifest.task,
        "algorithm": manifest.algorithm,
        "parameters": manifest.parameters,
        "seed": manifest.seed,
    }
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": parameters | _recorded(provenance, configuration="configuration"),
            "internalParameters": _recorded(
                provenance, host="host", platform="platform", python="python", environment="environment"
            ),
            "resolvedDependencies": list(_dependencies(bundle, provenance)),
        },
        "runDetails": {
            "builder": {"id": builder},
            "metadata": _recorded(provenance, startedOn="started", finishedOn="finished"),
        },
    }


def ml_bom(bundle: Bundle, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bill of materials as a CycloneDX document.

    Args:
        bundle: The bundle.
        provenance: The content of ``provenance.json``; empty if the bundle has none.
    """
    manifest, contract = bundle.manifest, bundle.contract
    parameters: dict[str, Any] = {
        "task": manifest.task,
        "architectureFamily": "scikit-learn",
        "modelArchitecture": manifest.algorithm,
        "datasets": [{"ref": "data"}],
        "inputs": [{"format": datatype} for datatype in _formats(contract.features)],
        "outputs": [{"format": datatype} for datatype in _formats(contract.outputs)],
    }
    if manifest.task in _APPROACHES:
        parameters["approach"] = {"type": _APPROACHES[manifest.task]}
    model = {
        "type": "machine-learning-model",
        "bom-ref": bundle.label,
        "name": manifest.name,
        "version": bundle.digest,
        "hashes": [_hash(bundle.digest)],
        "modelCard": {
            "modelParameters": parameters,
            "quantitativeAnalysis": {"performanceMetrics": _performance(bundle)},
        },
        "components": [
            {"type": "file", "bom-ref": name, "name": name, "hashes": [_hash(entry.sha256)]}
            for name, entry in manifest.files.items()
        ],
    }
    libraries = [
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        for name, version in manifest.versions.items()
        for purl in [f"pkg:pypi/{name}@{version}"]
    ]
    data: dict[str, Any] = {
        "type": "data",
        "bom-ref": "data",
        "name": "training data",
        "hashes": [_hash(manifest.data.sha256)],
    }
    components = [data, *libraries]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # A function of the content, so that signing again gives the same bill.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, bundle.label)}",
        "version": 1,
        "metadata": {**_recorded(provenance, timestamp="finished"), "component": model},
        "components": components,
        "dependencies": [
            {"ref": bundle.label, "dependsOn": [component["bom-ref"] for component in components]}
        ],
    }


def _performance(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the metrics of the held-out rows, with their confidence intervals."""
    document = json.loads(bundle.read(METRICS))
    split = next((name for name in ("test", "sample") if document.get(name)), None)
    if split is None:
        return []
    intervals = document.get("intervals", {}).get(split, {})
    metrics = []
    for name, value in document[split].items():
        if not isinstance(value, int | float):
            continue
        metric: dict[str, Any] = {"type": name, "value": f"{value:.6g}", "slice": split}
        if interval := intervals.get(name):
            metric["confidenceInterval"] = {
                "lowerBound": f"{interval['low']:.6g}",
                "upperBound": f"{interval['high']:.6g}",
            }
        metrics.append(metric)
    return metrics


def _recorded(provenance: Mapping[str, Any], **fields: str) -> dict[str, Any]:
    """Return the recorded values of fields under new names, without those that are not recorded."""
    return {name: provenance[field] for name, field in fields.items() if provenance.get(field) is not None}


def _dependencies(bundle: Bundle, provenance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the data, the source, the image and the packages of a build as SLSA's resource descriptors."""
    data = bundle.manifest.data
    yield {"name": "data", "digest": {"sha256": data.sha256}, "annotations": {"rows": data.rows}}
    if provenance.get("commit") is not None:
        annotations = {"dirty": provenance.get("dirty")}
        yield {"name": "source", "digest": {"gitCommit": provenance["commit"]}, "annotations": annotations}
    if provenance.get("image") is not None:
        yield {"name": "image", "uri": f"oci://{provenance['image']}"}
    for name, version in bundle.manifest.versions.items():
        yield {"uri": f"pkg:pypi/{name}@{version}"}


def _formats(columns: Any) -> list[str]:
    """Return the data types of features or outputs, each once."""
    return list(dict.fromkeys(str(column.datatype) for column in columns))


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _read_provenance(bundle: Bundle) -> Mapping[str, Any]:
    content = bundle.read_excluded(PROVENANCE)
    try:
        document = {} if content is None else json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BundleError(
            f"{bundle.path / PROVENANCE} is not a JSON object, so it cannot be signed: pull the bundle "
            "again, or remove the file."
        )
    return document
