# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The core's commands: push, pull, verify and inspect bundles."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tidegate import bundle as bundles
from tidegate import inspection
from tidegate.bundle import Bundle
from tidegate.console import OutputFormat, OutputOption, print_result, progress
from tidegate.errors import BundleError, ConfigurationError
from tidegate.reference import ChannelReference, looks_like_reference
from tidegate.store import Store, fetch, locate

DirectoryArgument = Annotated[Path, typer.Argument(help="The bundle's directory.", exists=True)]
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
    """Store a bundle under its digest, and print its reference."""
    target = Store(store)
    opened = bundles.verify(bundle)
    pointer = None if channel is None else ChannelReference(target.uri, opened.manifest.name, channel)
    with progress() as display:
        task = display.add_task(f"Pushing to {target.uri}", total=_total_bytes(opened))
        reference = target.push(opened, lambda _, size: display.advance(task, size))
    payload = {"reference": str(reference)}
    text = str(reference)
    if pointer is not None:
        target.move_channel(pointer.name, pointer.channel, reference.digest)
        payload["channel"] = str(pointer)
        text += f"\n{pointer} points to it."
    print_result(output, payload, text)


def pull(
    reference: Annotated[
        str, typer.Argument(help="<store>/<name>@sha256:<digest> or <store>/<name>:<channel>.")
    ],
    directory: Annotated[
        Path, typer.Argument(help="The new directory; it must not exist, or must hold this bundle already.")
    ],
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Download a bundle and verify it.

    The directory appears only after every file matches the digest.
    """
    located = locate(reference)
    with progress() as display:
        task = display.add_task(f"Pulling {located.name}", total=None)
        bundle = Store(located.store).pull(located, directory, lambda _, size: display.advance(task, size))
    files = len(bundle.manifest.files)
    payload = {"reference": str(located), "directory": str(bundle.path), "files": files}
    print_result(output, payload, f"{located}\nis in {bundle.path}: {files} files, verified.")


def verify(
    bundle: DirectoryArgument,
    digest: Annotated[str | None, typer.Option(help="The expected digest.")] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Compare every file of a bundle with its manifest."""
    opened = bundles.open_bundle(bundle, digest)
    problems = {problem.file: problem for problem in bundles.find_problems(opened)}
    table = Table("file", "bytes", "", box=None, pad_edge=False)
    for name in sorted(opened.manifest.files.keys() | problems.keys()):
        size = f"{opened.manifest.files[name].size:,}" if name in opened else ""
        verdict = Text("ok")
        if name in problems:
            verdict = Text(f"expected {problems[name].expected}, found {problems[name].found}", style="red")
        table.add_row(name, size, verdict)
    payload = {
        "digest": opened.digest,
        "verified": not problems,
        "problems": [{"file": p.file, "expected": p.expected, "found": p.found} for p in problems.values()],
    }
    print_result(output, payload, Group(table, f"sha256:{opened.digest}"))
    if problems:
        raise BundleError(
            f"{len(problems)} files of {bundle} differ from its manifest: {', '.join(problems)}."
        )


def inspect(source: SourceArgument, output: OutputOption = OutputFormat.TEXT) -> None:
    """Show a bundle's contract, metrics, parity and files."""
    if not looks_like_reference(source) and not Path(source).is_dir():
        raise ConfigurationError(
            f"'{source}' is neither a directory nor a reference such as s3://models/iris:stable."
        )
    with tempfile.TemporaryDirectory() as cache:
        bundle = fetch(source, Path(cache))
        payload = inspection.describe(bundle)
        print_result(output, payload, inspection.render(bundle, payload))


def _total_bytes(bundle: Bundle) -> int:
    return sum(entry.size for entry in bundle.manifest.files.values())
