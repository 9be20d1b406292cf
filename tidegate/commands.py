# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The core's commands: push, pull, sign, verify, inspect and trace bundles."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tidegate import bundle as bundles
from tidegate import inspection
from tidegate.bundle import Bundle
from tidegate.console import OutputFormat, OutputOption, print_result, progress
from tidegate.errors import BundleError, ConfigurationError
from tidegate.options import (
    CertificateOption,
    JoblibDigestOption,
    PolicyOption,
    SignOption,
    combine_policy,
    read_signing_key,
)
from tidegate.reference import ChannelReference, Reference, looks_like_reference
from tidegate.store import Store, fetch, locate
from tidegate.trust.admission import admit
from tidegate.trust.policy import Policy

if TYPE_CHECKING:
    from tidegate.trust.signing_key import SigningKey

DirectoryArgument = Annotated[Path, typer.Argument(help="The bundle's directory.", exists=True)]
SourceArgument = Annotated[
    str,
    typer.Argument(
        help="A bundle's directory, <store>/<name>@sha256:<digest>, <store>/<name>:<channel> or "
        "mlflow://models/<name>@<alias>."
    ),
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
    sign: SignOption = None,
    certificate: CertificateOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Store a bundle under its digest, and print its reference."""
    target = Store(store)
    key = read_signing_key(sign, certificate)
    opened = bundles.verify(bundle)
    if key is not None:
        _sign(opened, key)
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
        str,
        typer.Argument(
            help="<store>/<name>@sha256:<digest>, <store>/<name>:<channel> or mlflow://models/<name>@<alias>."
        ),
    ],
    directory: Annotated[
        Path, typer.Argument(help="The new directory; it must not exist, or must hold this bundle already.")
    ],
    policy: PolicyOption = None,
    allow_joblib_digest: JoblibDigestOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Download a bundle and verify it.

    The directory appears only after every file matches the digest. With a policy, nothing is downloaded that
    the policy rejects.
    """
    admitted = combine_policy(policy, joblib_digests=allow_joblib_digest)
    signer: str | None = None

    def check(bundle: Bundle) -> None:
        nonlocal signer
        if policy is not None:
            signer = admit(bundle, admitted)

    located = locate(reference)
    with progress() as display:
        task = display.add_task(f"Pulling {located.name}", total=None)
        bundle = Store(located.store).pull(
            located, directory, lambda _, size: display.advance(task, size), check
        )
    files = len(bundle.manifest.files)
    payload = {"reference": str(located), "directory": str(bundle.path), "files": files, "signer": signer}
    verified = "verified" if signer is None else f"verified, signed by {signer}"
    print_result(output, payload, f"{located}\nis in {bundle.path}: {files} files, {verified}.")


def sign(
    source: SourceArgument,
    key: Annotated[
        Path,
        typer.Option(envvar="TIDEGATE_SIGNING_KEY", help="The private key in PEM: EC P-256, P-384 or P-521."),
    ],
    certificate: CertificateOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Sign a bundle; its digest stays.

    The provenance and the bill of materials are signed as well. A bundle of a store is verified, and then
    signed in the store. Signing again replaces the signature. The format is that of OpenSSF's model signing.
    """
    signing_key = read_signing_key(key, certificate)
    assert signing_key is not None
    located = locate(source) if looks_like_reference(source) else None
    with tempfile.TemporaryDirectory() as cache:
        bundle = fetch(source if located is None else str(located), Path(cache))
        _sign(bundle, signing_key)
        if located is not None:
            Store(located.store).push_attestations(bundle)
    payload = {"digest": bundle.digest, "key": signing_key.fingerprint}
    text = f"{bundle.label}\nis signed with the key sha256:{signing_key.fingerprint}."
    print_result(output, payload, text)


def verify(
    bundle: DirectoryArgument,
    digest: Annotated[str | None, typer.Option(help="The expected digest.")] = None,
    policy: PolicyOption = None,
    allow_joblib_digest: JoblibDigestOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Compare every file of a bundle with its manifest.

    With a policy, the bundle is compared with it as well. If the policy has signers, so are the provenance
    and the bill of materials.
    """
    deployed = None if policy is None else combine_policy(policy, joblib_digests=allow_joblib_digest)
    opened = bundles.open_bundle(bundle, digest)
    problems = {problem.file: problem for problem in bundles.find_problems(opened)}
    table = Table("file", "bytes", "", box=None, pad_edge=False)
    for name in sorted(opened.manifest.files.keys() | problems.keys()):
        size = f"{opened.manifest.files[name].size:,}" if name in opened else ""
        verdict = Text("ok")
        if name in problems:
            verdict = Text(f"expected {problems[name].expected}, found {problems[name].found}", style="red")
        table.add_row(name, size, verdict)
    signer = None if problems or deployed is None else _verify_statements(opened, deployed)
    payload = {
        "digest": opened.digest,
        "verified": not problems,
        "problems": [{"file": p.file, "expected": p.expected, "found": p.found} for p in problems.values()],
        "signer": signer,
    }
    signed = "" if signer is None else f"\nsigned by {signer}"
    print_result(output, payload, Group(table, f"sha256:{opened.digest}{signed}"))
    if problems:
        raise BundleError(
            f"{len(problems)} files of {bundle} differ from its manifest: {', '.join(problems)}."
        )


def inspect(
    source: SourceArgument, policy: PolicyOption = None, output: OutputOption = OutputFormat.TEXT
) -> None:
    """Show a bundle's contract, metrics, parity, signer and files."""
    if not looks_like_reference(source) and not Path(source).is_dir():
        raise ConfigurationError(
            f"'{source}' is neither a directory nor a reference such as s3://models/iris:stable."
        )
    with tempfile.TemporaryDirectory() as cache:
        bundle = fetch(source, Path(cache))
        signer = None if policy is None else admit(bundle, combine_policy(policy))
        payload = inspection.describe(bundle, signer)
        print_result(output, payload, inspection.render(bundle, payload))


def lineage(
    source: Annotated[
        str,
        typer.Argument(
            help="A live server's address, http://…, a reference, or a bundle's directory.", metavar="URL|REF"
        ),
    ],
    store: Annotated[
        str | None, typer.Option(help="The store of a live server's bundle; without it the digest is all.")
    ] = None,
    policy: PolicyOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Trace a model back: to digest, data, commit, configuration, image, signer and channels."""
    from tidegate.lineage import read_served_model, to_lines, trace

    served = read_served_model(source) if source.startswith(("http://", "https://")) else None
    facts: dict[str, str] = {}
    payload: dict[str, Any] = {"server": None}
    if served is not None:
        payload["server"] = {"url": source, **asdict(served)}
        signed = f", signed by {served.signer}" if served.signer else ""
        facts["server"] = f"{source} serves {served.name} with {served.engine}{signed}"
        facts["digest"] = f"sha256:{served.digest}"
        source = "" if store is None else str(Reference(Store(store).uri, served.name, served.digest))
    if source:
        located = locate(source) if looks_like_reference(source) else None
        with tempfile.TemporaryDirectory() as cache:
            bundle = fetch(source if located is None else str(located), Path(cache))
            signer = None if policy is None else admit(bundle, combine_policy(policy))
            channels = {} if located is None else Store(located.store).channels(located.name)
            payload |= trace(bundle, signer, channels)
        facts |= to_lines(payload)
    print_result(output, payload, inspection.render_facts(facts))


def _sign(bundle: Bundle, key: "SigningKey") -> None:
    from tidegate.trust.attestations import sign_bundle

    sign_bundle(bundle, key)


def _verify_statements(bundle: Bundle, policy: Policy) -> str | None:
    """Admit a bundle, verify the statements next to it, and return the signer's name."""
    signer = admit(bundle, policy)
    if policy.signers:
        from tidegate.trust.attestations import verify_attestations

        verify_attestations(bundle, policy)
    return signer


def _total_bytes(bundle: Bundle) -> int:
    return sum(entry.size for entry in bundle.manifest.files.values())
