# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from tidegate_serving.client import Prediction

from tests.conftest import TIDEGATE, LiveServer, altered, serving
from tests.protocol.test_rest import predict
from tidegate.bundle import Bundle
from tidegate.cli import main
from tidegate.protocol.requests import sample_rows, v1_body
from tidegate.store import Store


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Ask = Callable[..., Done]


@pytest.fixture
def tidegate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The command line, run in this process."""

    def run(*arguments: object, stdin: str = "") -> Done:
        monkeypatch.setattr("sys.argv", ["tidegate", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def ask(tidegate: Ask) -> Ask:
    """``tidegate predict`` on a server."""

    def run(server: LiveServer, *options: object, stdin: str = "") -> Done:
        return tidegate("predict", "--url", server.http, "--grpc", server.grpc, *options, stdin=stdin)

    return run


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as a server wants it."""
    return subprocess.run([*TIDEGATE, *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("protocol", ["v1", "v2", "v2-binary", "grpc"])
def test_golden_answers_are_equal_by_every_protocol(
    ask: Ask, protocol: str, mixed_server: LiveServer
) -> None:
    done = ask(mixed_server, "--protocol", protocol, "--golden", mixed_server.bundle.path, "--output", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["golden"]["equal"] is True
    assert answer["rows"] == answer["golden"]["rows"] == len(answer["outputs"]["label"])
    assert answer["version"] == mixed_server.bundle.digest[:12]


def test_another_models_golden_questions_end_with_a_gate_not_passed(
    ask: Ask, numeric_server: LiveServer, numeric_bundle: Bundle, tmp_path: Path
) -> None:
    def change(path: Path) -> None:
        contract = json.loads((path / "contract.json").read_bytes())
        contract["golden"]["outputs"]["probabilities"][2][0] += 0.1
        (path / "contract.json").write_text(json.dumps(contract))

    other = altered(numeric_bundle, tmp_path / "other", change)
    done = ask(numeric_server, "--golden", other.path)
    assert done.returncode == 3
    assert "rows 2" in done.stderr


@pytest.mark.parametrize("protocol", ["v1", "v2", "v2-binary", "grpc"])
def test_rows_by_name_are_read_from_a_csv_file(
    ask: Ask, protocol: str, mixed_server: LiveServer, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("grade,age,visits,city,smoker\nlow,41.5,3,Oslo,true\nhigh,,0,Bern,false\n")
    done = ask(mixed_server, "--model", "mixed", "--protocol", protocol, "--input", rows, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["outputs"]["label"]) == 2


def test_rows_are_read_from_standard_input(ask: Ask, mixed_server: LiveServer) -> None:
    rows = json.dumps([{"grade": "low", "age": None, "visits": 3, "city": "Oslo", "smoker": True}])
    done = ask(mixed_server, "--model", "mixed", "--input", "-", stdin=rows)
    assert done.returncode == 0, done.stderr
    assert "label" in done.stdout


@pytest.mark.parametrize(
    ("protocol", "code"), [("v1", "400"), ("v2", "400"), ("v2-binary", "400"), ("grpc", "INVALID_ARGUMENT")]
)
def test_the_servers_sentence_is_shown_and_the_exit_code_is_2(
    ask: Ask, protocol: str, code: str, mixed_server: LiveServer
) -> None:
    rows = json.dumps([{"grade": "lowest", "age": 1.0, "visits": 3, "city": "Oslo", "smoker": True}])
    done = ask(mixed_server, "--model", "mixed", "--protocol", protocol, "--input", "-", stdin=rows)
    assert done.returncode == 2
    assert code in done.stderr
    assert "'high', 'low', 'mid'" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc"])
def test_a_server_that_is_not_there_is_a_failure_worth_another_try(tidegate: Ask, protocol: str) -> None:
    nowhere = ("--url", "http://127.0.0.1:1", "--grpc", "127.0.0.1:1", "--model", "m", "--input", "-")
    done = tidegate("predict", *nowhere, "--protocol", protocol, stdin="[[1]]")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rows", ["{", "[]", "7", "[7]", '[[1], {"a": 1}]', "[" * 200_000])
def test_input_that_holds_no_rows_is_refused(tidegate: Ask, rows: str) -> None:
    done = tidegate("predict", "--model", "m", "--input", "-", stdin=rows)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("a,b\n1,2,3\n", "row 1: expected 2 values"), ("a,b\n", "at least one line"), ("", "at least one line")],
)
def test_a_csv_file_without_whole_rows_is_refused(
    content: str, complaint: str, tidegate: Ask, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(content)
    done = tidegate("predict", "--model", "m", "--input", tmp_path / "rows.csv")
    assert done.returncode == 2
    assert complaint in done.stderr.replace("\n", " ")


def test_names_with_square_brackets_are_shown_as_they_are(
    tidegate: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Prediction(None, {"len [mm]": ["[/a]"]})
    monkeypatch.setattr("tidegate_serving.client.predict", lambda *arguments: answer)
    done = tidegate("predict", "--model", "[m]", "--input", "-", stdin="[[1]]")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("len [mm]", "[/a]", "[m] by v2"))


@pytest.mark.parametrize("name", ["bad name", "a/b", "", "A"])
def test_a_name_that_no_address_can_have_is_refused(name: str, tidegate: Ask) -> None:
    done = tidegate("serve", "somewhere", "--name", name)
    assert done.returncode == 2
    assert "cannot be part of a URL" in done.stderr


def test_the_server_listens_on_ipv6(regression_bundle: Bundle, tmp_path: Path) -> None:
    options = ("--host", "::1", "--http-port", "0", "--grpc-port", "0", "--output", "json")
    server = subprocess.Popen(
        [*TIDEGATE, "serve", str(regression_bundle.path), *options], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    with server:
        ports = json.loads(server.stdout.readline())
        ready = httpx.get(f"http://[::1]:{ports['http_port']}/v2/health/ready")
        with grpc.insecure_channel(f"[::1]:{ports['grpc_port']}") as channel:
            grpc.channel_ready_future(channel).result(20)
        server.send_signal(signal.SIGINT)
    assert ready.status_code == 200
    assert server.returncode == 0


def test_a_ready_server_of_a_compiled_model_holds_nothing_that_it_does_not_need(
    numeric_bundle: Bundle,
) -> None:
    needless = {
        *("sklearn", "scipy", "skops", "joblib"),  # for the other engine
        *("pandas", "pyarrow", "psutil", "pydantic.v1", "httpx._main", "pygments"),
        *("kserve.api", "kserve.models", "kubernetes", "requests", "tabulate"),  # KServe's Kubernetes client
    }
    program = (
        "import atexit, json, sys; atexit.register(lambda: print(json.dumps(list(sys.modules))));"
        "from tidegate.cli import main; main()"
    )
    options = ("--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--output", "json")
    server = subprocess.Popen(
        [sys.executable, "-c", program, "serve", str(numeric_bundle.path), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    with server:
        assert json.loads(server.stdout.readline())["engine"] == "onnx"
        server.send_signal(signal.SIGINT)
        modules = set(json.loads(server.stdout.readline()))
    assert {"kserve.model_server", "onnxruntime"} <= modules
    assert not needless & modules


def test_a_bundle_is_served_from_a_stores_channel_under_another_name(
    tidegate: Ask, regression_bundle: Bundle, tmp_path: Path
) -> None:
    store = Store((tmp_path / "store").as_uri())
    reference = store.push(regression_bundle)
    channel = str(store.move_channel("diabetes", "stable", reference.digest))
    with serving(regression_bundle, tmp_path / "log", "--name", "other", source=channel) as server:
        contract = regression_bundle.contract
        assert server.name == "other"
        assert predict(server, v1_body(contract, sample_rows(contract, 1, 0))).status_code == 200
    wrong = tidegate("serve", reference, "--digest", "0" * 64)
    assert wrong.returncode == 2
    assert reference.digest in wrong.stderr.replace("\n", "")


def test_a_bundle_that_must_not_load_ends_the_server_with_2_and_the_reason(
    joblib_bundle: Bundle, tmp_path: Path
) -> None:
    done = run("serve", joblib_bundle.path, "--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pickle" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pickle_is_allowed_by_its_digest_as_it_is_printed(joblib_bundle: Bundle, tmp_path: Path) -> None:
    options = ("--engine", "sklearn", "--allow-joblib-digest", f"sha256:{joblib_bundle.digest}")
    with serving(joblib_bundle, tmp_path / "log", *options) as server:
        assert httpx.get(f"{server.http}/v2/health/ready").status_code == 200


def test_a_port_that_is_taken_is_told_in_a_sentence(tidegate: Ask, regression_bundle: Bundle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ["serve", regression_bundle.path, "--host", "127.0.0.1"]
        rest = tidegate(*options, "--http-port", port, "--grpc-port", "0")
        grpc = tidegate(*options, "--http-port", "0", "--grpc-port", port)
    for done, option in ((rest, "--http-port"), (grpc, "--grpc-port")):
        assert done.returncode == 2
        assert option in done.stderr
        assert "Traceback" not in done.stderr
