# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The commands ``tidegate serve`` and ``tidegate predict``.

They read options, call the package, and print. The called modules validate and raise the errors.
"""

import gc
import json
import logging
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.console import OutputFormat, OutputOption, print_result
from tidegate.contract import NAME_PATTERN
from tidegate.errors import BundleError, ConfigurationError, GateNotPassedError
from tidegate.options import (
    JoblibDigestOption,
    PolicyOption,
    TrustedTypeOption,
    combine_policy,
    reject_empty,
)
from tidegate.protocol.constants import PAIRS_PORT, Protocol
from tidegate_serving.codecs.request import Limits
from tidegate_serving.config import (
    ALL_ADDRESSES,
    DRAIN_SECONDS,
    MAX_QUEUE_DELAY,
    REQUEST_SAMPLE_HOURLY_BYTES,
    REQUEST_SAMPLE_RATE,
    SHUTDOWN_TIMEOUT,
    EngineChoice,
    GrpcTransport,
    Recording,
    RequestSampleOptions,
    SampledSensitivity,
)

if TYPE_CHECKING:
    from rich.table import Table

    from tidegate.contract import Contract
    from tidegate.csv_file import CsvFile
    from tidegate.trust.policy import Policy
    from tidegate_serving.client import Prediction, Row
    from tidegate_serving.predictor import Predictor
    from tidegate_serving.tls import CertificateFiles

_MAX_SHOWN_ROWS = 20
_LIMITS = Limits()

EngineOption = Annotated[
    EngineChoice,
    typer.Option(envvar="TIDEGATE_ENGINE", help="auto: the compiled model if it is proven equal."),
]
PredictorOption = Annotated[
    str | None,
    typer.Option(
        envvar="TIDEGATE_PREDICTOR",
        help="A subclass of tidegate_serving.Predictor, as package.module:Class, whose hooks run around the "
        "model.",
    ),
]


def _port_option(envvar: str, text: str) -> Any:
    return typer.Option(envvar=envvar, min=0, max=65535, help=text)


def serve(
    source: Annotated[
        str,
        typer.Argument(
            envvar="TIDEGATE_SOURCE",
            help="<store>/<name>@sha256:<digest>, <store>/<name>:<channel>, mlflow://models/<name>@<alias>, "
            "or a bundle's directory.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            envvar="TIDEGATE_NAME", help="The model's name in requests; default: the bundle's name."
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option(envvar="TIDEGATE_DIGEST", help="The expected digest of a bundle's directory."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            envvar="TIDEGATE_HOST",
            help="The address to listen on. The default is every address of IPv6 and IPv4, and of IPv4 alone "
            "where IPv6 is absent.",
        ),
    ] = ALL_ADDRESSES,
    http_port: Annotated[
        int, _port_option("TIDEGATE_HTTP_PORT", "The port for REST; 0 selects a free one.")
    ] = 8080,
    grpc_port: Annotated[
        int, _port_option("TIDEGATE_GRPC_PORT", "The port for gRPC; 0 selects a free one.")
    ] = 8081,
    metrics_port: Annotated[
        int | None,
        _port_option(
            "TIDEGATE_METRICS_PORT",
            "The port for /metrics; 0 selects a free one. Default: the port for REST.",
        ),
    ] = None,
    shadow_http_port: Annotated[
        int | None,
        _port_option(
            "TIDEGATE_SHADOW_HTTP_PORT",
            "The port for mirrored requests over REST; 0 selects a free one. Default: none.",
        ),
    ] = None,
    shadow_grpc_port: Annotated[
        int | None,
        _port_option(
            "TIDEGATE_SHADOW_GRPC_PORT",
            "The port for mirrored requests over gRPC; 0 selects a free one. Default: none.",
        ),
    ] = None,
    grpc_transport: Annotated[
        GrpcTransport,
        typer.Option(
            envvar="TIDEGATE_GRPC_TRANSPORT",
            help="The implementation of gRPC's protocol: asyncio, the server's own, or grpcio, the package.",
        ),
    ] = GrpcTransport.ASYNCIO,
    ssl_certfile: Annotated[
        Path | None,
        typer.Option(
            envvar="KSERVE_TLS_CERT_FILE",
            help="The certificate for TLS over REST and gRPC, also of mirrored requests, in PEM. A changed "
            "file is used from the next connection on. The metrics port has no TLS.",
        ),
    ] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(envvar="KSERVE_TLS_KEY_FILE", help="The key of the certificate, in PEM.")
    ] = None,
    drain_seconds: Annotated[
        float,
        typer.Option(
            envvar="TIDEGATE_DRAIN_SECONDS",
            min=0,
            help="The time in seconds after SIGTERM in which new requests are accepted.",
        ),
    ] = DRAIN_SECONDS,
    shutdown_timeout: Annotated[
        float,
        typer.Option(
            envvar="TIDEGATE_SHUTDOWN_TIMEOUT",
            min=0,
            help="The time in seconds that requests in flight have after the drain.",
        ),
    ] = SHUTDOWN_TIMEOUT,
    max_rows: Annotated[
        int, typer.Option(envvar="TIDEGATE_MAX_ROWS", min=1, help="The largest number of rows per request.")
    ] = _LIMITS.rows,
    max_body_bytes: Annotated[
        int,
        typer.Option(
            envvar="TIDEGATE_MAX_BODY_BYTES", min=1, help="The largest body of a request, in bytes."
        ),
    ] = _LIMITS.body_bytes,
    max_queue_delay: Annotated[
        float,
        typer.Option(
            envvar="TIDEGATE_MAX_QUEUE_DELAY",
            min=0.01,
            help="The longest time in seconds that a request may wait for the engine. A request that would "
            "wait longer is rejected with 429.",
        ),
    ] = MAX_QUEUE_DELAY,
    engine: EngineOption = EngineChoice.AUTO,
    predictor: PredictorOption = None,
    policy: PolicyOption = None,
    trusted_type: TrustedTypeOption = None,
    allow_joblib_digest: JoblibDigestOption = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="TIDEGATE_CACHE_DIR", help="The folder for pulled bundles; default: a temporary one."
        ),
    ] = None,
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log",
            envvar="TIDEGATE_ACCESS_LOG",
            help="Write a line of JSON per response to standard error.",
        ),
    ] = False,
    access_log_header: Annotated[
        list[str] | None,
        typer.Option(
            envvar="TIDEGATE_ACCESS_LOG_HEADER",
            help="A header whose value the access log has, such as the client's name from a gateway; "
            "repeatable.",
        ),
    ] = None,
    traces: Annotated[
        bool,
        typer.Option(
            "--traces",
            envvar="TIDEGATE_TRACES",
            help="Export an OpenTelemetry span per response; the variables OTEL_… configure the exporter.",
        ),
    ] = False,
    pairs_sample_rate: Annotated[
        float,
        typer.Option(
            envvar="TIDEGATE_PAIRS_SAMPLE_RATE",
            min=0,
            max=1,
            help="The fraction of the requests whose predictions are kept in memory, to compare them with "
            "those of another server; 0 keeps none.",
        ),
    ] = 0.0,
    pairs_port: Annotated[
        int,
        _port_option(
            "TIDEGATE_PAIRS_PORT", "The port for /pairs on the loopback interface; 0 selects a free one."
        ),
    ] = PAIRS_PORT,
    pairs_key: Annotated[
        str | None,
        typer.Option(
            envvar="TIDEGATE_PAIRS_KEY",
            callback=reject_empty("TIDEGATE_PAIRS_KEY", "the key"),
            help="A secret that both tracks of a release share, with which hashes in /pairs are keyed. Set "
            "the variable: other users of a machine can read the options of a process.",
        ),
    ] = None,
    request_sample_url: Annotated[
        str | None,
        typer.Option(
            envvar="TIDEGATE_REQUEST_SAMPLE_URL",
            help="A folder, or a bucket with a prefix such as s3://samples/team, that receives a sample of "
            "the requests with their outputs. Default: none is written.",
        ),
    ] = None,
    request_sample_rate: Annotated[
        float,
        typer.Option(
            envvar="TIDEGATE_REQUEST_SAMPLE_RATE",
            min=0,
            max=1,
            help="The fraction of the requests with an X-Request-Id in the request sample.",
        ),
    ] = REQUEST_SAMPLE_RATE,
    request_sample_sensitivity: Annotated[
        SampledSensitivity,
        typer.Option(
            envvar="TIDEGATE_REQUEST_SAMPLE_SENSITIVITY",
            help="The highest sensitivity of a feature in the request sample.",
        ),
    ] = SampledSensitivity.PUBLIC,
    request_sample_hourly_bytes: Annotated[
        int,
        typer.Option(
            envvar="TIDEGATE_REQUEST_SAMPLE_HOURLY_BYTES",
            min=0,
            help="The bytes that the server writes to the request sample per hour.",
        ),
    ] = REQUEST_SAMPLE_HOURLY_BYTES,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Serve a bundle with KServe's protocols: V1 and V2 over REST, V2 over gRPC.

    The bundle is verified and loaded, and its golden requests are run, before the server listens. A bundle
    that must not be loaded ends the command with exit code 2 and the reason. When the server is ready, the
    command prints one line on standard output.
    """
    if name is not None and not re.match(NAME_PATTERN, name):
        raise ConfigurationError(
            f"The name '{name}' cannot be part of a URL: expected at most 52 of a-z, 0-9 and '-'."
        )
    if access_log_header and not access_log:
        raise ConfigurationError(
            "--access-log-header names headers of the access log; give --access-log, too."
        )
    if (ssl_certfile is None) != (ssl_keyfile is None):
        raise ConfigurationError("TLS needs both --ssl-certfile and --ssl-keyfile; give the other one, too.")
    deployed = combine_policy(policy, trusted_type, allow_joblib_digest)
    _configure_logging()

    # Before the startup's settings, because the module of a user may need what they hide.
    own_class = None if predictor is None else _import_predictor(predictor)

    with (
        _startup() as end_startup,
        _local_bundle(source, digest, cache_dir, deployed) as (path, expected_digest, bundle_name),
    ):
        from tidegate_serving.predictor import Predictor
        from tidegate_serving.server import Address, Server

        model = name or bundle_name

        def print_ready(address: Address) -> None:
            end_startup()
            loaded = served.service.model
            payload = {
                "name": model,
                "digest": loaded.bundle.digest,
                "engine": loaded.engine.name,
                "signer": loaded.signer,
                "predictor": predictor,
                **asdict(address),
            }
            if output is OutputFormat.JSON:
                print(json.dumps(payload), flush=True)
            else:
                own = "" if predictor is None else f"predictor={predictor} "
                signer = "" if loaded.signer is None else f"signer={loaded.signer!r} "
                print(
                    f"ready: {model}@sha256:{loaded.bundle.digest} engine={loaded.engine.name} "
                    f"{signer}{own}{address}",
                    flush=True,
                )

        server = Server(
            host,
            http_port,
            grpc_port,
            metrics_port,
            drain_seconds,
            shutdown_timeout,
            print_ready,
            Recording(
                access_log,
                tuple(access_log_header or ()),
                traces,
                pairs_sample_rate,
                pairs_port,
                pairs_key,
                None
                if request_sample_url is None
                else RequestSampleOptions(
                    request_sample_url,
                    request_sample_rate,
                    request_sample_sensitivity,
                    request_sample_hourly_bytes,
                ),
            ),
            shadow_http_port,
            shadow_grpc_port,
            _certificate(ssl_certfile, ssl_keyfile),
            grpc_transport,
        )
        served = (own_class or Predictor)(
            model,
            path,
            expected_digest,
            policy=deployed,
            engine=engine,
            limits=Limits(max_rows, max_body_bytes),
            max_queue_delay=max_queue_delay,
        )
        served.load()
        server.start([served])


def _certificate(chain: Path | None, key: Path | None) -> "CertificateFiles | None":
    if chain is None or key is None:
        return None
    from tidegate_serving.tls import CertificateFiles

    return CertificateFiles(chain, key)


def _import_predictor(path: str) -> "type[Predictor]":
    from tidegate_serving.predictor import import_predictor

    return import_predictor(path)


@contextmanager
def _startup() -> Iterator[Callable[[], None]]:
    """Apply settings that make a start faster, until the yielded function is called or the block ends."""
    from tidegate_serving._lazy_imports import hidden

    with ExitStack() as settings:
        # The objects of the startup live as long as the process, so collecting garbage finds none. Frozen,
        # they are skipped by every later collection.
        gc.disable()
        settings.callback(gc.enable)
        settings.callback(gc.freeze)
        # FastAPI tests each annotation for being a model of pydantic 1. Without that package, none is one.
        settings.enter_context(hidden("pydantic.v1"))
        yield settings.close


@contextmanager
def _local_bundle(
    source: str, digest: str | None, cache: Path | None, policy: "Policy"
) -> Iterator[tuple[Path, str | None, str]]:
    """Provide a bundle's directory, expected digest and name; without a cache, the directory is temporary."""
    from tidegate.bundle import open_bundle
    from tidegate.digest import parse_digest
    from tidegate.reference import looks_like_reference
    from tidegate.store import Store, locate
    from tidegate.trust.admission import admit

    if not looks_like_reference(source):
        path = Path(source)
        yield path, digest, open_bundle(path, digest).manifest.name
        return
    reference = locate(source)
    if digest is not None and parse_digest(digest) != reference.digest:
        raise BundleError(f"{source}: expected the digest {digest} of --digest, received {reference.digest}.")
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        directory = (cache or Path(folder)) / reference.name / reference.digest
        Store(reference.store).pull(reference, directory, admit=lambda bundle: admit(bundle, policy))
        yield directory, reference.digest, reference.name


def _configure_logging() -> None:
    """Log warnings to standard error, and the access log without a prefix, because each line is JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # KServe and uvicorn log four lines per request. KServe adds its own handlers to a logger without
    # handlers.
    for logger in ("kserve", "kserve.trace", "uvicorn.access"):
        logging.getLogger(logger).handlers = [handler]
        logging.getLogger(logger).propagate = False
        logging.getLogger(logger).setLevel(logging.WARNING)
    access = logging.getLogger("tidegate.access")
    access.handlers = [logging.StreamHandler(sys.stderr)]
    access.propagate = False
    access.setLevel(logging.INFO)


def predict(
    url: Annotated[str, typer.Option(help="The server's REST address.")] = "http://127.0.0.1:8080",
    grpc: Annotated[
        str, typer.Option(help="The server's gRPC address; with TLS as https://host:port.")
    ] = "127.0.0.1:8081",
    model: Annotated[
        str | None, typer.Option(help="The model's name; default with --golden: the bundle's name.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="The protocol of the request.")] = Protocol.V2,
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
            help="A reference or a bundle's directory: send its golden requests and compare the outputs."
        ),
    ] = None,
    predictor: PredictorOption = None,
    engine: EngineOption = EngineChoice.AUTO,
    policy: PolicyOption = None,
    trusted_type: TrustedTypeOption = None,
    allow_joblib_digest: JoblibDigestOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Request predictions from a server, through KServe's own clients.

    With --golden, the rows are the bundle's golden rows. If an output differs from the one that scikit-learn
    computed in training, the command ends with exit code 3. With --predictor, the outputs are compared with
    those that the class computes here; give the server's options for loading the bundle, too.
    """
    if (rows is None) == (golden is None):
        raise ConfigurationError("Give either --input with rows or --golden with a bundle.")
    if golden is None:
        contract = None
    elif predictor is None:
        contract = _fetch_contract(golden)
    else:
        deployed = combine_policy(policy, trusted_type, allow_joblib_digest)
        contract = _contract_of_predictor(golden, _import_predictor(predictor), engine, deployed)
    if contract is None:
        assert rows is not None  # one of both is given
        requested = _read_rows(rows)
    else:
        requested = list(contract.golden.rows)
    name = model or (contract.name if contract else None)
    if name is None:
        raise ConfigurationError("Give the model's name with --model.")
    for logger in ("kserve", "kserve.trace"):
        # KServe would log an error response with a stack trace.
        logging.getLogger(logger).setLevel(logging.CRITICAL)

    from tidegate_serving import client

    address = grpc if protocol is Protocol.GRPC else url
    prediction = client.predict(address, name, protocol, requested)
    mismatches = None if contract is None else _mismatched_rows(contract, prediction)
    payload: dict[str, Any] = {
        "model": name,
        "version": prediction.model_version,
        "protocol": protocol.value,
        "rows": len(requested),
        "outputs": prediction.outputs,
    }
    if mismatches is not None:
        payload["golden"] = {
            "rows": len(requested),
            "mismatched_rows": mismatches,
            "equal": not mismatches,
        }
    reference = predictor or "scikit-learn"
    print_result(output, payload, _table(prediction, mismatches, f"{name} by {protocol.value}", reference))
    if mismatches:
        raise GateNotPassedError(
            f"{len(mismatches)} of {len(requested)} golden rows have other outputs than {reference} "
            f"computed: rows {', '.join(map(str, mismatches[:10]))}."
        )


def _mismatched_rows(contract: "Contract", prediction: "Prediction") -> list[int]:
    """Return the golden rows whose outputs differ. A V1 response contains the first output only."""
    golden = contract.golden
    pairs = [(values, golden.outputs.get(name, [])) for name, values in prediction.outputs.items()]
    return [
        row
        for row in range(len(golden.rows))
        if not all(
            len(actual) == len(expected) == len(golden.rows) and golden.is_close(actual[row], expected[row])
            for actual, expected in pairs
        )
    ]


def _fetch_contract(source: str) -> "Contract":
    """Return the contract of a bundle in a store or a directory."""
    from tidegate.store import fetch

    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        return fetch(source, Path(folder)).contract


def _contract_of_predictor(
    source: str, predictor: "type[Predictor]", engine: EngineChoice, policy: "Policy"
) -> "Contract":
    """Return a bundle's contract with the golden outputs that a predictor computes on this machine."""
    from prometheus_client import CollectorRegistry

    with _local_bundle(source, None, None, policy) as (path, digest, name):
        local = predictor(name, path, digest, policy=policy, engine=engine, registry=CollectorRegistry())
        local.load()
        local.stop()
        contract = local.contract
    golden = contract.golden.model_copy(update={"outputs": dict(local.golden_outputs)})
    return contract.model_copy(update={"golden": golden})


def _read_rows(source: str) -> "list[Row] | CsvFile":
    """Read rows from a file or standard input.

    Raises:
        ConfigurationError: If the source cannot be read, or does not contain rows.
        DataError: If it is not valid CSV.
    """
    from tidegate.csv_file import read_csv

    try:
        if source.endswith(".csv"):
            return read_csv(source, Path(source).read_bytes())
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} cannot be read: {error}.") from None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{source} is not valid JSON: {error}.") from None
    if isinstance(document, dict) and "instances" in document:
        document = document["instances"]
    if (
        not isinstance(document, list)
        or not document
        or not all(isinstance(row, list | dict) for row in document)
    ):
        raise ConfigurationError(
            f"{source} contains no rows: expected a list of lists, or a list of objects."
        )
    if len({type(row) for row in document}) > 1:
        raise ConfigurationError(f"{source} mixes rows as lists with rows as objects: expected one form.")
    return document


def _table(
    prediction: "Prediction", mismatches: list[int] | None, title: str, reference: str = "scikit-learn"
) -> "Table":
    from rich.table import Table

    table = Table("row", *prediction.outputs, title=title)
    if mismatches is not None:
        table.add_column(reference)
    rows = max((len(values) for values in prediction.outputs.values()), default=0)
    for row in range(min(_MAX_SHOWN_ROWS, rows)):
        cells = [_format_value(values[row]) for values in prediction.outputs.values()]
        if mismatches is not None:
            cells.append("different" if row in mismatches else "equal")
        table.add_row(str(row), *cells)
    if rows > _MAX_SHOWN_ROWS:
        table.caption = f"and {rows - _MAX_SHOWN_ROWS} more rows"
    return table


def _format_value(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_format_value(element) for element in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
