# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The core's own subcommands: look at bundles, check them, and carry them to and from a store."""

import tempfile
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tidegate.bundle import (
    METRICS,
    PARITY,
    Bundle,
    open_bundle,
    problems,
)
from tidegate.bundle import (
    verify as verify_bundle,
)
from tidegate.console import OutputFormat, OutputOption, emit, progress
from tidegate.contract import Contract
from tidegate.errors import BundleError, ConfigurationError
from tidegate.reference import ChannelReference, looks_like_reference
from tidegate.store import Store, fetch, locate

UNREADABLE = "unreadable"

S = TypeVar("S", bound=BaseModel)

DirectoryArgument = Annotated[
    Path, typer.Argument(help="The bundle's directory.", exists=True, file_okay=False)
]
SourceArgument = Annotated[
    str,
    typer.Argument(help="A bundle's directory, <store>/<name>@sha256:<digest> or <store>/<name>:<channel>."),
]
ChannelOption = Annotated[
    str | None, typer.Option(help="Also point this channel to the bundle.", metavar="NAME")
]


def push(
    bundle: DirectoryArgument,
    store: Annotated[
        str, typer.Argument(help="file:///folder, s3://bucket/prefix, gs://…, az://… or a path.")
    ],
    channel: ChannelOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Store a bundle under its digest, and print the reference that names it."""
    target = Store(store)
    opened = verify_bundle(bundle)
    pointed = None if channel is None else ChannelReference(target.uri, opened.manifest.name, channel)
    with progress() as display:
        task = display.add_task(f"Pushing to {target.uri}", total=_size(opened))
        reference = target.push(opened, lambda _, size: display.advance(task, size))
    payload = {"reference": str(reference)}
    text = str(reference)
    if pointed is not None:
        target.move_channel(pointed.name, pointed.channel, reference.digest)
        payload["channel"] = str(pointed)
        text += f"\n{pointed} points to it."
    emit(output, payload, text)


def pull(
    reference: Annotated[
        str, typer.Argument(help="<store>/<name>@sha256:<digest> or <store>/<name>:<channel>.")
    ],
    directory: Annotated[
        Path, typer.Argument(help="Where to put it; must not exist, or hold this very bundle.")
    ],
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Fetch a bundle and verify it. The directory appears only when every file is what the digest says."""
    found = locate(reference)
    with progress() as display:
        task = display.add_task(f"Pulling {found.name}", total=None)
        bundle = Store(found.store).pull(found, directory, lambda _, size: display.advance(task, size))
    payload = {"reference": str(found), "directory": str(bundle.path), "files": len(bundle.manifest.files)}
    emit(output, payload, f"{found}\nis in {bundle.path}, {len(bundle.manifest.files)} files, verified.")


def verify(
    bundle: DirectoryArgument,
    digest: Annotated[str | None, typer.Option(help="The digest that the bundle must have.")] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Check a bundle file by file against its manifest, and say what is wrong with each."""
    opened = open_bundle(bundle, digest)
    wrong = {problem.file: problem for problem in problems(opened)}
    table = Table("file", "bytes", "", box=None, pad_edge=False)
    for name in sorted(opened.manifest.files.keys() | wrong.keys()):
        size = f"{opened.manifest.files[name].size:,}" if name in opened else ""
        verdict = Text("ok")
        if name in wrong:
            verdict = Text(f"expected {wrong[name].expected}, found {wrong[name].found}", style="red")
        table.add_row(name, size, verdict)
    payload = {
        "digest": opened.digest,
        "verified": not wrong,
        "problems": [{"file": p.file, "expected": p.expected, "found": p.found} for p in wrong.values()],
    }
    emit(output, payload, Group(table, f"sha256:{opened.digest}"))
    if wrong:
        raise BundleError(
            f"{len(wrong)} of {bundle}'s files are not what the manifest says: {', '.join(wrong)}."
        )


def inspect(source: SourceArgument, output: OutputOption = OutputFormat.TEXT) -> None:
    """Show what a bundle is: its contract, metrics, parity certificate and files."""
    if not looks_like_reference(source) and not Path(source).is_dir():
        raise ConfigurationError(
            f"'{source}' is neither a directory nor a reference such as s3://models/iris:stable."
        )
    with tempfile.TemporaryDirectory() as cache:
        bundle = fetch(source, Path(cache))
        payload = _describe(bundle)
        emit(output, payload, _picture(bundle, payload))


class _Shown(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Metrics(_Shown):
    """What a person is shown of the evaluation."""

    test: dict[str, float | None]


class _Parity(_Shown):
    """What a person is shown of the certificate."""

    verdict: str
    reason: str | None
    rows: int


def _describe(bundle: Bundle) -> dict[str, Any]:
    return {
        "digest": bundle.digest,
        "manifest": bundle.manifest.model_dump(mode="json"),
        "contract": bundle.contract.model_dump(mode="json"),
        "metrics": _document(bundle, METRICS),
        "parity": _document(bundle, PARITY),
        "provenance": _provenance(bundle),
    }


def _document(bundle: Bundle, name: str) -> dict[str, Any]:
    """A JSON file of the bundle."""
    try:
        document = from_json(bundle.read(name), allow_inf_nan=False)
    except ValueError as error:
        raise BundleError(f"{bundle.path / name} is no JSON: {error}.") from None
    if not isinstance(document, dict):
        raise BundleError(f"{bundle.path / name} is no JSON object: it was not written by Tidegate.")
    return document


def _provenance(bundle: Bundle) -> Any:
    """The provenance. It is outside the digest, so that anyone who may write to the store can break it."""
    try:
        content = bundle.provenance()
        return None if content is None else from_json(content, allow_inf_nan=False)
    except (BundleError, ValueError):
        return UNREADABLE


def _shown(model: type[S], document: dict[str, Any], file: Path) -> S:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BundleError(
            f"{file} was not written by Tidegate: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        ) from None


def _picture(bundle: Bundle, described: dict[str, Any]) -> Group:
    manifest = bundle.manifest
    parity = _shown(_Parity, described["parity"], bundle.path / PARITY)
    measured = _shown(_Metrics, described["metrics"], bundle.path / METRICS).test.items()
    compiled = parity.verdict + (f": {parity.reason}" if parity.reason else "")
    facts = {
        "name": manifest.name,
        "digest": f"sha256:{bundle.digest}",
        "task": f"{manifest.task} by {manifest.algorithm}",
        "data": f"{manifest.data.rows:,} rows, sha256:{manifest.data.sha256[:12]}…",
        "test": ", ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in measured),
        "compiled": f"{compiled} ({parity.rows:,} rows compared)" if parity.rows else compiled,
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
    }
    if described["provenance"] == UNREADABLE:
        facts["provenance"] = f"{UNREADABLE}; the model is not affected"
    # Lines and no table: on a narrow terminal a table would cut the digest.
    lines = Text("\n").join(Text.assemble((f"{name:<10}", "bold"), fact) for name, fact in facts.items())
    files = Table("file", "bytes", box=None, pad_edge=False)
    for name, entry in manifest.files.items():
        files.add_row(name, f"{entry.size:,}")
    return Group(lines, "", _features(bundle.contract), "", files)


def _features(contract: Contract) -> Table:
    table = Table("feature", "type", "seen in training", "missing", "sensitivity", box=None, pad_edge=False)
    for feature in contract.features:
        if feature.categories is not None:
            seen = ", ".join(feature.categories[:6]) + (" …" if len(feature.categories) > 6 else "")
        elif feature.minimum is not None and feature.maximum is not None:
            seen = f"{feature.minimum:.4g} to {feature.maximum:.4g}"
        else:
            seen = ""
        table.add_row(
            feature.name, feature.datatype, seen, "allowed" if feature.missing else "", feature.sensitivity
        )
    table.add_section()
    for output in contract.outputs:
        table.add_row(
            f"→ {output.name}", output.datatype, f"{output.width} a row" if output.width else "one a row"
        )
    return table


def _size(bundle: Bundle) -> int:
    return sum(entry.size for entry in bundle.manifest.files.values())
