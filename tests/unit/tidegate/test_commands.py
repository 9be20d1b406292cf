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
    """Replace a file of the bundle and seal it again under the new digest."""
    (bundle.path / name).write_bytes(content)
    return seal(bundle.path, **bundle.manifest.model_dump(exclude={"format_version", "files"}))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 5000])
def test_inspect_broken_provenance_is_unreadable_but_no_error(bundle, content):
    (bundle.path / PROVENANCE).write_bytes(content)
    assert "unreadable" in run(commands.inspect, bundle.path).stdout
    shown = run(commands.inspect, bundle.path, "-o", "json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["provenance"] == "unreadable"


def test_inspect_prints_provenance_in_json_only(bundle):
    (bundle.path / PROVENANCE).write_bytes(b'{"host": "a"}')
    assert json.loads(run(commands.inspect, bundle.path, "-o", "json").stdout)["provenance"] == {"host": "a"}
    assert "unreadable" not in run(commands.inspect, bundle.path).stdout


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (METRICS, b"{", r"metrics\.json is not valid JSON"),
        (METRICS, b'{"f1": NaN}', r"metrics\.json is not valid JSON"),
        (METRICS, b"[]", r"metrics\.json is not a JSON object"),
        (METRICS, b"{}", r"metrics\.json was not written by Tidegate: .*expected either 'test' or 'sample'"),
        (PARITY, b"\xff", r"parity\.json is not valid JSON"),
        (PARITY, b"{}", r"parity\.json was not written by Tidegate: verdict: Field required"),
        (PARITY, b'{"verdict": "equal", "reason": null, "rows": "x"}', r"was not written by Tidegate: rows"),
    ],
)
def test_inspect_broken_file_raises_with_its_name(bundle, name, content, problem):
    reseal(bundle, name, content)
    for form in ("text", "json"):
        with pytest.raises(BundleError, match=problem):
            raise run(commands.inspect, bundle.path, "-o", form).exception


def test_verify_accepts_the_digest_with_and_without_prefix(bundle):
    for digest in (bundle.digest, f"sha256:{bundle.digest}"):
        assert run(commands.verify, bundle.path, "--digest", digest).exit_code == 0
    other = run(commands.verify, bundle.path, "--digest", f"sha256:{'0' * 64}").exception
    assert isinstance(other, BundleError)


@pytest.mark.parametrize("digest", ["", "sha256:", "abc", "0" * 63, "G" * 64, "sha512:" + "0" * 64])
def test_verify_invalid_digest_raises(bundle, digest):
    with pytest.raises(ConfigurationError, match="is not a digest: expected 64"):
        raise run(commands.verify, bundle.path, "--digest", digest).exception


@pytest.mark.parametrize("channel", ["Not A Name", "a/b:stable", "stable\n", ""])
def test_push_invalid_channel_raises_before_it_stores(bundle, tmp_path, channel):
    done = run(commands.push, bundle.path, tmp_path / "store", "--channel", channel)
    with pytest.raises(ConfigurationError, match="is not a channel name: expected at most 52"):
        raise done.exception
    assert not (tmp_path / "store").exists()


def test_inspect_shows_square_brackets_literally(bundle):
    contract = bundle.contract.model_dump(mode="json")
    contract["features"][0]["name"] = "len [mm]"
    contract["features"][3]["categories"] = ["[/a]", "[red]"]
    reseal(bundle, CONTRACT, canonical_json(contract))
    shown = run(commands.inspect, bundle.path)
    assert shown.exit_code == 0, shown.exception
    assert "len [mm]" in shown.stdout
    assert "[/a], [red]" in shown.stdout


def test_verify_names_an_unlisted_file_with_square_brackets(bundle):
    (bundle.path / "[").mkdir()
    (bundle.path / "[" / "x]").write_bytes(b"")
    done = run(commands.verify, bundle.path)
    assert "[/x]" in done.stdout
    with pytest.raises(BundleError, match=r"1 files of .* differ from its manifest: \[/x\]\."):
        raise done.exception


def test_inspect_shows_the_test_metrics(bundle):
    reseal(bundle, METRICS, b'{"test":{"accuracy":0.96666,"roc_auc":null},"train":{"accuracy":1.0}}')
    assert "accuracy 0.9667, roc_auc -" in run(commands.inspect, bundle.path).stdout


def test_push_damaged_bundle_raises_before_it_stores(bundle, tmp_path):
    (bundle.path / SKOPS).write_bytes(b"b model")
    with pytest.raises(BundleError, match=r"model\.skops"):
        raise run(commands.push, bundle.path, tmp_path / "store").exception
    assert not (tmp_path / "store").exists()
