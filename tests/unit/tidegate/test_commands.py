# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import typer
from typer.testing import CliRunner

from tests.support.bundles import write_bundle
from tidegate import commands
from tidegate.bundle import CONTRACT, METRICS, PARITY, PROVENANCE, SKOPS, seal
from tidegate.digest import canonical_json
from tidegate.errors import BundleError, ConfigurationError


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "iris")


def run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def reseal(bundle, name, content):
    """The bundle with another file in it, and the digest that then is its name."""
    (bundle.path / name).write_bytes(content)
    return seal(bundle.path, **bundle.manifest.model_dump(exclude={"format_version", "files"}))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 5000])
def test_a_broken_provenance_is_shown_as_unreadable_and_is_no_failure(bundle, content):
    (bundle.path / PROVENANCE).write_bytes(content)
    assert "unreadable" in run(commands.inspect, bundle.path).stdout
    shown = run(commands.inspect, bundle.path, "-o", "json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["provenance"] == "unreadable"


def test_a_readable_provenance_is_for_scripts(bundle):
    (bundle.path / PROVENANCE).write_bytes(b'{"host": "a"}')
    assert json.loads(run(commands.inspect, bundle.path, "-o", "json").stdout)["provenance"] == {"host": "a"}
    assert "unreadable" not in run(commands.inspect, bundle.path).stdout


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (METRICS, b"{", r"metrics\.json is no JSON"),
        (METRICS, b'{"f1": NaN}', r"metrics\.json is no JSON"),
        (METRICS, b"[]", r"metrics\.json is no JSON object"),
        (METRICS, b"{}", r"metrics\.json was not written by Tidegate: test: Field required"),
        (PARITY, b"\xff", r"parity\.json is no JSON"),
        (PARITY, b"{}", r"parity\.json was not written by Tidegate: verdict: Field required"),
        (PARITY, b'{"verdict": "equal", "reason": null, "rows": "x"}', r"was not written by Tidegate: rows"),
    ],
)
def test_a_bundle_with_a_broken_file_is_told_in_one_sentence(bundle, name, content, complaint):
    reseal(bundle, name, content)
    for form in ("text", "json"):
        with pytest.raises(BundleError, match=complaint):
            raise run(commands.inspect, bundle.path, "-o", form).exception


def test_a_digest_is_taken_as_it_is_printed(bundle):
    for digest in (bundle.digest, f"sha256:{bundle.digest}"):
        assert run(commands.verify, bundle.path, "--digest", digest).exit_code == 0
    other = run(commands.verify, bundle.path, "--digest", f"sha256:{'0' * 64}").exception
    assert isinstance(other, BundleError)


@pytest.mark.parametrize("digest", ["", "sha256:", "abc", "0" * 63, "G" * 64, "sha512:" + "0" * 64])
def test_what_is_no_digest_is_told_as_such(bundle, digest):
    with pytest.raises(ConfigurationError, match="is no digest: expected 64"):
        raise run(commands.verify, bundle.path, "--digest", digest).exception


@pytest.mark.parametrize("channel", ["Not A Name", "a/b:stable", "stable\n", ""])
def test_a_channel_that_is_none_is_refused_before_anything_is_stored(bundle, tmp_path, channel):
    done = run(commands.push, bundle.path, tmp_path / "store", "--channel", channel)
    with pytest.raises(ConfigurationError, match="is no name of a channel"):
        raise done.exception
    assert not (tmp_path / "store").exists()


def test_names_with_square_brackets_are_shown_as_they_are(bundle):
    contract = bundle.contract.model_dump(mode="json")
    contract["features"][0]["name"] = "len [mm]"
    contract["features"][3]["categories"] = ["[/a]", "[red]"]
    reseal(bundle, CONTRACT, canonical_json(contract))
    shown = run(commands.inspect, bundle.path)
    assert shown.exit_code == 0, shown.exception
    assert "len [mm]" in shown.stdout
    assert "[/a], [red]" in shown.stdout


def test_a_stray_file_with_square_brackets_is_named(bundle):
    (bundle.path / "[").mkdir()
    (bundle.path / "[" / "x]").write_bytes(b"")
    done = run(commands.verify, bundle.path)
    assert "[/x]" in done.stdout
    with pytest.raises(BundleError, match=r"not what the manifest says: \[/x\]\."):
        raise done.exception


def test_a_person_is_shown_what_the_test_part_measured(bundle):
    reseal(bundle, METRICS, b'{"test":{"accuracy":0.96666,"roc_auc":null},"train":{"accuracy":1.0}}')
    assert "accuracy 0.9667, roc_auc -" in run(commands.inspect, bundle.path).stdout


def test_a_damaged_bundle_is_not_stored(bundle, tmp_path):
    (bundle.path / SKOPS).write_bytes(b"b model")
    with pytest.raises(BundleError, match=r"model\.skops"):
        raise run(commands.push, bundle.path, tmp_path / "store").exception
    assert not (tmp_path / "store").exists()
