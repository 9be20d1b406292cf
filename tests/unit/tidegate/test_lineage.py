# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
from http.client import BadStatusLine
from pathlib import Path

import prometheus_client
import pytest
from typer.testing import CliRunner

from tests.support.bundles import write_bundle
from tidegate.bundle import PROVENANCE, open_bundle
from tidegate.cli import build
from tidegate.errors import ServerError
from tidegate.lineage import read_served_model, to_lines, trace
from tidegate.store import Store


def metrics(**labels: str) -> str:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Gauge("tidegate_model_info", "The model.", list(labels), registry=registry).labels(
        **labels
    ).set(1)
    return prometheus_client.generate_latest(registry).decode()


def test_read_served_model_reads_name_digest_and_signer() -> None:
    text = metrics(model_name='a "b"', digest="0" * 64, engine="onnx", task="regression", signer="release")
    served = read_served_model(
        "http://host:8080/", lambda address: text if address.endswith("8080/metrics") else ""
    )
    assert (served.digest, served.engine, served.signer) == ("0" * 64, "onnx", "release")


def test_read_served_model_reads_any_name_of_a_signer() -> None:
    signer = 'the "release" {team}\\n\n'
    text = metrics(model_name="a", digest="0" * 64, signer=signer, engine="onnx")
    assert read_served_model("http://host", lambda _: text).signer == signer


def test_read_served_model_of_grpc_shows_no_bytes() -> None:
    def read(address: str) -> str:
        raise BadStatusLine("\x00\x18")

    with pytest.raises(ServerError, match="the response is not HTTP"):
        read_served_model("http://host", read)


@pytest.mark.parametrize("text", ["", "tidegate_requests_total 1\n"])
def test_read_served_model_of_another_server_is_an_error(text: str) -> None:
    with pytest.raises(ServerError, match="has no metric tidegate_model_info: name the address"):
        read_served_model("http://host", lambda _: text)


def test_read_served_model_of_another_scheme_is_an_error() -> None:
    with pytest.raises(ServerError, match="expected http:// or https://"):
        read_served_model("file:///etc")


def test_lineage_of_a_channel_goes_back_to_data_and_commit(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / PROVENANCE).write_text('{"commit": "abc", "dirty": true, "image": null}')
    store = Store((tmp_path / "store").as_uri())
    reference = store.push(open_bundle(tmp_path / "bundle"))
    for channel in ("candidate", "stable"):
        store.move_channel(reference.name, channel, reference.digest)
    result = CliRunner().invoke(build(), ["lineage", f"{store.uri}/{reference.name}:stable", "-o", "json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["digest"] == bundle.digest
    assert document["data"]["sha256"] == bundle.manifest.data.sha256
    assert (document["commit"], document["dirty"], document["signed"]) == ("abc", True, False)
    assert document["channels"] == {"candidate": "current", "stable": "current"}


def test_lineage_names_earlier_channels_and_what_is_not_recorded(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    lines = to_lines(trace(bundle, "release", {"stable": [bundle.digest, "0" * 64], "other": ["1" * 64]}))
    assert lines["channels"] == "stable (earlier)"
    assert lines["image"] == "not recorded"
    assert lines["signed"] == "by release"
