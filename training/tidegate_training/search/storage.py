# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Finished trials as objects, one per trial, in a folder or in object storage.

An object is written at once and never changed, so that no lock is needed: a process that was killed leaves
whole trials behind, and its successor continues after them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module

from pydantic import TypeAdapter, ValidationError

from tidegate.digest import canonical_json, sha256
from tidegate.errors import ConfigurationError, first_problem
from tidegate.objects import Objects
from tidegate_training.algorithms import ALGORITHMS
from tidegate_training.bundling.bundle import installed_versions
from tidegate_training.config import TrainingConfig
from tidegate_training.evaluation.leaderboard import Trial
from tidegate_training.networks.backend import import_keras, library_versions

_TRIAL: TypeAdapter[Trial] = TypeAdapter(Trial)
_MAX_TRIAL_BYTES = 1 << 20

_WITHOUT_EFFECT = {
    *("name", "gates", "expectations", "evaluation", "diagnosis", "champion", "golden_rows", "model_card"),
}
"""Fields of the configuration that change no trial."""


@dataclass(frozen=True, slots=True)
class TrialStorage:
    """The finished trials of one search. It can be sent to another process.

    Attributes:
        uri: The folder or the store.
        folder: The folder in it, with a name that depends on everything that decides a trial.
    """

    uri: str
    folder: str

    def read(self, study: str, known: Sequence[Trial] = ()) -> list[Trial]:
        """Return the finished trials of a study, in the order of their numbers.

        Args:
            study: The study's name.
            known: Trials that were read before. They are not read again, because a trial never changes.

        Raises:
            ConfigurationError: If an object is not a trial.
            StoreError: If the store is unreachable or fails.
        """
        objects = Objects(self.uri)
        by_name = {_file_name(trial.number): trial for trial in known}
        trials = []
        for path in sorted(objects.paths(f"{self.folder}/{study}/")):
            if (trial := by_name.get(path.rpartition("/")[2])) is not None:
                trials.append(trial)
                continue
            content = objects.read(path, _MAX_TRIAL_BYTES, path)
            try:
                trials.append(_TRIAL.validate_json(content))
            except ValidationError as error:
                raise ConfigurationError(
                    f"{self.uri}/{path} is not a trial ({first_problem(error)}): delete it, or choose "
                    "another --trials."
                ) from None
        return trials

    def write(self, study: str, trial: Trial) -> None:
        """Store a trial. The first of two writers wins, because both computed the same trial.

        Raises:
            StoreError: If the store is unreachable or fails.
        """
        with suppress(FileExistsError):
            Objects(self.uri).write(
                f"{self.folder}/{study}/{_file_name(trial.number)}", canonical_json(asdict(trial)), "create"
            )


def search_versions(config: TrainingConfig) -> dict[str, str]:
    """Return the versions that decide a trial: also those of Optuna and of the candidates' libraries."""
    assert config.search is not None  # the caller's condition
    names = [config.algorithm.name, *(candidate.name for candidate in config.search.algorithms)]
    libraries = {"optuna", *(ALGORITHMS[name].library for name in names)}
    # Not of the distributions, because that of xgboost has two names.
    versions = installed_versions() | {
        name: import_module(name).__version__ for name in sorted(libraries - {"keras", "sklearn", "tidegate"})
    }
    if "keras" in libraries:
        import_keras()
        versions |= library_versions()
    return versions


def open_storage(
    config: TrainingConfig, data_sha256: str, versions: Mapping[str, str], uri: str
) -> TrialStorage:
    """Return the storage of a search, and describe the search in it.

    Another configuration, other data and other versions have another folder. More trials or minutes continue
    the same search.

    Args:
        config: The configuration.
        data_sha256: The SHA-256 of the data.
        versions: The versions of the packages.
        uri: The folder or the store.

    Raises:
        StoreError: If the store is unreachable or fails.
    """
    fields = config.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    fields["search"] = {
        name: value for name, value in fields["search"].items() if name not in ("trials", "minutes")
    }
    costs = config.evaluation.model_dump(mode="json", include={"costs", "cost_matrix"})
    description = canonical_json(
        {"configuration": fields, "costs": costs, "data": data_sha256, "versions": dict(versions)}
    )
    folder = f"{config.name}-{sha256(description)[:16]}"
    objects = Objects(uri)
    with suppress(FileExistsError):
        objects.write(f"{folder}/search.json", description, "create")
    return TrialStorage(objects.uri, folder)  # absolute, because a worker has another working directory


def _file_name(number: int) -> str:
    return f"{number:05d}.json"
