# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import gc
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.contracts import MATRIX
from tidegate.bundle import Bundle
from tidegate.console import OutputFormat
from tidegate.contract import Contract, Golden
from tidegate.csv_file import CsvFile
from tidegate.errors import BundleError, ConfigurationError, GateNotPassedError
from tidegate.protocol.constants import Protocol
from tidegate.store import Store
from tidegate.trust.policy import Policy
from tidegate_serving import cli, client
from tidegate_serving.client import Prediction

CONTRACT = MATRIX.model_copy(
    update={
        "golden": Golden(
            rows=((1.0, 2.0), (3.0, None)),
            outputs={"label": [0, 1], "probabilities": [[0.75, 0.25], [0.5, 0.5]]},
            tolerance=1e-5,
        )
    }
)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace the client by one that returns a label of 0 for each row; return its calls."""
    calls: list[tuple[Any, ...]] = []

    def predict(*arguments: Any) -> Prediction:
        calls.append(arguments)
        return Prediction("abc", {"label": [0] * len(arguments[3])})

    monkeypatch.setattr(client, "predict", predict)
    return calls


@pytest.fixture
def golden_contract(monkeypatch: pytest.MonkeyPatch) -> Contract:
    monkeypatch.setattr(cli, "_fetch_contract", lambda source: CONTRACT)
    return CONTRACT


@pytest.fixture
def _logging() -> Iterator[None]:
    names = ("", "kserve", "kserve.trace", "uvicorn.access", "tidegate.access")
    loggers = [logging.getLogger(name) for name in names]
    saved = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level_before, handlers, propagate in saved:
        logger.setLevel(level_before)
        logger.handlers = handlers
        logger.propagate = propagate


def test_cli_import_brings_no_heavy_library() -> None:
    heavy = ("sklearn", "kserve", "onnxruntime", "pandas", "grpc", "fastapi", "httpx")
    program = (
        "import sys, tidegate_serving, tidegate_serving.cli;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_predict_prints_the_outputs_as_json(
    requests: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.json").write_text("[[1, 2], [3, 4]]")
    cli.predict(model="m", rows=str(tmp_path / "rows.json"), output=OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out) == {
        "model": "m",
        "version": "abc",
        "protocol": "v2",
        "rows": 2,
        "outputs": {"label": [0, 0]},
    }
    assert requests == [("http://127.0.0.1:8080", "m", Protocol.V2, [[1, 2], [3, 4]])]


def test_predict_by_grpc_uses_the_grpc_address(requests: list[tuple[Any, ...]], tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[[1, 2]]")
    cli.predict(grpc="host:1", protocol=Protocol.GRPC, model="m", rows=str(tmp_path / "rows.json"))
    assert requests[0][0] == "host:1"


@pytest.mark.usefixtures("golden_contract", "requests")
def test_predict_golden_reports_mismatched_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GateNotPassedError, match=r"1 of 2 golden rows .*rows 1"):
        cli.predict(golden="bundle", output=OutputFormat.JSON)
    payload = json.loads(capsys.readouterr().out)
    assert payload["model"] == "test"
    assert payload["golden"] == {"rows": 2, "mismatched_rows": [1], "equal": False}


@pytest.mark.usefixtures("golden_contract")
def test_predict_golden_reports_equal_outputs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {"label": [0, 1], "probabilities": [[0.75, 0.25], [0.5, 0.500001]]}
    monkeypatch.setattr(client, "predict", lambda *arguments: Prediction("abc", outputs))
    cli.predict(golden="bundle", output=OutputFormat.JSON)
    payload = json.loads(capsys.readouterr().out)
    assert payload["golden"] == {"rows": 2, "mismatched_rows": [], "equal": True}


@pytest.mark.parametrize(("rows", "golden"), [(None, None), ("rows.json", "bundle")])
def test_predict_needs_either_rows_or_golden(rows: str | None, golden: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"--input .*--golden"):
        cli.predict(model="m", rows=rows, golden=golden)


def test_predict_of_rows_needs_a_model_name(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[[1]]")
    with pytest.raises(ConfigurationError, match="--model"):
        cli.predict(rows=str(tmp_path / "rows.json"))


@pytest.mark.parametrize(
    ("outputs", "mismatches"),
    [
        ({"label": [0, 1], "probabilities": [[0.75, 0.25], [0.5, 0.5]]}, []),
        ({"label": [0, 1]}, []),
        ({"label": [0, 0]}, [1]),
        ({"label": [0, 1], "probabilities": [[0.75, 0.26], [0.5, 0.5]]}, [0]),
        ({"label": [0]}, [0, 1]),
        ({"unheard-of": [0, 1]}, [0, 1]),
    ],
    ids=["equal", "first-output", "label", "probability", "too-few", "unknown-output"],
)
def test_mismatched_rows_compares_each_output(outputs: dict[str, list[Any]], mismatches: list[int]) -> None:
    assert cli._mismatched_rows(CONTRACT, Prediction(None, outputs)) == mismatches


def read(tmp_path: Path, name: str, content: str) -> Any:
    (tmp_path / name).write_text(content)
    return cli._read_rows(str(tmp_path / name))


@pytest.mark.parametrize("content", ["[[1, 2]]", '{"instances": [[1, 2]]}'])
def test_read_rows_accepts_lists_and_v1_documents(content: str, tmp_path: Path) -> None:
    assert read(tmp_path, "rows.json", content) == [[1, 2]]


def test_read_rows_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('[{"a": 1}]'))
    assert cli._read_rows("-") == [{"a": 1}]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[" * 200_000, "not valid JSON"),
        ("[]", "contains no rows: expected a list"),
        ("7", "contains no rows: expected a list"),
        ("[7]", "contains no rows: expected a list"),
        ('[[1], {"a": 1}]', "mixes rows as lists with rows as objects"),
    ],
    ids=["cut", "deep", "empty", "number", "list-of-numbers", "mixed"],
)
def test_read_rows_rejects_what_is_not_rows(content: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"rows\.json .*{complaint}|rows\.json {complaint}"):
        read(tmp_path, "rows.json", content)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["absent", "binary"])
def test_read_rows_rejects_an_unreadable_file(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "rows.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"rows\.json cannot be read"):
        cli._read_rows(str(tmp_path / "rows.json"))


def test_read_rows_of_csv_are_texts(tmp_path: Path) -> None:
    assert read(tmp_path, "rows.csv", "a,b\n0100,\n") == CsvFile(("a", "b"), (["0100"], [""]))


def test_table_shows_twenty_rows_and_counts_the_rest() -> None:
    table = cli._table(Prediction(None, {"label": list(range(25))}), [3], "title")
    assert table.row_count == 20
    assert table.caption == "and 5 more rows"
    verdicts = list(table.columns[-1].cells)
    assert (verdicts[3], verdicts.count("equal")) == ("different", 19)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456789, "0.123457"), ([0.5, 1.0], "0.5 1"), ("a", "a"), (7, "7"), (None, "None")],
)
def test_format_value_is_short(value: object, text: str) -> None:
    assert cli._format_value(value) == text


def test_startup_restores_garbage_collection_and_imports() -> None:
    assert gc.isenabled()
    try:
        with cli._startup() as end_startup:
            assert not gc.isenabled()
            end_startup()
            assert gc.isenabled()
        assert gc.isenabled()
        assert sys.modules.get("pydantic.v1", "absent") is not None
    finally:
        gc.unfreeze()


def test_startup_that_fails_restores_garbage_collection() -> None:
    try:
        with pytest.raises(BundleError), cli._startup():
            raise BundleError("broken")
        assert gc.isenabled()
    finally:
        gc.unfreeze()


@pytest.mark.usefixtures("_logging")
def test_configure_logging_leaves_requests_to_the_access_log(capsys: pytest.CaptureFixture[str]) -> None:
    cli._configure_logging()
    logging.getLogger("tidegate.access").info('{"code":"200"}')
    assert capsys.readouterr().err == '{"code":"200"}\n'
    for name in ("kserve", "kserve.trace", "uvicorn.access"):
        assert logging.getLogger(name).level == logging.WARNING
        assert not logging.getLogger(name).propagate
        assert len(logging.getLogger(name).handlers) == 1


def test_local_bundle_of_a_directory_keeps_the_digest(numeric_bundle: Bundle) -> None:
    with cli._local_bundle(str(numeric_bundle.path), numeric_bundle.digest, None, Policy()) as found:
        assert found == (numeric_bundle.path, numeric_bundle.digest, "tumour")


def test_local_bundle_of_a_reference_is_pulled(numeric_bundle: Bundle, tmp_path: Path) -> None:
    reference = Store((tmp_path / "store").as_uri()).push(numeric_bundle)
    with cli._local_bundle(str(reference), None, None, Policy()) as (path, digest, name):
        assert (path / "manifest.json").is_file()
        assert (digest, name) == (numeric_bundle.digest, "tumour")
    assert not path.exists(), "without a cache, the folder is temporary"
    with cli._local_bundle(str(reference), None, tmp_path / "cache", Policy()) as (path, _, _):
        assert path == tmp_path / "cache" / "tumour" / numeric_bundle.digest
    assert path.exists()


def test_local_bundle_rejects_another_digest(numeric_bundle: Bundle, tmp_path: Path) -> None:
    reference = Store((tmp_path / "store").as_uri()).push(numeric_bundle)
    with pytest.raises(BundleError) as caught, cli._local_bundle(str(reference), "0" * 64, None, Policy()):
        pass
    assert "0" * 64 in str(caught.value)
    assert f"received {numeric_bundle.digest}" in str(caught.value)


@pytest.mark.parametrize("name", ["bad name", "a/b", "", "A", "a" * 53])
def test_serve_rejects_a_name_that_cannot_be_in_a_url(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' cannot be part of a URL: expected "):
        cli.serve("somewhere", name=name)


def test_serve_rejects_headers_without_the_access_log() -> None:
    with pytest.raises(ConfigurationError, match="give --access-log, too"):
        cli.serve("somewhere", access_log_header=["X-Client-Id"])


@pytest.mark.usefixtures("_logging")
def test_serve_rejects_a_predictor_before_the_bundle_is_read() -> None:
    with pytest.raises(ConfigurationError, match="The predictor nowhere:Own cannot be imported"):
        cli.serve("file:///no/such/store/m:stable", predictor="nowhere:Own")
