# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from tests.support.bundles import write_bundle
from tests.support.signing import NOW, new_key, trusting_key
from tidegate.bundle import ATTESTATIONS, METRICS, ML_BOM, PROVENANCE, SLSA_PROVENANCE, Bundle, seal, verify
from tidegate.errors import BundleError
from tidegate.trust.attestations import ml_bom, sign_bundle, slsa_provenance, verify_attestations

RECORDED = {
    "commit": "c" * 40,
    "dirty": False,
    "image": "registry.example.com/training@sha256:1",
    "host": "job-1",
    "python": "3.11.9",
    "platform": None,
    "configuration": {"name": "iris"},
    "started": "2026-06-01T10:00:00+00:00",
    "finished": "2026-06-01T10:01:00+00:00",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    bundle = write_bundle(tmp_path / "iris")
    (bundle.path / PROVENANCE).write_text(json.dumps(RECORDED))
    return bundle


def test_signing_writes_statements_and_keeps_the_bundle_valid(bundle: Bundle) -> None:
    key = new_key()
    sign_bundle(bundle, key)
    assert all((bundle.path / name).is_file() for name in ATTESTATIONS)
    assert verify(bundle.path).digest == bundle.digest
    verify_attestations(bundle, trusting_key(key), NOW)


def test_slsa_provenance_has_what_training_recorded(bundle: Bundle) -> None:
    predicate = slsa_provenance(bundle, RECORDED)
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    assert definition["externalParameters"]["algorithm"] == "LogisticRegression"
    assert definition["externalParameters"]["configuration"] == {"name": "iris"}
    assert definition["internalParameters"] == {"host": "job-1", "python": "3.11.9"}
    assert definition["resolvedDependencies"] == [
        {"name": "data", "digest": {"sha256": "0" * 64}, "annotations": {"rows": 150}},
        {"name": "source", "digest": {"gitCommit": "c" * 40}, "annotations": {"dirty": False}},
        {"name": "image", "uri": "oci://registry.example.com/training@sha256:1"},
        {"uri": "pkg:pypi/scikit-learn@1.9.1"},
    ]
    assert details["metadata"] == {"startedOn": RECORDED["started"], "finishedOn": RECORDED["finished"]}


def test_slsa_provenance_without_a_record_has_the_data(bundle: Bundle) -> None:
    predicate = slsa_provenance(bundle, {})
    assert [it.get("name") for it in predicate["buildDefinition"]["resolvedDependencies"]] == ["data", None]
    assert predicate["runDetails"]["metadata"] == {}


def test_ml_bom_describes_model_data_and_libraries(bundle: Bundle) -> None:
    bom = ml_bom(bundle, RECORDED)
    model = bom["metadata"]["component"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": bundle.digest}]
    assert model["modelCard"]["modelParameters"]["approach"] == {"type": "supervised"}
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "f1", "value": "1", "slice": "test"}
    ]
    assert {it["name"] for it in model["components"]} == set(bundle.manifest.files)
    assert [it["name"] for it in bom["components"]] == ["training data", "scikit-learn"]
    assert bom == ml_bom(bundle, RECORDED)


def test_ml_bom_has_the_intervals_of_metrics(bundle: Bundle) -> None:
    interval = {"low": 0.875, "high": 1.0, "method": "bootstrap"}
    metrics = {"test": {"f1": 1.0, "roc_auc": None}, "intervals": {"test": {"f1": interval}}}
    (bundle.path / METRICS).write_text(json.dumps(metrics))
    bundle = seal(bundle.path, **bundle.manifest.model_dump(exclude={"format_version", "files"}))
    [f1] = ml_bom(bundle, {})["metadata"]["component"]["modelCard"]["quantitativeAnalysis"][
        "performanceMetrics"
    ]
    assert f1["confidenceInterval"] == {"lowerBound": "0.875", "upperBound": "1"}


def test_statement_about_another_bundle_is_rejected(bundle: Bundle, tmp_path: Path) -> None:
    key = new_key()
    other = write_bundle(tmp_path / "other", model=b"another model")
    for signed in (bundle, other):
        sign_bundle(signed, key)
    for name in (SLSA_PROVENANCE, ML_BOM):
        own = (bundle.path / name).read_bytes()
        bundle.write_excluded(name, (other.path / name).read_bytes())
        with pytest.raises(BundleError, match=f"{name} of .* is about another bundle"):
            verify_attestations(bundle, trusting_key(key), NOW)
        bundle.write_excluded(name, own)


def test_missing_statement_is_rejected(bundle: Bundle) -> None:
    key = new_key()
    sign_bundle(bundle, key)
    (bundle.path / ML_BOM).unlink()
    with pytest.raises(BundleError, match=f"it has no {ML_BOM}"):
        verify_attestations(bundle, trusting_key(key), NOW)


@pytest.mark.parametrize("content", ["[]", "{", "nan]"])
def test_sign_rejects_a_provenance_that_is_not_an_object(bundle: Bundle, content: str) -> None:
    (bundle.path / PROVENANCE).write_text(content)
    with pytest.raises(BundleError, match=r"provenance\.json is not a JSON object"):
        sign_bundle(bundle, new_key())
