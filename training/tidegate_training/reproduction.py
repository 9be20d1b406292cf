# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Reproduction: a bundle's training run again, and its result next to the recorded one.

Equal digests prove the same result. Where bits differ, the predictions for the golden requests decide, and
the differences of the two environments are the candidates for the cause.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from tidegate.batch import Batch
from tidegate.bundle import JOBLIB, METRICS, PROVENANCE, Bundle
from tidegate.contract import Contract
from tidegate.errors import BundleError, GateNotPassedError, first_problem
from tidegate_training.bundled_model import BundledModel
from tidegate_training.bundling.contract import to_json_outputs
from tidegate_training.config import TrainingConfig
from tidegate_training.evaluation.leaderboard import SearchResult
from tidegate_training.expectation_options import Expectations
from tidegate_training.run import SearchRun, train
from tidegate_training.sealing import ignore_step

_NOT_COMPARED = ("champion", "expectations", "seed")
"""Fields of the configuration: champion and expectations change no content, and the manifest has the seed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that the recorded run and the new one do not share."""

    fact: str
    recorded: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.fact}: {_text(self.recorded)}, and now {_text(self.now)}"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The result of a training run that was repeated.

    Attributes:
        name: The model's name.
        digest: The recorded digest.
        new_digest: The digest of the new bundle.
        verdict: ``identical`` if the digests are equal, ``equivalent`` if the predictions for the golden
            requests are within the contract's tolerance, otherwise ``different``.
        files: The files whose content differs.
        mismatches: The predictions beyond the tolerance.
        missed_gates: The gates that the new model misses.
        differences: The facts that differ: data, seed, versions, commit, image, threads, processor,
            configuration.
    """

    name: str
    digest: str
    new_digest: str
    verdict: Literal["identical", "equivalent", "different"]
    files: list[str]
    mismatches: list[str]
    missed_gates: list[str]
    differences: list[Difference]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """Return the result in words."""
        if self.verdict == "identical":
            return [f"{self.name} is reproduced: the new bundle has the same digest, sha256:{self.digest}."]
        golden = (
            "the predictions for the golden requests are within the tolerance"
            if self.verdict == "equivalent"
            else f"predictions for the golden requests differ: {'; '.join(self.mismatches)}"
        )
        causes = [f"Differs: {difference}." for difference in self.differences]
        return [
            f"{self.name} has another digest, sha256:{self.new_digest} instead of sha256:{self.digest}, and "
            f"{golden}.",
            f"Files with other content: {', '.join(self.files)}.",
            *(f"The new model misses a gate: {gate}." for gate in self.missed_gates),
            *(causes or ["No recorded fact differs: the run depends on something that is not recorded."]),
        ]

    def require(self) -> None:
        """Raise an error unless the run is reproduced.

        Raises:
            GateNotPassedError: If predictions differ, or the new model misses a gate.
        """
        if problems := [*self.mismatches, *self.missed_gates]:
            causes = "; ".join(map(str, self.differences)) or "no recorded fact"
            raise GateNotPassedError(
                f"{self.name}@sha256:{self.digest} is not reproduced: {'; '.join(problems)}. Differs: "
                f"{causes}."
            )


class _Recorded(BaseModel):
    """The fields of ``provenance.json`` that a reproduction reads."""

    model_config = ConfigDict(frozen=True, strict=True)

    configuration: dict[str, JsonValue] | None = None
    environment: dict[str, JsonValue] = {}
    commit: str | None = None
    image: str | None = None

    @property
    def compared_fields(self) -> dict[str, JsonValue]:
        """The fields of the configuration that can change the bundle."""
        fields = (self.configuration or {}).items()
        return {name: value for name, value in fields if name not in _NOT_COMPARED}


def reproduce(
    bundle: Bundle,
    config: TrainingConfig | None,
    base_dir: Path,
    on_step: Callable[[str], None] = ignore_step,
) -> Reproduction:
    """Run a bundle's training again and compare the results.

    A search is not run again: its recorded winner is fitted.

    Args:
        bundle: The bundle.
        config: The configuration; None takes the one that the bundle's provenance has.
        base_dir: The folder that a relative data path starts from.
        on_step: Called with the name of each step when the step starts.

    Raises:
        BundleError: If the bundle records no configuration.
        ConfigurationError: If the configuration does not fit the data.
        DataError: If the data does not fit the configuration.
    """
    recorded = config or _recorded_config(bundle)
    # The data was fresh when the model was trained, and is older now.
    used = recorded.model_copy(update={"champion": None, "expectations": Expectations()})
    with TemporaryDirectory() as folder:
        result = train(
            used,
            Path(folder) / "bundle",
            joblib=JOBLIB in bundle,
            base_dir=base_dir,
            enforce_gates=False,
            search=SearchRun(recorded=_recorded_search(bundle)),
            on_step=on_step,
        )
        again = result.bundle
        on_step("comparing")
        differences = list(_differences(bundle, again))
        mismatches = [] if again.digest == bundle.digest else list(_mismatches(bundle.contract, again))
    files = bundle.manifest.files, again.manifest.files
    return Reproduction(
        bundle.manifest.name,
        bundle.digest,
        again.digest,
        "identical" if again.digest == bundle.digest else "different" if mismatches else "equivalent",
        sorted(
            name for name in files[0].keys() | files[1].keys() if files[0].get(name) != files[1].get(name)
        ),
        mismatches,
        [str(gate) for gate in result.evaluation.gates if not gate.passed],
        differences,
    )


def _read_provenance(bundle: Bundle) -> _Recorded:
    """Read the provenance. The digest does not cover it, so a damaged one counts as none."""
    try:
        return _Recorded.model_validate_json(bundle.read_excluded(PROVENANCE) or b"{}")
    except ValidationError:
        return _Recorded()


def _recorded_config(bundle: Bundle) -> TrainingConfig:
    recorded = _read_provenance(bundle)
    fix = "give the configuration: tidegate train CONFIG --verify REFERENCE."
    if recorded.configuration is None:
        raise BundleError(
            f"The provenance of {bundle.manifest.name}@sha256:{bundle.digest} has no configuration, because "
            f"'tidegate bundle' or an earlier version made the bundle: {fix}"
        )
    try:
        return TrainingConfig.model_validate_json(json.dumps(recorded.configuration))
    except ValidationError as error:
        raise BundleError(
            f"The configuration in the provenance of {bundle.manifest.name}@sha256:{bundle.digest} is not "
            f"valid in this version ({first_problem(error)}): {fix}"
        ) from None


def _recorded_search(bundle: Bundle) -> SearchResult | None:
    """Return the search that the metrics have; None without one, or with one of another version."""
    try:
        return TypeAdapter(SearchResult).validate_python(json.loads(bundle.read(METRICS))["search"])
    except (KeyError, ValidationError):
        return None


def _mismatches(contract: Contract, again: Bundle) -> Iterator[str]:
    """Yield each golden output of the recorded contract that the new model does not compute."""
    if (names := again.contract.feature_names) != contract.feature_names:
        yield f"the features are {', '.join(contract.feature_names)}, and now {', '.join(names)}"
        return
    golden = contract.golden
    outputs = to_json_outputs(BundledModel.open(again).predict(Batch.from_rows(contract, golden.rows)))
    for name, expected in golden.outputs.items():
        for row, value in enumerate(expected):
            actual = outputs[name][row] if name in outputs else None
            if not golden.is_close(actual, value):
                yield f"golden request, row {row}: {name} {value}, and now {actual}"
                break


def _differences(bundle: Bundle, again: Bundle) -> Iterator[Difference]:
    """Yield what differs between two runs: in the manifests, and where both record it in the provenance."""
    recorded, now = bundle.manifest, again.manifest
    yield from _changes("data.", recorded.data.model_dump(), now.data.model_dump())
    yield from _changes("", {"seed": recorded.seed}, {"seed": now.seed})
    yield from _changes("version of ", recorded.versions, now.versions)
    old, new = _read_provenance(bundle), _read_provenance(again)
    if old.commit and new.commit:
        yield from _changes("", {"commit": old.commit}, {"commit": new.commit})
    if old.image and new.image:
        yield from _changes("", {"image": old.image}, {"image": new.image})
    if old.environment:
        yield from _changes("", old.environment, new.environment)
    if old.configuration is not None:
        yield from _changes("configuration.", old.compared_fields, new.compared_fields)


def _changes(prefix: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the values that differ, in the order of their names."""
    for name in sorted(recorded.keys() | now.keys()):
        if recorded.get(name) != now.get(name):
            yield Difference(f"{prefix}{name}", recorded.get(name), now.get(name))


def _text(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
