# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The section ``expectations`` of ``train.yaml``: the owner's conditions on columns and rows of the data."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.errors import FieldError
from tidegate_training.predecessor import PredecessorReference

Ratio = Annotated[float, Field(ge=0, le=1)]
PositiveIndex = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ColumnExpectation(_Section):
    """Conditions on the values of a column, which need not be a feature. Missing values have their own."""

    kind: Literal["number", "integer", "boolean", "text", "time"] | None = None
    min: float | None = None
    max: float | None = None
    allowed: Annotated[list[str | int], Field(min_length=1)] | None = None
    """All values that the column may have, as the file spells them."""
    max_missing: Ratio | None = None
    """The largest fraction of rows without a value."""
    unique: bool = False
    """Whether each value may occur once."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise FieldError(("max",), f"expected at least min, {self.min:g}, received {self.max:g}")
        return self


class Freshness(_Section):
    """The largest age of the newest row."""

    column: Annotated[str, Field(min_length=1)]
    """A column of dates or times, in UTC."""
    max_age_days: Annotated[float, Field(gt=0)]


class Drift(_Section):
    """The largest drift of the data from the training rows of a bundle in a store."""

    reference: PredecessorReference
    max_psi: PositiveIndex = 0.25
    """The largest population stability index of a feature."""
    columns: dict[str, PositiveIndex] = {}
    """By feature, a largest index of its own."""


class Expectations(_Section):
    """Conditions on the data. A run whose data misses one ends before anything is fitted."""

    min_rows: Annotated[int, Field(ge=1)] | None = None
    columns: dict[str, ColumnExpectation] = {}
    freshness: Freshness | None = None
    drift: Drift | None = None
