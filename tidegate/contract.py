# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The contract: what a model takes and gives, captured once, at training time.

Request validation, metadata, readiness, load-test payloads, the drift baseline and the model card are
all read from it. It describes; it neither decodes requests nor runs models.
"""

import math
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str | None
"""One value of one feature, as JSON has it. None is a missing value."""

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$"
"""A model's name is a DNS label, because it becomes part of a Kubernetes object's name."""


class Datatype(StrEnum):
    """The tensor data types of the Open Inference Protocol that a feature or an output can have."""

    BOOL = "BOOL"
    INT32 = "INT32"
    INT64 = "INT64"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def dtype(self) -> np.dtype:
        """The numpy type that holds it; text is an object array of ``str``."""
        return _DTYPES[self]

    @property
    def is_float(self) -> bool:
        """Whether NaN and infinity exist in this type."""
        return self in (Datatype.FP32, Datatype.FP64)

    @property
    def is_integer(self) -> bool:
        """Whether it holds whole numbers only."""
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
    """How carefully a feature's values are to be handled, from the usual four levels of data governance."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


MATRIX = "input-0"
"""The name of the one tensor, shape ``[rows, features]``, that a model of like features also understands."""

NAME_LIMIT = 256
"""How long a feature's name may be, in characters."""


class Feature(_Part):
    """One input of the model, in the order in which a row lists them.

    A missing value is NaN in a float feature and the empty string in a text feature; the other types
    have none.
    """

    name: Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
    datatype: Annotated[Datatype, Field(strict=False)]
    missing: bool = False
    """Whether a request may leave the value out."""
    minimum: int | float | None = None
    """Smallest value seen in training. A request outside is unusual, not wrong.

    Of an integer feature it is an integer: a float does not hold every whole number of 64 bits.
    """
    maximum: int | float | None = None
    """Largest value seen in training."""
    categories: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    """The values that a text feature had in training, sorted."""
    handle_unknown: Literal["reject", "accept"] = "reject"
    """What becomes of a category that training never saw."""
    sensitivity: Annotated[Sensitivity, Field(strict=False)] = Sensitivity.INTERNAL

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name == MATRIX:
            raise ValueError(f"a feature is called '{MATRIX}': it is the name of the matrix of all features")
        text = self.datatype is Datatype.BYTES
        if (self.categories is not None) != text:
            raise ValueError(f"feature '{self.name}': categories belong to BYTES features, and only to them")
        if self.missing and not (text or self.datatype.is_float):
            raise ValueError(f"feature '{self.name}': a {self.datatype} feature has no missing values")
        if text and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"feature '{self.name}': text has no range")
        return self


class Output(_Part):
    """One output tensor: a value a row (shape ``[rows]``) or ``width`` values a row (``[rows, width]``)."""

    name: Annotated[str, Field(min_length=1)]
    datatype: Annotated[Datatype, Field(strict=False)]
    width: Annotated[int | None, Field(ge=1)] = None


class Golden(_Part):
    """Questions with known answers: asked at start, by ``helm test``, and by whoever doubts."""

    rows: Annotated[tuple[tuple[Scalar, ...], ...], Field(strict=False, min_length=1)]
    """Rows of feature values, in the order of the features."""
    outputs: dict[str, list[Scalar | list[float]]]
    """By output name, a list with the answer to each row, as scikit-learn itself gave it."""
    tolerance: Annotated[float, Field(gt=0)]
    """Largest accepted ``|answer - expected| / max(1, |expected|)`` of a number; the rest must be equal."""


class Contract(_Part):
    """What a model takes and gives."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    task: Literal["classification", "regression"]
    features: Annotated[tuple[Feature, ...], Field(strict=False, min_length=1)]
    outputs: Annotated[tuple[Output, ...], Field(strict=False, min_length=1)]
    labels: Annotated[tuple[int | str, ...], Field(strict=False)] = ()
    """A classifier's classes in the order of its score columns; empty for a regression."""
    golden: Golden

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError("two features have the same name")
        outputs = {output.name for output in self.outputs}
        if len(outputs) != len(self.outputs):
            raise ValueError("two outputs have the same name")
        if (self.task == "classification") != bool(self.labels):
            raise ValueError("a classifier has labels, a regression has none")
        if set(self.golden.outputs) != outputs:
            raise ValueError("the golden answers are not those of the outputs")
        if any(len(row) != len(names) for row in self.golden.rows):
            raise ValueError("a golden row has another number of values than there are features")
        if any(len(answers) != len(self.golden.rows) for answers in self.golden.outputs.values()):
            raise ValueError("there are not as many golden answers as golden rows")
        return self

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names, in the order of a row."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def matrix_datatype(self) -> Datatype | None:
        """The type of the features if all are numbers of one type, so that a row is a row of a matrix."""
        first = self.features[0].datatype
        if first is not Datatype.BYTES and all(feature.datatype is first for feature in self.features):
            return first
        return None

    @cached_property
    def prediction(self) -> Output:
        """The output that V1 answers with: a classifier's label, a regression's value. It comes first."""
        return self.outputs[0]


def close(answer: object, expected: object, tolerance: float) -> bool:
    """Whether an answer equals the expected one, numbers within a relative tolerance.

    >>> close([0.5, 1.0], [0.500001, 1.0], 1e-5)
    True
    >>> close("malignant", "benign", 1e-5)
    False
    """
    if isinstance(expected, list):
        return (
            isinstance(answer, list)
            and len(answer) == len(expected)
            and all(close(a, e, tolerance) for a, e in zip(answer, expected, strict=True))
        )
    if isinstance(expected, float) and isinstance(answer, int | float) and not isinstance(answer, bool):
        return math.isfinite(answer) and abs(answer - expected) <= tolerance * max(1.0, abs(expected))
    return type(answer) is type(expected) and answer == expected
