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

from tests.protocol.clients import one_row, predict
from tests.support.ports import ipv6_is_available
from tests.support.servers import TIDEGATE, LiveServer, serving
from tests.support.trained_bundles import altered
from tidegate.bundle import Bundle
from tidegate.cli import main
from tidegate.protocol.requests import v1_body
from tidegate.store import Store
from tidegate_serving.client import Prediction


@dataclass
class Completed:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Completed]

ROW = {"grade": "low", "age": 41.5, "visits": 3, "city": "Oslo", "smoker": True}
"""A row of ``mixed_server``."""

PROTOCOLS = ["v1", "v2", "v2-binary", "grpc"]


@pytest.fixture
def tidegate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, run in this process."""

    def run(*arguments: object, stdin: str = "") -> Completed:
        monkeypatch.setattr("sys.argv", ["tidegate", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Completed(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def predict_command(tidegate: Command) -> Command:
    """``tidegate predict`` on a server."""

    def run(server: LiveServer, *options: object, stdin: str = "") -> Completed:
        return tidegate("predict", "--url", server.http, "--grpc", server.grpc, *options, stdin=stdin)

    return run


def run_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a server needs it."""
    return subprocess.run([*TIDEGATE, *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_predict_golden_requests_are_equal(
    predict_command: Command, protocol: str, mixed_server: LiveServer
) -> None:
    options = ("--protocol", protocol, "--golden", mixed_server.bundle.path, "--output", "json")
    done = predict_command(mixed_server, *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["golden"]["equal"] is True
    assert document["rows"] == document["golden"]["rows"] == len(document["outputs"]["label"])
    assert document["version"] == mixed_server.bundle.digest[:12]


def test_predict_golden_requests_of_another_model_exit_with_3(
    predict_command: Command, numeric_server: LiveServer, numeric_bundle: Bundle, tmp_path: Path
) -> None:
    def change(path: Path) -> None:
        contract = json.loads((path / "contract.json").read_bytes())
        contract["golden"]["outputs"]["probabilities"][2][0] += 0.1
        (path / "contract.json").write_text(json.dumps(contract))

    other = altered(numeric_bundle, tmp_path / "other", change)
    done = predict_command(numeric_server, "--golden", other.path)
    assert done.returncode == 3
    assert "rows 2" in done.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_predict_reads_rows_by_name_from_csv(
    predict_command: Command, protocol: str, mixed_server: LiveServer, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("grade,age,visits,city,smoker\nlow,41.5,3,Oslo,true\nhigh,,0,Bern,false\n")
    options = ("--model", "mixed", "--protocol", protocol, "--input", rows, "--output", "json")
    done = predict_command(mixed_server, *options)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["outputs"]["label"]) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_predict_csv_text_that_is_no_number_exits_with_2(
    predict_command: Command, protocol: str, mixed_server: LiveServer, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("grade,age,visits,city,smoker\nlow,41.5,3,Oslo,true\nhigh,old,0,Bern,false\n")
    options = ("--model", "mixed", "--protocol", protocol, "--input", rows)
    done = predict_command(mixed_server, *options)
    assert done.returncode == 2
    assert "Row 2 has the text 'old' in the column 'age'" in done.stderr.replace("\n", " ")


def test_predict_reads_rows_from_standard_input(predict_command: Command, mixed_server: LiveServer) -> None:
    rows = json.dumps([ROW | {"age": None}])
    done = predict_command(mixed_server, "--model", "mixed", "--input", "-", stdin=rows)
    assert done.returncode == 0, done.stderr
    assert "label" in done.stdout


@pytest.mark.parametrize(
    ("protocol", "status"), [("v1", "400"), ("v2", "400"), ("v2-binary", "400"), ("grpc", "INVALID_ARGUMENT")]
)
def test_predict_shows_the_servers_error_and_exits_with_2(
    predict_command: Command, protocol: str, status: str, mixed_server: LiveServer
) -> None:
    options = ("--model", "mixed", "--protocol", protocol, "--input", "-")
    done = predict_command(mixed_server, *options, stdin=json.dumps([ROW | {"grade": "lowest"}]))
    assert done.returncode == 2
    assert status in done.stderr
    assert "'high', 'low', 'mid'" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc"])
def test_predict_unreachable_server_exits_with_1(tidegate: Command, protocol: str) -> None:
    address = ("--url", "http://127.0.0.1:1", "--grpc", "127.0.0.1:1")
    options = ("--model", "m", "--input", "-", "--protocol", protocol)
    done = tidegate("predict", *address, *options, stdin="[[1]]")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rows", ["{", "[]", "7", "[7]", '[[1], {"a": 1}]', "[" * 200_000])
def test_predict_input_without_rows_exits_with_2(tidegate: Command, rows: str) -> None:
    done = tidegate("predict", "--model", "m", "--input", "-", stdin=rows)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2,3\n", "ragged in line 2: expected 2 values as in the header, received 3"),
        ("a,b\n", "a header and no rows"),
        ("", "is empty"),
    ],
)
def test_predict_incomplete_csv_exits_with_2(
    content: str, message: str, tidegate: Command, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(content)
    done = tidegate("predict", "--model", "m", "--input", tmp_path / "rows.csv")
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")


def test_predict_shows_names_with_square_brackets(tidegate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = Prediction(None, {"len [mm]": ["[/a]"]})
    monkeypatch.setattr("tidegate_serving.client.predict", lambda *arguments: prediction)
    done = tidegate("predict", "--model", "[m]", "--input", "-", stdin="[[1]]")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("len [mm]", "[/a]", "[m] by v2"))


@pytest.mark.parametrize("name", ["bad name", "a/b", "", "A"])
def test_serve_name_that_no_url_allows_exits_with_2(name: str, tidegate: Command) -> None:
    done = tidegate("serve", "somewhere", "--name", name)
    assert done.returncode == 2
    message = done.stderr.replace("\n", " ")
    assert f"'{name}'" in message
    assert "cannot be part of" in message
    assert "expected at most 52 of a-z, 0-9 and '-'" in message


def test_serve_listens_on_ipv4_and_ipv6(regression_bundle: Bundle) -> None:
    options = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--output", "json")
    server = subprocess.Popen(
        [*TIDEGATE, "serve", str(regression_bundle.path), *options], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    with server:
        ports = json.loads(server.stdout.readline())
        for host in ("127.0.0.1", "[::1]") if ipv6_is_available() else ("127.0.0.1",):
            assert (
                httpx.get(f"http://{host}:{ports['http_port']}/v2/health/ready", timeout=30).status_code
                == 200
            )
            assert httpx.get(f"http://{host}:{ports['metrics_port']}/metrics", timeout=30).status_code == 200
            with grpc.insecure_channel(f"{host}:{ports['grpc_port']}") as channel:
                grpc.channel_ready_future(channel).result(20)
        server.send_signal(signal.SIGINT)
    assert server.returncode == 0


def test_serve_compiled_model_imports_only_what_it_needs(numeric_bundle: Bundle) -> None:
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


def test_serve_channel_of_a_store_under_another_name(
    tidegate: Command, regression_bundle: Bundle, tmp_path: Path
) -> None:
    store = Store((tmp_path / "store").as_uri())
    reference = store.push(regression_bundle)
    channel = str(store.move_channel("diabetes", "stable", reference.digest))
    with serving(regression_bundle, tmp_path / "log", "--name", "other", source=channel) as server:
        assert server.name == "other"
        assert predict(server, v1_body(regression_bundle.contract, one_row(server))).status_code == 200
    mismatch = tidegate("serve", reference, "--digest", "0" * 64)
    assert mismatch.returncode == 2
    assert reference.digest in mismatch.stderr.replace("\n", "")


def test_serve_untrusted_bundle_exits_with_2_and_the_reason(joblib_bundle: Bundle) -> None:
    options = ("--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0")
    done = run_process("serve", joblib_bundle.path, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pickle" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_allows_a_pickle_by_its_digest(joblib_bundle: Bundle, tmp_path: Path) -> None:
    options = ("--engine", "sklearn", "--allow-joblib-digest", f"sha256:{joblib_bundle.digest}")
    with serving(joblib_bundle, tmp_path / "log", *options) as server:
        assert httpx.get(f"{server.http}/v2/health/ready", timeout=30).status_code == 200


def test_serve_port_in_use_exits_with_2_and_names_the_option(
    tidegate: Command, regression_bundle: Bundle
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ["serve", regression_bundle.path, "--host", "127.0.0.1"]
        http = tidegate(*options, "--http-port", port, "--grpc-port", "0")
        grpc = tidegate(*options, "--http-port", "0", "--grpc-port", port)
    for done, option in ((http, "--http-port"), (grpc, "--grpc-port")):
        assert done.returncode == 2
        assert str(port) in done.stderr
        assert option in done.stderr
        assert "Traceback" not in done.stderr
