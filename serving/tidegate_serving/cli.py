# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The commands ``tidegate serve`` and ``tidegate predict``.

They read options, call the package, and print; what can go wrong is said by what they call.
"""

import csv
import gc
import io
import json
import logging
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.console import OutputFormat, OutputOption, print_result
from tidegate.contract import NAME_PATTERN
from tidegate.errors import BundleError, ConfigurationError, GateNotPassedError
from tidegate.protocol.constants import Protocol
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import DRAIN_SECONDS, SHUTDOWN_TIMEOUT, EngineChoice

if TYPE_CHECKING:
    from rich.table import Table

    from tidegate.contract import Contract
    from tidegate_serving.client import Prediction, Row

_SHOWN_ROWS = 20
_LIMITS = Limits()


def serve(
    source: Annotated[
        str,
        typer.Argument(
            envvar="TIDEGATE_SOURCE",
            help="<store>/<name>@sha256:<digest>, <store>/<name>:<channel>, or a bundle's directory.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(envvar="TIDEGATE_NAME", help="The model's name in requests; the bundle's if not given."),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option(envvar="TIDEGATE_DIGEST", help="The digest that a bundle's directory must have."),
    ] = None,
    host: Annotated[str, typer.Option(envvar="TIDEGATE_HOST", help="The address to listen on.")] = "0.0.0.0",
    http_port: Annotated[
        int,
        typer.Option(envvar="TIDEGATE_HTTP_PORT", min=0, max=65535, help="REST's port; 0 takes a free one."),
    ] = 8080,
    grpc_port: Annotated[
        int,
        typer.Option(envvar="TIDEGATE_GRPC_PORT", min=0, max=65535, help="gRPC's port; 0 takes a free one."),
    ] = 8081,
    drain_seconds: Annotated[
        float,
        typer.Option(
            envvar="TIDEGATE_DRAIN_SECONDS", min=0, help="How long to go on answering after SIGTERM."
        ),
    ] = DRAIN_SECONDS,
    shutdown_timeout: Annotated[
        float,
        typer.Option(
            envvar="TIDEGATE_SHUTDOWN_TIMEOUT", min=0, help="How long what is in flight may take after that."
        ),
    ] = SHUTDOWN_TIMEOUT,
    max_rows: Annotated[
        int, typer.Option(envvar="TIDEGATE_MAX_ROWS", min=1, help="How many rows one request may have.")
    ] = _LIMITS.rows,
    max_body_bytes: Annotated[
        int, typer.Option(envvar="TIDEGATE_MAX_BODY_BYTES", min=1, help="How large a request's body may be.")
    ] = _LIMITS.body_bytes,
    engine: Annotated[
        EngineChoice, typer.Option(envvar="TIDEGATE_ENGINE", help="auto: compiled where it is proven equal.")
    ] = EngineChoice.AUTO,
    trusted_type: Annotated[
        list[str] | None,
        typer.Option(
            envvar="TIDEGATE_TRUSTED_TYPE",
            help="The full name of another type that may be built; repeatable.",
        ),
    ] = None,
    allow_joblib_digest: Annotated[
        list[str] | None,
        typer.Option(
            envvar="TIDEGATE_ALLOW_JOBLIB_DIGEST",
            help="The digest of a bundle whose pickle, model.joblib, may be opened; repeatable.",
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="TIDEGATE_CACHE_DIR", help="Where to keep pulled bundles; a temporary folder if not given."
        ),
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", envvar="TIDEGATE_ACCESS_LOG", help="Log a line a request.")
    ] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Serve a bundle with KServe's protocols: V1 and V2 over REST, V2 over gRPC.

    The bundle is verified, loaded and asked its golden questions before anything listens; a bundle that must
    not be loaded ends the command with exit code 2 and the reason. One line on standard output says when it
    is ready.
    """
    from tidegate_serving.loading.policy import TRUSTED_TYPES, Policy

    if name is not None and not re.match(NAME_PATTERN, name):
        raise ConfigurationError(
            f"The name '{name}' cannot be part of an address: expected at most 52 of a-z, 0-9 and '-'."
        )
    policy = Policy(TRUSTED_TYPES | frozenset(trusted_type or ()), frozenset(allow_joblib_digest or ()))
    _log(access_log)

    with _starting() as started, _local(source, digest, cache_dir) as (path, wanted, bundle_name):
        from tidegate_serving.predictor import Predictor
        from tidegate_serving.server import Server

        model = name or bundle_name

        def ready(http_port: int, grpc_port: int) -> None:
            started()
            served = predictor.service.model
            payload = {
                "name": model,
                "digest": served.bundle.digest,
                "engine": served.engine.name,
                "host": host,
                "http_port": http_port,
                "grpc_port": grpc_port,
            }
            if output is OutputFormat.JSON:
                print(json.dumps(payload), flush=True)
            else:
                print(
                    f"ready: {model}@sha256:{served.bundle.digest} engine={served.engine.name} "
                    f"http={host}:{http_port} grpc={host}:{grpc_port}",
                    flush=True,
                )

        server = Server(host, http_port, grpc_port, drain_seconds, shutdown_timeout, ready)
        predictor = Predictor(
            model,
            path,
            wanted,
            policy=policy,
            engine=engine,
            limits=Limits(max_rows, max_body_bytes),
        )
        predictor.load()
        server.start([predictor])


@contextmanager
def _starting() -> Iterator[Callable[[], None]]:
    """What holds until the function that it gives is called, or the block is left."""
    from tidegate_serving._lazy_imports import without

    with ExitStack() as start:
        # Whatever is made until then stays as long as the process: looking for garbage among it is in vain,
        # now and, once frozen, in every full collection later. With the next: 6 % of a start.
        gc.disable()
        start.callback(gc.enable)
        start.callback(gc.freeze)
        # FastAPI asks of every annotation whether it is a model of pydantic 1. Without that package, none is.
        start.enter_context(without("pydantic.v1"))
        yield start.close


@contextmanager
def _local(source: str, digest: str | None, cache: Path | None) -> Iterator[tuple[Path, str | None, str]]:
    """The bundle's directory, the digest it must have, and its name; without a cache for a while only."""
    from tidegate.bundle import open_bundle
    from tidegate.digest import parse_digest
    from tidegate.reference import looks_like_reference
    from tidegate.store import Store, locate

    if not looks_like_reference(source):
        path = Path(source)
        yield path, digest, open_bundle(path, digest).manifest.name
        return
    reference = locate(source)
    if digest is not None and parse_digest(digest) != reference.digest:
        raise BundleError(f"{source} is the bundle {reference.digest}, and --digest asks for {digest}.")
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        directory = (cache or Path(folder)) / reference.name / reference.digest
        Store(reference.store).pull(reference, directory)
        yield directory, reference.digest, reference.name


def _log(access_log: bool) -> None:
    """Warnings on standard error, and a line a request only if asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # KServe and uvicorn write four lines a request; a handler of its own keeps KServe from adding others.
    for logger in ("kserve", "kserve.trace", "uvicorn.access"):
        logging.getLogger(logger).handlers = [handler]
        logging.getLogger(logger).propagate = False
        logging.getLogger(logger).setLevel(logging.WARNING)
    logging.getLogger("tidegate.access").setLevel(logging.INFO if access_log else logging.WARNING)


def predict(
    url: Annotated[str, typer.Option(help="The server's REST address.")] = "http://127.0.0.1:8080",
    grpc: Annotated[str, typer.Option(help="The server's gRPC address.")] = "127.0.0.1:8081",
    model: Annotated[
        str | None, typer.Option(help="The model's name; with --golden, the bundle's if not given.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="How to ask.")] = Protocol.V2,
    rows: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help="Rows: a JSON list of rows (lists or objects), a CSV file with a header, or - for JSON on "
            "standard input.",
        ),
    ] = None,
    golden: Annotated[
        str | None,
        typer.Option(
            help="A reference or a bundle's directory: ask its golden questions and compare the answers."
        ),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Ask a server for predictions, through KServe's own clients.

    With --golden the rows are the bundle's golden questions, and the command ends with exit code 3 if an
    answer is not the one that scikit-learn gave in training.
    """
    if (rows is None) == (golden is None):
        raise ConfigurationError("Give either --input with rows or --golden with a bundle.")
    contract = None if golden is None else _contract(golden)
    asked = _rows(rows) if contract is None else list(contract.golden.rows)
    name = model or (contract.name if contract else None)
    if name is None:
        raise ConfigurationError("Give the model's name with --model.")
    for logger in ("kserve", "kserve.trace"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # a refusal would be logged with a stack trace

    from tidegate_serving import client

    address = grpc if protocol is Protocol.GRPC else url
    prediction = client.predict(address, name, protocol, asked)
    comparison = None if contract is None else _compare(contract, prediction)
    payload: dict[str, Any] = {
        "model": name,
        "version": prediction.model_version,
        "protocol": protocol.value,
        "rows": len(asked),
        "outputs": prediction.outputs,
    }
    if comparison is not None:
        payload["golden"] = {"rows": len(asked), "wrong": comparison.wrong, "equal": not comparison.wrong}
    print_result(output, payload, _table(prediction, comparison, f"{name} by {protocol.value}"))
    if comparison is not None and comparison.wrong:
        raise GateNotPassedError(
            f"{len(comparison.wrong)} of {len(asked)} golden answers are not scikit-learn's: rows "
            f"{', '.join(map(str, comparison.wrong[:10]))}."
        )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The golden answers beside which a server's stand, and the rows where they differ."""

    expected: dict[str, list[Any]]
    wrong: list[int]


def _compare(contract: "Contract", prediction: "Prediction") -> _Comparison:
    """Hold a server's answers against the golden ones; V1 answers with the first output only."""
    from tidegate.contract import close

    known = contract.golden.outputs
    expected: dict[str, list[Any]] = {name: known.get(name, []) for name in prediction.outputs}
    wrong = [
        row
        for row in range(len(contract.golden.rows))
        if not all(
            len(answers) == len(expected[name]) == len(contract.golden.rows)
            and close(answers[row], expected[name][row], contract.golden.tolerance)
            for name, answers in prediction.outputs.items()
        )
    ]
    return _Comparison(expected, wrong)


def _contract(source: str) -> "Contract":
    """The contract of a bundle, in a store or a directory."""
    from tidegate.store import fetch

    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        return fetch(source, Path(folder)).contract


def _rows(source: str | None) -> "list[Row]":
    """Rows from a file or standard input.

    Raises:
        ConfigurationError: It cannot be read, or holds something else than rows.
    """
    assert source is not None
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} cannot be read: {error}.") from None
    if source.endswith(".csv"):
        return _csv_rows(source, text)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{source} is no JSON: {error}.") from None
    if isinstance(document, dict) and "instances" in document:
        document = document["instances"]
    if (
        not isinstance(document, list)
        or not document
        or not all(isinstance(row, list | dict) for row in document)
    ):
        raise ConfigurationError(f"{source} holds no rows: expected a list of lists, or a list of objects.")
    if len({type(row) for row in document}) > 1:
        raise ConfigurationError(f"{source} mixes rows as lists with rows as objects: expected one form.")
    return document


def _csv_rows(source: str, text: str) -> "list[Row]":
    header, *lines = [line for line in csv.reader(io.StringIO(text)) if line] or [[]]
    if not lines:
        raise ConfigurationError(f"{source} holds no rows: expected a header and at least one line.")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise ConfigurationError(
                f"{source} is ragged in row {number}: expected {len(header)} values, as in the header, "
                f"received {len(line)}."
            )
    return [dict(zip(header, map(_cell, line), strict=True)) for line in lines]


def _cell(text: str) -> str | float | int | bool | None:
    """A CSV cell's value by its looks: nothing, a truth value, a number, or text."""
    if not text:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _table(prediction: "Prediction", comparison: _Comparison | None, title: str) -> "Table":
    from rich.table import Table

    table = Table("row", *prediction.outputs, title=title)
    if comparison is not None:
        table.add_column("scikit-learn")
    for row in range(min(_SHOWN_ROWS, _length(prediction))):
        cells = [_shown(answers[row]) for answers in prediction.outputs.values()]
        if comparison is not None:
            cells.append("different" if row in comparison.wrong else "equal")
        table.add_row(str(row), *cells)
    if _length(prediction) > _SHOWN_ROWS:
        table.caption = f"and {_length(prediction) - _SHOWN_ROWS} more rows"
    return table


def _length(prediction: "Prediction") -> int:
    return max((len(answers) for answers in prediction.outputs.values()), default=0)


def _shown(answer: object) -> str:
    if isinstance(answer, Sequence) and not isinstance(answer, str):
        return " ".join(_shown(value) for value in answer)
    return f"{answer:.6g}" if isinstance(answer, float) else str(answer)
