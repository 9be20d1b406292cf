# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io

import pytest
from rich.console import Console

from tests.support.bundles import contract, write_bundle
from tidegate.bundle import CONTRACT, PARITY, PROVENANCE, SKOPS, seal
from tidegate.digest import canonical_json
from tidegate.errors import BundleError
from tidegate.inspection import UNREADABLE, describe, render
from tidegate.memory import MIB, memory_limit


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "iris")


def reseal(bundle, name, document):
    (bundle.path / name).write_bytes(canonical_json(document))
    return seal(bundle.path, **bundle.manifest.model_dump(exclude={"format_version", "files"}))


def rendered(bundle, width=200):
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(render(bundle, describe(bundle)), soft_wrap=True)
    return console.file.getvalue()


def test_describe_has_every_document_of_the_bundle(bundle):
    description = describe(bundle)
    assert description["digest"] == bundle.digest
    assert description["manifest"]["algorithm"] == "LogisticRegression"
    assert description["contract"] == contract().model_dump(mode="json")
    assert description["metrics"] == {"test": {"f1": 1.0}}
    assert description["parity"]["verdict"] == "not compiled"
    assert description["provenance"] is None


def test_describe_does_not_read_the_model(bundle):
    (bundle.path / SKOPS).unlink()
    assert describe(bundle)["digest"] == bundle.digest


def test_describe_altered_document_raises(bundle):
    (bundle.path / PARITY).write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"parity\.json differs from the manifest"):
        describe(bundle)


def test_render_has_the_whole_digest_on_a_narrow_terminal(bundle):
    assert f"sha256:{bundle.digest}" in rendered(bundle, width=40)


def test_render_has_one_line_per_feature_output_and_file(bundle):
    lines = [line.split() for line in rendered(bundle).splitlines()]
    assert ["length", "FP32", "1", "to", "7", "allowed", "internal"] in lines
    assert ["ripe", "BOOL", "internal"] in lines
    assert ["→", "label", "BYTES", "1", "value", "per", "row"] in lines
    assert ["→", "probabilities", "FP32", "2", "values", "per", "row:", "no,", "yes"] in lines
    assert ["model.skops", "7"] in lines


def test_render_of_many_categories_shows_the_first_six(bundle):
    document = contract().model_dump(mode="json")
    document["features"][3]["categories"] = list("abcdefgh")
    assert "a, b, c, d, e, f …" in rendered(reseal(bundle, CONTRACT, document))


def test_render_of_a_compiled_model_has_the_compared_rows(bundle):
    parity = {"verdict": "equal", "reason": None, "rows": 12345}
    assert "equal (12,345 rows compared)" in rendered(reseal(bundle, PARITY, parity))


def test_render_of_a_damaged_provenance_says_so(bundle):
    (bundle.path / PROVENANCE).write_bytes(b"{")
    assert describe(bundle)["provenance"] == UNREADABLE
    assert "the model is not affected" in rendered(bundle)


def test_render_has_the_memory_limit_of_a_server(bundle):
    limit = -(-memory_limit(bundle.manifest, compiled=False) // MIB)
    assert f"limit of a server: {limit} MiB with scikit-learn" in rendered(bundle)
    assert "with the compiled model" not in rendered(bundle)


def test_render_has_the_decision_threshold(bundle):
    assert "threshold" not in rendered(bundle)
    document = contract().model_dump(mode="json") | {"threshold": {"positive_label": "yes", "value": 0.3}}
    assert "threshold yes from a probability of 0.3" in rendered(reseal(bundle, CONTRACT, document))
