# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The lineage of a model: from a live server to data, code, configuration and signer, and back.

It reads what bundle, store and server record, and verifies nothing beyond the bundle's digest. The provenance
is outside the digest: only a signature protects it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

from tidegate.bundle import SIGNATURE, Bundle
from tidegate.errors import ServerError
from tidegate.inspection import read_provenance

_TIMEOUT_SECONDS = 10.0
_MAX_METRICS_BYTES = 16 << 20
_LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\.)*)",?')
_MODEL_INFO = re.compile(
    rf"^tidegate_model_info\{{(?P<labels>(?:{_LABEL.pattern})*)\}} 1(?:\.0)?$", re.MULTILINE
)
_ESCAPE = re.compile(r"\\(.)")

RECORDED = ("commit", "dirty", "image", "host", "python", "started", "finished")
"""Fields of the provenance that say where a bundle comes from."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model of a live server, as its metrics say.

    Attributes:
        name: The model's name.
        digest: The bundle's digest.
        engine: The engine that computes.
        signer: The signer that the server's policy found; empty without one.
    """

    name: str
    digest: str
    engine: str
    signer: str


def read_served_model(url: str, read: Callable[[str], str] | None = None) -> ServedModel:
    """Read which bundle a server serves, from its metrics.

    Args:
        url: The server's address, or that of its metrics port.
        read: Returns the text of an address; by default by HTTP.

    Raises:
        ServerError: If the address does not respond with a server's metrics.
    """
    address = f"{url.rstrip('/')}/metrics"
    try:
        text = (read or _read)(address)
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(error, HTTPException):  # its text is the response's bytes
            error = HTTPException("the response is not HTTP")
        raise ServerError(
            f"{address} cannot be read ({error}): name the address of a Tidegate server, or of its metrics "
            "port."
        ) from None
    found = _MODEL_INFO.search(text)
    if found is None:
        raise ServerError(
            f"{address} has no metric tidegate_model_info: name the address of a Tidegate server, or of its "
            "metrics port."
        )
    labels = {name: _unescape(value) for name, value in _LABEL.findall(found["labels"])}
    return ServedModel(
        labels.get("model_name", ""),
        labels.get("digest", ""),
        labels.get("engine", ""),
        labels.get("signer", ""),
    )


def _unescape(value: str) -> str:
    """Return a label's value without the escapes of Prometheus' text format."""
    return _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], value)


def trace(bundle: Bundle, signer: str | None, channels: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the lineage of a bundle as JSON values.

    Args:
        bundle: The verified bundle.
        signer: The signer that the deployer's policy accepts; None if no policy was given.
        channels: The digests of each channel of the model, the oldest first.
    """
    manifest = bundle.manifest
    recorded = read_provenance(bundle)  # outside the digest, so it may be missing or damaged
    provenance: Mapping[str, Any] = recorded if isinstance(recorded, dict) else {}
    return {
        "name": manifest.name,
        "digest": bundle.digest,
        "data": {"sha256": manifest.data.sha256, "rows": manifest.data.rows},
        "algorithm": manifest.algorithm,
        "seed": manifest.seed,
        "versions": dict(manifest.versions),
        **{name: provenance.get(name) for name in RECORDED},
        "configuration": provenance.get("configuration"),
        "champion": provenance.get("champion"),
        "signed": bundle.read_excluded(SIGNATURE) is not None,
        "signer": signer,
        "channels": {
            name: "current" if digests[-1] == bundle.digest else "earlier"
            for name, digests in channels.items()
            if bundle.digest in digests
        },
    }


def to_lines(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the lineage as lines for people, by title."""
    commit = document["commit"] or "not recorded"
    if document["dirty"]:
        commit += " with changes that were not committed"
    channels = [f"{name} ({state})" for name, state in document["channels"].items()]
    configuration = document["configuration"]
    signed = "no" if not document["signed"] else "yes, by a signer that was not compared with a policy"
    if document["signer"]:
        signed = f"by {document['signer']}"
    return {
        "model": document["name"],
        "digest": f"sha256:{document['digest']}",
        "data": f"sha256:{document['data']['sha256']}, {document['data']['rows']:,} rows",
        "algorithm": f"{document['algorithm']}, seed {document['seed']}",
        "commit": commit,
        "image": document["image"] or "not recorded",
        "trained": "{} to {} on {}".format(
            *(document[name] or "?" for name in ("started", "finished", "host"))
        ),
        "settings": f"{len(configuration)} recorded fields" if configuration else "not recorded",
        "signed": signed,
        "channels": ", ".join(channels) or "none of the store",
    }


def _read(address: str) -> str:
    if not address.startswith(("http://", "https://")):
        raise ValueError("expected http:// or https://")
    with urlopen(address, timeout=_TIMEOUT_SECONDS) as response:
        return str(response.read(_MAX_METRICS_BYTES).decode())
