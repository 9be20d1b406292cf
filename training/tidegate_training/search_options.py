# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The section ``search`` of ``train.yaml``: algorithms, the spaces of their parameters, folds and a budget.

Spaces have Optuna's words. :mod:`tidegate_training.search` draws from them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from tidegate.errors import FieldError
from tidegate_training.algorithms import AlgorithmName, validate_parameters

MAX_TRIALS = 10_000


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Range(_Section):
    log: bool = False
    """Whether the logarithm is uniform, as suits a parameter whose values differ by factors."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        low, high = self.bounds
        if low >= high:
            raise FieldError(("high",), f"expected more than low, {low:g}, received {high:g}")
        if self.log and low <= 0:
            raise FieldError(("low",), f"expected more than 0 with log: true, received {low:g}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        raise NotImplementedError

    @property
    def samples(self) -> list[JsonValue]:
        """Values that the space has, for validation."""
        return list(self.bounds)


class FloatSpace(_Range):
    """Numbers with fractions between two bounds."""

    type: Literal["float"]
    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high


class IntSpace(_Range):
    """Whole numbers between two bounds, which belong to the space."""

    type: Literal["int"]
    low: int
    high: int

    @property
    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest value."""
        return self.low, self.high


class CategoricalSpace(_Section):
    """Values without an order, of any type of JSON."""

    type: Literal["categorical"]
    choices: Annotated[list[JsonValue], Field(min_length=1)]

    @property
    def samples(self) -> list[JsonValue]:
        """Values that the space has, for validation."""
        return self.choices


Space = Annotated[FloatSpace | IntSpace | CategoricalSpace, Field(discriminator="type")]


class Candidate(_Section):
    """An algorithm that the search tries, with parameters that it varies and others that are fixed."""

    name: AlgorithmName
    parameters: dict[str, JsonValue] = {}
    """Parameters with one value."""
    space: dict[str, Space] = {}
    """The space of each parameter that the search varies."""

    @model_validator(mode="after")
    def _parameters(self) -> Self:
        for parameter in self.space:
            if parameter in self.parameters:
                raise FieldError(
                    ("space", parameter), "the parameter has a value in 'parameters': remove one"
                )
        self._validate("parameters", self.parameters)
        for parameter, space in self.space.items():
            for value in space.samples:
                self._validate("space", {**self.parameters, parameter: value})
        return self

    def _validate(self, field: str, parameters: Mapping[str, Any]) -> None:
        try:
            validate_parameters(self.name, parameters)
        except FieldError as error:
            if error.location == ("name",):
                raise
            raise FieldError((field, *error.location), error.problem) from None


class SearchFolds(_Section):
    """The numbers of folds of the nested cross-validation."""

    outer: Annotated[int, Field(ge=2, le=20)] = 5
    """Folds that evaluate the search. Each has a search of its own, which does not see the held-out rows."""
    inner: Annotated[int, Field(ge=2, le=20)] = 3
    """Folds that score the trials of a search."""


class SearchOptions(_Section):
    """A search for algorithm, parameters and preprocessing on the training rows."""

    algorithms: Annotated[list[Candidate], Field(min_length=1)]
    preprocessing: dict[str, Space] = {}
    """Spaces of options of ``preprocessing``, as ``numeric.scale``, which every algorithm has."""
    metric: str | None = None
    """The metric to optimize; by default F1 of a classification, and R² of a regression."""
    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = 40
    """The number of trials of each search. The first trial is the configured algorithm."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """The time of the trials of a search, or of its shard, after which no other trial starts."""
    shards: Annotated[int, Field(ge=1, le=1000)] = 1
    """Parts of each search that can run at the same time. Each learns from its own trials alone."""
    folds: SearchFolds = SearchFolds()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [candidate.name for candidate in self.algorithms]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise FieldError(
                    ("algorithms", index, "name"),
                    f"{name} is a candidate already: give it one entry, with a space for what differs",
                )
        if self.shards > self.trials:
            raise FieldError(("shards",), f"expected at most one per trial, {self.trials}")
        return self
