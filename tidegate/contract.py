# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The contract: a model's inputs, outputs and golden requests, captured once, in training.

Request validation, metadata, readiness, load-test requests, the drift baseline and the model card all use it.
It neither decodes requests nor runs models.
"""

import math
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str | None
"""The value of one feature in one row, as in JSON. None is a missing value."""

Task = Literal["classification", "regression", "outlier_detection", "clustering", "recommendation"]
"""The task of a model, by scikit-learn's terms. A recommendation has items in place of labels."""

Layout = Literal["matrix", "frame", "texts"]
"""How a pipeline takes its rows: an array ``[rows, features]``, a data frame with a column per feature, or an
array ``[rows]`` of texts, as a vectorizer does. Requests have the same form in each case."""

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$"
"""The pattern of a model's name: a DNS label, because it becomes part of a Kubernetes object's name."""


class Datatype(StrEnum):
    """Tensor data types of features and outputs, a subset of the Open Inference Protocol's."""

    BOOL = "BOOL"
    INT32 = "INT32"
    INT64 = "INT64"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def dtype(self) -> np.dtype:
        """The numpy type of its arrays; text is an object array of ``str``."""
        return _DTYPES[self]

    @property
    def is_float(self) -> bool:
        """Whether NaN and infinity exist in this type."""
        return self in (Datatype.FP32, Datatype.FP64)

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer type."""
        return self in (Datatype.INT32, Datatype.INT64)


_DTYPES = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.INT32: np.dtype(np.int32),
    Datatype.INT64: np.dtype(np.int64),
    Datatype.FP32: np.dtype(np.float32),
    Datatype.FP64: np.dtype(np.float64),
    Datatype.BYTES: np.dtype(object),
}


class Sensitivity(StrEnum):
    """Levels of data governance for a feature's values."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class _ContractModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


MATRIX = "input-0"
"""The name of the one tensor ``[rows, features]`` that replaces the columns if all features have one type."""

MAX_NAME_LENGTH = 256
"""The maximum length of a feature's name, in characters."""


class Feature(_ContractModel):
    """One input of the model. The contract lists the features in the order of a row's values.

    A missing value is NaN in a float feature and the empty string in a text feature. Features of other types
    have no missing values.
    """

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
    datatype: Annotated[Datatype, Field(strict=False)]
    missing: bool = False
    """Whether a request may omit the value."""
    minimum: int | float | str | None = None
    """The smallest value observed in training. The server accepts smaller values and counts them.

    An integer feature has an integer here, because a float cannot represent every 64-bit integer. A date or
    a time is a text in ISO 8601.
    """
    maximum: int | float | str | None = None
    """The largest value observed in training."""
    categories: Annotated[tuple[int | str, ...] | None, Field(strict=False)] = None
    """The values of a categorical feature: those observed in training, sorted, or the declared order.

    They are texts in a text feature, and integers in an integer feature that is categorical. A text feature
    without categories and without a format is free text.
    """
    ordered: bool = False
    """Whether the categories have an order, from the lowest to the highest."""
    format: Literal["date", "date-time"] | None = None
    """The format of a text feature's values, in ISO 8601: ``YYYY-MM-DD``, or with a time and an offset.

    A time without an offset is taken as it is, and one with an offset is converted to UTC. The names are JSON
    Schema's.
    """
    handle_unknown: Literal["reject", "accept"] = "reject"
    """Whether the server rejects or accepts a category that was not observed in training."""
    sensitivity: Annotated[Sensitivity, Field(strict=False)] = Sensitivity.INTERNAL

    @cached_property
    def known_values(self) -> frozenset[int | str]:
        """The categories, and the empty text if a text feature may be missing."""
        return frozenset(self.categories or ()) | ({""} if self.missing else set())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name == MATRIX:
            raise ValueError(f"feature '{MATRIX}': the name is reserved for the matrix of all features")
        text = self.datatype is Datatype.BYTES
        if self.categories is not None:
            self._validate_categories(self.categories)
        if self.missing and not (text or self.datatype.is_float):
            raise ValueError(f"feature '{self.name}': a {self.datatype} feature has no missing values")
        if self.format is not None and (not text or self.categories is not None):
            raise ValueError(
                f"feature '{self.name}': a {self.format} is a {Datatype.BYTES} feature without categories"
            )
        self._validate_range()
        if self.ordered and self.categories is None:
            raise ValueError(f"feature '{self.name}': only categories have an order")
        return self

    @property
    def is_free_text(self) -> bool:
        """Whether its values are texts of any content, such as remarks."""
        return self.datatype is Datatype.BYTES and self.categories is None and self.format is None

    def _validate_range(self) -> None:
        limits = [limit for limit in (self.minimum, self.maximum) if limit is not None]
        if limits and (self.is_free_text or self.categories is not None):
            raise ValueError(f"feature '{self.name}': a text or categorical feature has no range")
        if any(isinstance(limit, str) != (self.format is not None) for limit in limits):
            raise ValueError(f"feature '{self.name}': expected a range of texts for a date or a time only")

    def _validate_categories(self, categories: tuple[int | str, ...]) -> None:
        expected = str if self.datatype is Datatype.BYTES else int
        if not (self.datatype is Datatype.BYTES or self.datatype.is_integer) or any(
            type(category) is not expected for category in categories
        ):
            raise ValueError(
                f"feature '{self.name}': expected texts as categories of a {Datatype.BYTES} feature, or "
                f"integers of an integer feature, and this feature is {self.datatype}"
            )
        if len(set(categories)) < len(categories):
            raise ValueError(f"feature '{self.name}': a category is given twice")


class Output(_ContractModel):
    """One output tensor: ``[rows]``, or ``[rows, width]`` if it has a width."""

    name: Annotated[str, Field(min_length=1)]
    datatype: Annotated[Datatype, Field(strict=False)]
    width: Annotated[int | None, Field(ge=1)] = None
    labels: Annotated[tuple[int | str, ...], Field(strict=False)] = ()
    """The meaning of each column: the classes of probabilities, the names of several targets. Empty if the
    columns have no names."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.labels and len(self.labels) != self.width:
            raise ValueError(
                f"output '{self.name}': expected one label per column, {self.width or 0}, received "
                f"{len(self.labels)}"
            )
        return self


class DecisionThreshold(_ContractModel):
    """The rule of a classification with two classes that replaces the more probable class.

    The label is the positive one if its probability is at least the value, and the other one if not.
    """

    positive_label: int | str
    value: Annotated[float, Field(gt=0, lt=1)]


class Golden(_ContractModel):
    """Golden requests: rows with the outputs that scikit-learn computed for them in training.

    The server sends them to itself at startup, and ``helm test`` sends them to the server.
    """

    rows: Annotated[tuple[tuple[Scalar, ...], ...], Field(strict=False, min_length=1)]
    """Rows of feature values, in the order of the features."""
    outputs: dict[str, list[Scalar | list[Scalar]]]
    """By output name, one value or one list of values per row."""
    tolerance: Annotated[float, Field(gt=0)]
    """The largest accepted ``|actual - expected| / max(scale, |expected|)`` of floats."""
    scale: Annotated[float, Field(ge=0)] = 1.0
    """The standard deviation of outputs that have a unit, in that unit; 1 for probabilities and scores.

    It makes the comparison independent of the unit: near 0, a difference counts against the usual outputs.
    """

    def is_close(self, actual: object, expected: object) -> bool:
        """Return whether an output's value, or list of values, equals the expected one.

        Only floats have a tolerance; other values must be equal and of the same type.
        """
        if isinstance(expected, list):
            return (
                isinstance(actual, list)
                and len(actual) == len(expected)
                and all(self.is_close(a, e) for a, e in zip(actual, expected, strict=True))
            )
        if isinstance(expected, float) and isinstance(actual, int | float) and not isinstance(actual, bool):
            limit = self.tolerance * max(self.scale, abs(expected))
            return math.isfinite(actual) and abs(actual - expected) <= limit
        return type(actual) is type(expected) and actual == expected


class Contract(_ContractModel):
    """A model's inputs and outputs, with golden requests to verify them."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    task: Task
    layout: Layout
    features: Annotated[tuple[Feature, ...], Field(strict=False, min_length=1)]
    outputs: Annotated[tuple[Output, ...], Field(strict=False, min_length=1)]
    labels: Annotated[tuple[int | str, ...], Field(strict=False)] = ()
    """The values of the output ``label``; of a classifier in the order of its score columns. Empty for a
    regression, for several targets and for a recommendation."""
    threshold: DecisionThreshold | None = None
    """The decision threshold; None if the label is the model's own."""
    golden: Golden

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [feature.name for feature in self.features]
        outputs = [output.name for output in self.outputs]
        for field, given in (("features", names), ("outputs", outputs)):
            if repeated := [name for name, count in Counter(given).items() if count > 1]:
                raise ValueError(f"{field}: expected unique names, received '{repeated[0]}' more than once")
        if self.has_one_label != bool(self.labels):
            raise ValueError(
                f"labels: expected some for one label per row, and none for a regression or several targets, "
                f"received {len(self.labels)} for {self.task}"
            )
        self._validate_layout()
        self._validate_threshold()
        if set(self.golden.outputs) != set(outputs):
            raise ValueError(
                f"golden.outputs: expected {', '.join(sorted(outputs))}, received "
                f"{', '.join(sorted(self.golden.outputs))}"
            )
        for index, row in enumerate(self.golden.rows):
            if len(row) != len(names):
                raise ValueError(
                    f"golden.rows[{index}]: expected one value per feature, {len(names)}, received {len(row)}"
                )
        for name, values in self.golden.outputs.items():
            if len(values) != len(self.golden.rows):
                raise ValueError(
                    f"golden.outputs.{name}: expected one value per golden row, {len(self.golden.rows)}, "
                    f"received {len(values)}"
                )
        return self

    def _validate_layout(self) -> None:
        if self.layout == "matrix" and self.matrix_datatype is None:
            raise ValueError("layout: expected 'frame' or 'texts' for features of several types or of text")
        if self.layout == "texts" and [feature.datatype for feature in self.features] != [Datatype.BYTES]:
            raise ValueError("layout: expected one text feature for 'texts'")

    def _validate_threshold(self) -> None:
        if self.threshold is None:
            return
        if len(self.labels) != 2 or self.threshold.positive_label not in self.labels:
            raise ValueError(
                f"threshold: expected two labels, one of them '{self.threshold.positive_label}', received "
                f"{', '.join(map(str, self.labels)) or 'none'}"
            )
        if all(output.labels != self.labels for output in self.outputs):
            raise ValueError("threshold: expected an output with one probability per label, received none")

    @property
    def has_one_label(self) -> bool:
        """Whether the prediction is one label per row, not a number and not several targets."""
        return self.task != "regression" and self.prediction.width is None

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names, in the order of a row's values."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def matrix_datatype(self) -> Datatype | None:
        """The type of the matrix ``[rows, features]``; None unless all features are numbers of one type."""
        first = self.features[0].datatype
        if first is not Datatype.BYTES and all(feature.datatype is first for feature in self.features):
            return first
        return None

    @cached_property
    def blocks(self) -> tuple[Mapping[int, Feature], ...]:
        """By data type, the features of this type by their number in a row, from 0."""
        blocks: dict[Datatype, dict[int, Feature]] = {}
        for number, feature in enumerate(self.features):
            blocks.setdefault(feature.datatype, {})[number] = feature
        return tuple(blocks.values())

    @cached_property
    def prediction(self) -> Output:
        """The first output and V1's only one: a label, or a regression's value."""
        return self.outputs[0]
