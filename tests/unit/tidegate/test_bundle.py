# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.bundles import contract, write_bundle
from tidegate.bundle import (
    CONTRACT,
    MANIFEST,
    MANIFEST_LIMIT,
    PROVENANCE,
    SKOPS,
    open_bundle,
    parse_manifest,
    problems,
    seal,
    verify,
)
from tidegate.digest import canonical_json, sha256
from tidegate.errors import BundleError


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "iris")


def rewrite_manifest(bundle, change):
    """Change the manifest as an attacker would: canonical again, and with a digest that fits."""
    document = json.loads((bundle.path / MANIFEST).read_bytes())
    change(document)
    content = canonical_json(document)
    (bundle.path / MANIFEST).write_bytes(content)
    return sha256(content)


def test_a_sealed_bundle_verifies_and_gives_its_contract(bundle):
    opened = verify(bundle.path, bundle.digest)
    assert opened.manifest == bundle.manifest
    assert opened.contract == contract()
    assert opened.read(SKOPS) == b"a model"


def test_the_same_content_has_the_same_digest_in_another_folder(bundle, tmp_path):
    assert write_bundle(tmp_path / "elsewhere" / "again").digest == bundle.digest


def test_other_content_has_another_digest(bundle, tmp_path):
    assert write_bundle(tmp_path / "other", b"another model").digest != bundle.digest


def test_provenance_does_not_change_the_digest(bundle):
    (bundle.path / PROVENANCE).write_text("{}")
    assert verify(bundle.path, bundle.digest)


def alter(bundle):
    (bundle.path / SKOPS).write_bytes(b"b model")


def lengthen(bundle):
    (bundle.path / SKOPS).write_bytes(b"a model and more")


def remove(bundle):
    (bundle.path / SKOPS).unlink()


def add(bundle):
    (bundle.path / "extra.py").write_text("")


def add_hidden(bundle):
    (bundle.path / ".hidden").write_text("")


def link_file(bundle):
    (bundle.path / SKOPS).rename(bundle.path.parent / "outside")
    (bundle.path / SKOPS).symlink_to(bundle.path.parent / "outside")


def link_folder(bundle):
    shutil.move(bundle.path / "plots", bundle.path.parent / "outside")
    (bundle.path / "plots").symlink_to(bundle.path.parent / "outside")


def link_provenance(bundle):
    (bundle.path / PROVENANCE).symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("tamper", "file"),
    [
        (alter, SKOPS),
        (lengthen, SKOPS),
        (remove, SKOPS),
        (add, "extra.py"),
        (add_hidden, ".hidden"),
        (link_file, SKOPS),
        (link_folder, "plots"),
        (link_provenance, PROVENANCE),
    ],
)
def test_what_differs_from_the_manifest_is_named(bundle, tamper, file):
    tamper(bundle)
    assert file in [problem.file for problem in problems(open_bundle(bundle.path))]
    with pytest.raises(BundleError, match=file.replace(".", r"\.")):
        verify(bundle.path, bundle.digest)


def test_a_file_altered_after_the_check_is_noticed_when_it_is_read(bundle):
    opened = verify(bundle.path)
    alter(bundle)
    with pytest.raises(BundleError, match=r"model\.skops is not the file of the manifest"):
        opened.read(SKOPS)


def test_a_file_that_the_manifest_does_not_list_is_not_read(bundle):
    with pytest.raises(BundleError, match="does not list it"):
        bundle.read("../secret")


def test_another_digest_is_refused_before_the_manifest_is_parsed(bundle):
    (bundle.path / MANIFEST).write_bytes(b"not even JSON")
    with pytest.raises(BundleError, match=f"expected {bundle.digest}"):
        open_bundle(bundle.path, bundle.digest)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("../outside", "no plain relative path"),
        ("/etc/passwd", "no plain relative path"),
        ("a/b/c", "no plain relative path"),
        ("plots/..", "no plain relative path"),
        ("", "no plain relative path"),
        ("a\\b", "no plain relative path"),
        ("a\nb", "no plain relative path"),
        (".hidden", "no plain relative path"),
        (MANIFEST, "outside the digest"),
        (PROVENANCE, "outside the digest"),
    ],
)
def test_path_tricks_in_a_manifest_are_refused(bundle, name, complaint):
    digest = rewrite_manifest(bundle, lambda m: m["files"].update({name: {"size": 0, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match=complaint):
        open_bundle(bundle.path, digest)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.update(format_version=2), "format version 2, and this version of Tidegate reads 1"),
        (lambda m: m.update(surprise=1), "surprise: Extra inputs"),
        (lambda m: m.pop("name"), "name: Field required"),
        (lambda m: m.update(name="../up"), "name: String should match"),
        (lambda m: m["files"].pop(CONTRACT), r"does not list contract\.json"),
        (lambda m: m["files"][SKOPS].update(size=-1), r"files\.model\.skops\.size"),
        (lambda m: m["files"][SKOPS].update(sha256="x"), "sha256: String should match"),
    ],
)
def test_a_manifest_that_is_none_is_refused(bundle, change, complaint):
    with pytest.raises(BundleError, match=complaint):
        open_bundle(bundle.path, rewrite_manifest(bundle, change))


def test_a_manifest_in_other_than_canonical_form_is_refused(bundle):
    content = json.dumps(json.loads((bundle.path / MANIFEST).read_bytes()), indent=1).encode()
    with pytest.raises(BundleError, match="canonical"):
        parse_manifest(content, sha256(content), "here")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_a_manifest_with_a_number_that_json_has_not_is_refused(bundle, number):
    content = (bundle.path / MANIFEST).read_bytes().replace(b'"C":1.0', b'"C":' + number)
    with pytest.raises(BundleError, match="canonical"):
        parse_manifest(content, sha256(content), "here")


def test_a_huge_manifest_is_not_read(bundle):
    (bundle.path / MANIFEST).write_bytes(b" " * (MANIFEST_LIMIT + 1))
    with pytest.raises(BundleError, match="at most"):
        open_bundle(bundle.path)


def test_a_linked_manifest_is_refused(bundle, tmp_path):
    (bundle.path / MANIFEST).rename(tmp_path / "manifest")
    (bundle.path / MANIFEST).symlink_to(tmp_path / "manifest")
    with pytest.raises(BundleError, match="no links"):
        open_bundle(bundle.path)


def test_an_empty_folder_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="it has no manifest"):
        open_bundle(tmp_path)


def test_an_incomplete_folder_is_not_sealed(bundle):
    (bundle.path / MANIFEST).unlink()
    (bundle.path / CONTRACT).unlink()
    with pytest.raises(BundleError, match=r"misses contract\.json"):
        seal(bundle.path)
    assert not (bundle.path / MANIFEST).exists()


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_in_one_sentence(content):
    with pytest.raises(BundleError):
        parse_manifest(content, None, "here")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_reads_back_the_same_and_has_one_form(value):
    content = canonical_json(value)
    assert json.loads(content) == value
    assert canonical_json(json.loads(content)) == content


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_say_has_no_canonical_form(value):
    with pytest.raises((ValueError, TypeError)):
        canonical_json(value)
