# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The description of a bundle that ``tidegate inspect`` prints: JSON for scripts, tables for people.

It reads the JSON files of the bundle and never loads the model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import from_json
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tidegate.bundle import METRICS, ONNX, PARITY, PROVENANCE, SIGNATURE, SKOPS, Bundle
from tidegate.contract import Contract, Feature
from tidegate.errors import BundleError, first_problem
from tidegate.memory import MIB, memory_limit

UNREADABLE = "unreadable"
"""The provenance's value if its file is damaged."""

_MAX_SHOWN = 6

M = TypeVar("M", bound=BaseModel)


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Metrics(_Document):
    """The fields of ``metrics.json`` that people see: those of the one split that they are about."""

    test: dict[str, float | None] | None = None
    """The metrics on the test rows of a training run."""
    sample: dict[str, float | None] | None = None
    """The metrics on the sample rows of a model that was fitted before it was bundled."""

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if (self.test is None) == (self.sample is None):
            raise ValueError("expected either 'test' or 'sample'")
        return self


class _Parity(_Document):
    """The fields of ``parity.json`` that people see."""

    verdict: str
    reason: str | None
    rows: int


def describe(bundle: Bundle, signer: str | None = None) -> dict[str, Any]:
    """Return a bundle's digest, manifest, contract, metrics, parity report and provenance as JSON values.

    Args:
        bundle: The bundle.
        signer: The signer's name, if a policy has verified the signature.

    Raises:
        BundleError: If a file that the digest covers is altered or is not a JSON object.
    """
    return {
        "digest": bundle.digest,
        "manifest": bundle.manifest.model_dump(mode="json"),
        "contract": bundle.contract.model_dump(mode="json"),
        "metrics": _read_object(bundle, METRICS),
        "parity": _read_object(bundle, PARITY),
        "provenance": read_provenance(bundle),
        "signature": {"present": (bundle.path / SIGNATURE).is_file(), "verified_signer": signer},
    }


def read_provenance(bundle: Bundle) -> Any:
    """Read the provenance; None if it does not exist, and ``UNREADABLE`` if its file is damaged.

    Damage to it is not an error, because the digest does not cover it.
    """
    try:
        content = bundle.read_excluded(PROVENANCE)
        return None if content is None else from_json(content, allow_inf_nan=False)
    except (BundleError, ValueError):
        return UNREADABLE


def render(bundle: Bundle, description: dict[str, Any]) -> Group:
    """Render the description of a bundle as text and tables.

    Raises:
        BundleError: If the metrics or the parity report lack a field.
    """
    manifest = bundle.manifest
    parity = _validate(_Parity, description["parity"], bundle.path / PARITY)
    metrics = _validate(_Metrics, description["metrics"], bundle.path / METRICS)
    split, values = ("sample", metrics.sample) if metrics.test is None else ("test", metrics.test)
    assert values is not None  # one of both is given
    compiled = parity.verdict + (f": {parity.reason}" if parity.reason else "")
    facts = {
        "name": manifest.name,
        "digest": f"sha256:{bundle.digest}",
        "task": f"{manifest.task} by {manifest.algorithm}",
        "data": f"{manifest.data.rows:,} rows, sha256:{manifest.data.sha256[:12]}…",
        split: ", ".join(
            f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in values.items()
        ),
        "compiled": f"{compiled} ({parity.rows:,} rows compared)" if parity.rows else compiled,
        "memory": _memory(bundle),
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
    }
    if (threshold := bundle.contract.threshold) is not None:
        facts["threshold"] = f"{threshold.positive_label} from a probability of {threshold.value:g}"
    signature = description["signature"]
    if signature["present"]:
        facts["signature"] = signature["verified_signer"] or "not verified; give --policy FILE"
    if description["provenance"] == UNREADABLE:
        facts["provenance"] = f"{UNREADABLE}; the model is not affected"
    files = Table("file", "bytes", box=None, pad_edge=False)
    for name, entry in manifest.files.items():
        files.add_row(name, f"{entry.size:,}")
    return Group(render_facts(facts), "", _contract_table(bundle.contract), "", files)


def render_facts(facts: Mapping[str, str]) -> Text:
    """Render facts by title as lines, because a table would truncate a digest on a narrow terminal."""
    return Text("\n").join(Text.assemble((f"{name:<10}", "bold"), fact) for name, fact in facts.items())


def _memory(bundle: Bundle) -> str:
    """Describe the memory limit that a server of the bundle needs."""
    limits = {
        "the compiled model": memory_limit(bundle.manifest, compiled=True) if ONNX in bundle else None,
        "scikit-learn": memory_limit(bundle.manifest, compiled=False) if SKOPS in bundle else None,
    }
    texts = [f"{-(-limit // MIB):,} MiB with {engine}" for engine, limit in limits.items() if limit]
    return f"limit of a server: {', '.join(texts)}"


def _read_object(bundle: Bundle, name: str) -> dict[str, Any]:
    """Read a JSON object from a file of the bundle."""
    try:
        document = from_json(bundle.read(name), allow_inf_nan=False)
    except ValueError as error:
        raise BundleError(f"{bundle.path / name} is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise BundleError(
            f"{bundle.path / name} is not a JSON object, received a {type(document).__name__}: it was not "
            "written by Tidegate."
        )
    return document


def _validate(model: type[M], document: dict[str, Any], file: Path) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise BundleError(f"{file} was not written by Tidegate: {first_problem(error)}.") from None


def _contract_table(contract: Contract) -> Table:
    columns = ("feature", "type", "observed in training", "missing", "sensitivity")
    table = Table(*columns, box=None, pad_edge=False)
    for feature in contract.features:
        missing = "allowed" if feature.missing else ""
        table.add_row(feature.name, feature.datatype, _observed(feature), missing, feature.sensitivity)
    table.add_section()
    for output in contract.outputs:
        values = f"{output.width} values per row" if output.width else "1 value per row"
        if output.labels:
            values += f": {_first(output.labels, ', ')}"
        table.add_row(f"→ {output.name}", output.datatype, values)
    return table


def _observed(feature: Feature) -> str:
    """Format the categories or the range that training observed, or the kind of other texts."""
    if feature.categories is not None:
        return _first(feature.categories, " < " if feature.ordered else ", ")
    if feature.is_free_text:
        return "free text"
    if feature.minimum is not None and feature.maximum is not None:
        return " to ".join(
            limit if isinstance(limit, str) else f"{limit:.4g}"
            for limit in (feature.minimum, feature.maximum)
        )
    return ""


def _first(values: Sequence[int | str], separator: str) -> str:
    """Join the first values, with an ellipsis for the others."""
    more = " …" if len(values) > _MAX_SHOWN else ""
    return separator.join(map(str, values[:_MAX_SHOWN])) + more
