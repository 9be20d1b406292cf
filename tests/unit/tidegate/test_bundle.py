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
    MAX_MANIFEST_BYTES,
    PROVENANCE,
    SIGNATURE,
    SKOPS,
    find_problems,
    open_bundle,
    parse_manifest,
    seal,
    verify,
)
from tidegate.digest import canonical_json, sha256
from tidegate.errors import BundleError


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "iris")


def rewrite_manifest(bundle, change):
    """Change the manifest as an attacker can: in canonical form, and with the new digest."""
    document = json.loads((bundle.path / MANIFEST).read_bytes())
    change(document)
    content = canonical_json(document)
    (bundle.path / MANIFEST).write_bytes(content)
    return sha256(content)


def test_verify_sealed_bundle_returns_its_contract(bundle):
    opened = verify(bundle.path, bundle.digest)
    assert opened.manifest == bundle.manifest
    assert opened.contract == contract()
    assert opened.read(SKOPS) == b"a model"


def test_seal_same_content_has_the_same_digest(bundle, tmp_path):
    assert write_bundle(tmp_path / "elsewhere" / "again").digest == bundle.digest


def test_seal_other_content_has_another_digest(bundle, tmp_path):
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
def test_verify_altered_directory_names_the_file(bundle, tamper, file):
    tamper(bundle)
    assert file in [problem.file for problem in find_problems(open_bundle(bundle.path))]
    with pytest.raises(BundleError, match=file.replace(".", r"\.")):
        verify(bundle.path, bundle.digest)


def test_read_file_altered_after_verify_raises(bundle):
    opened = verify(bundle.path)
    alter(bundle)
    with pytest.raises(
        BundleError, match=r"model\.skops differs .* expected 7 bytes .* found 7 bytes .*pull"
    ):
        opened.read(SKOPS)


def test_read_unlisted_file_raises(bundle):
    with pytest.raises(BundleError, match="does not list it"):
        bundle.read("../secret")


def test_open_bundle_compares_the_digest_before_parsing(bundle):
    (bundle.path / MANIFEST).write_bytes(b"not even JSON")
    with pytest.raises(BundleError, match=f"expected {bundle.digest}"):
        open_bundle(bundle.path, bundle.digest)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../outside", "not a plain relative path"),
        ("/etc/passwd", "not a plain relative path"),
        ("a/b/c", "not a plain relative path"),
        ("plots/..", "not a plain relative path"),
        ("", "not a plain relative path"),
        ("a\\b", "not a plain relative path"),
        ("a\nb", "not a plain relative path"),
        (".hidden", "not a plain relative path"),
        (MANIFEST, "outside the digest"),
        (PROVENANCE, "outside the digest"),
    ],
)
def test_open_bundle_rejects_unsafe_file_names(bundle, name, problem):
    digest = rewrite_manifest(bundle, lambda m: m["files"].update({name: {"size": 0, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match=problem):
        open_bundle(bundle.path, digest)


@pytest.mark.parametrize(
    ("change", "problem"),
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
def test_open_bundle_rejects_an_invalid_manifest(bundle, change, problem):
    with pytest.raises(BundleError, match=problem):
        open_bundle(bundle.path, rewrite_manifest(bundle, change))


def test_parse_manifest_rejects_other_than_canonical_json(bundle):
    content = json.dumps(json.loads((bundle.path / MANIFEST).read_bytes()), indent=1).encode()
    with pytest.raises(BundleError, match="canonical"):
        parse_manifest(content, sha256(content), "here")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_parse_manifest_rejects_numbers_outside_json(bundle, number):
    content = (bundle.path / MANIFEST).read_bytes().replace(b'"C":1.0', b'"C":' + number)
    with pytest.raises(BundleError, match="canonical"):
        parse_manifest(content, sha256(content), "here")


def test_open_bundle_rejects_a_manifest_above_the_limit(bundle):
    (bundle.path / MANIFEST).write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(BundleError, match=f"{MAX_MANIFEST_BYTES + 1} bytes: .* at most {MAX_MANIFEST_BYTES}"):
        open_bundle(bundle.path)


def test_open_bundle_rejects_a_linked_manifest(bundle, tmp_path):
    (bundle.path / MANIFEST).rename(tmp_path / "manifest")
    (bundle.path / MANIFEST).symlink_to(tmp_path / "manifest")
    with pytest.raises(BundleError, match="no links"):
        open_bundle(bundle.path)


def test_open_bundle_of_an_empty_folder_raises(tmp_path):
    with pytest.raises(BundleError, match="it has no manifest"):
        open_bundle(tmp_path)


def test_write_excluded_that_fails_leaves_a_valid_bundle(bundle):
    (bundle.path / SIGNATURE).mkdir()
    with pytest.raises(BundleError, match=r"bundle\.sig cannot be written"):
        bundle.write_excluded(SIGNATURE, b"")
    (bundle.path / SIGNATURE).rmdir()
    assert verify(bundle.path) == bundle


def test_seal_of_an_incomplete_folder_raises(bundle):
    (bundle.path / MANIFEST).unlink()
    (bundle.path / CONTRACT).unlink()
    with pytest.raises(BundleError, match=r"misses contract\.json"):
        seal(bundle.path)
    assert not (bundle.path / MANIFEST).exists()


@given(st.binary(max_size=300))
def test_parse_manifest_of_arbitrary_bytes_raises(content):
    with pytest.raises(BundleError):
        parse_manifest(content, None, "here")


def test_open_bundle_of_a_model_file_names_the_command(tmp_path):
    file = tmp_path / "model.joblib"
    file.write_bytes(b"")
    with pytest.raises(BundleError, match=r"is a file, .*'tidegate bundle .*model\.joblib --data"):
        open_bundle(file)
