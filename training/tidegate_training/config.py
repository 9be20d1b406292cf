# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The file that a training run is made from, ``train.yaml``, as pydantic models.

It says what may be written and refuses everything else. It reads no data and builds no estimator; whether
the data fits is found out when it is loaded.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tidegate.contract import NAME_PATTERN, Sensitivity
from tidegate.errors import FieldError
from tidegate_training.algorithms import ALGORITHMS, parameter_names
from tidegate_training.gates import parse_gate

BundledDataset = Literal["breast_cancer", "iris", "wine", "digits", "diabetes"]
DatatypeName = Literal["float32", "float64", "int32", "int64", "bool", "text"]
Share = Annotated[float, Field(gt=0, lt=1)]

DATASET_TARGET = "target"
"""What the target of a data set bundled with scikit-learn is called."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(_Part):
    """Where the rows come from: a data set bundled with scikit-learn, or a CSV or Parquet file."""

    dataset: BundledDataset | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    """A file, relative to the folder of the YAML file, or an object's address (``s3://bucket/key.csv``)."""
    format: Literal["csv", "parquet"] | None = None
    """The file's format, when its name does not end in it."""
    target_names: bool = False
    """Of a bundled data set for classification: use the classes' names as labels instead of 0, 1, …"""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (self.path is None):
            raise ValueError("give either 'dataset' or 'path', and only one of them")
        if self.path is not None and self.target_names:
            raise FieldError(("target_names",), "it belongs to a data set: a file has its labels in it")
        if self.dataset is not None and self.format is not None:
            raise FieldError(("format",), "it belongs to 'path', and the data set has none")
        if self.dataset == "diabetes" and self.target_names:
            raise FieldError(("target_names",), "the data set 'diabetes' has a number to predict")
        return self


class FeatureOptions(_Part):
    """What is said of one feature beyond what the data shows."""

    datatype: DatatypeName | None = None
    handle_unknown: Literal["reject", "accept"] = "reject"
    """What the server does with a category that training never saw."""
    sensitivity: Annotated[Sensitivity, Field(strict=False)] | None = None


class Features(_Part):
    """Which columns are features, and what is known of them."""

    keep: Annotated[list[str], Field(min_length=1)] | None = None
    drop: Annotated[list[str], Field(min_length=1)] | None = None
    sensitivity: Annotated[Sensitivity, Field(strict=False)] = Sensitivity.INTERNAL
    """The sensitivity of every feature that ``overrides`` does not give another one."""
    overrides: dict[str, FeatureOptions] = {}

    @model_validator(mode="after")
    def _keep_or_drop(self) -> Self:
        if self.keep is not None and self.drop is not None:
            raise ValueError("give 'keep' or 'drop', not both")
        return self


class Numeric(_Part):
    """What happens to numbers before the estimator sees them."""

    impute: Literal["none", "mean", "median", "constant"] = "none"
    fill: float | None = None
    """The number that ``impute: constant`` puts in."""
    scale: Literal["none", "standard", "minmax", "robust"] = "none"

    @model_validator(mode="after")
    def _fill(self) -> Self:
        if (self.impute == "constant") != (self.fill is not None):
            raise FieldError(("fill",), "'fill' and 'impute: constant' belong together")
        return self


class Text(_Part):
    """How categories become numbers: one column a category."""

    drop: Literal["none", "first", "if_binary"] = "none"
    min_frequency: Annotated[int, Field(ge=1)] | None = None
    """Categories with fewer training rows than this share one column."""
    max_categories: Annotated[int, Field(ge=2)] | None = None
    """The rarest categories share one column so that there are at most this many."""


class Preprocessing(_Part):
    """What is fitted on the training part, together with the estimator, in one pipeline."""

    numeric: Numeric = Numeric()
    text: Text = Text()


class Algorithm(_Part):
    """An estimator by its class name in scikit-learn, with its parameters by theirs."""

    name: str
    parameters: dict[str, JsonValue] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ALGORITHMS:
            raise ValueError(f"expected one of {', '.join(sorted(ALGORITHMS))}")
        return name

    @model_validator(mode="after")
    def _parameters(self) -> Self:
        allowed = parameter_names(self.name)
        for parameter in self.parameters:
            if parameter not in allowed:
                raise FieldError(
                    ("parameters", parameter),
                    f"{self.name} has no such parameter: expected some of {', '.join(allowed)}",
                )
        return self


class Split(_Part):
    """How the rows are divided before anything is fitted."""

    test: Share = 0.2
    validation: Share = 0.2
    stratify: bool | None = None
    """Whether each part has the classes in the same shares. By default yes, where it is possible."""
    group: str | None = None
    """A column whose rows of one value all go into one part. It is no feature."""
    time: str | None = None
    """A column to order by: the past trains, the future tests. It is no feature."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError("'test' and 'validation' leave nothing to train on: their sum must be below 1")
        if self.group is not None and self.time is not None:
            raise ValueError("give 'group' or 'time', not both")
        if self.stratify and (self.group is not None or self.time is not None):
            raise FieldError(("stratify",), "it cannot hold together with 'group' or 'time'")
        return self


class ModelCard(_Part):
    """What a person says of the model, for its card."""

    summary: str | None = None
    intended_use: str | None = None
    limits: str | None = None


class TrainingConfig(_Part):
    """A training run: everything that its result depends on but the data and the installed versions."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    task: Literal["classification", "regression"]
    data: Data
    target: Annotated[str, Field(min_length=1)] = DATASET_TARGET
    positive_label: int | str | None = None
    """The class that precision, recall, F1 and ROC AUC are about, of two. By default the second."""
    features: Features = Features()
    preprocessing: Preprocessing = Preprocessing()
    algorithm: Algorithm
    split: Split = Split()
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    float_dtype: Literal["float32", "float64"] = "float32"
    """The type of features that are not whole numbers, in training and in requests."""
    gates: dict[str, str] = {}
    """Thresholds by metric, as ``test.f1: ">= 0.9"`` or ``gap.f1: "<= 0.05"``."""
    golden_rows: Annotated[int, Field(ge=1, le=100)] = 8
    """How many rows of the test part become questions with known answers."""
    model_card: ModelCard = ModelCard()

    # A validator is given the fields above its own, without those that are wrong themselves.

    @field_validator("algorithm")
    @classmethod
    def _for_the_task(cls, algorithm: Algorithm, info: ValidationInfo) -> Algorithm:
        task = info.data.get("task", ALGORITHMS[algorithm.name].task)
        if ALGORITHMS[algorithm.name].task != task:
            fitting = ", ".join(sorted(name for name, a in ALGORITHMS.items() if a.task == task))
            raise FieldError(("name",), f"{algorithm.name} does no {task}: for that there are {fitting}")
        return algorithm

    @field_validator("gates")
    @classmethod
    def _gates(cls, gates: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for metric, rule in gates.items():
            try:
                parse_gate(metric, rule, info.data.get("task"))
            except ValueError as error:
                raise FieldError((metric,), str(error)) from None
        return gates

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.path is not None and "target" not in self.model_fields_set:
            raise FieldError(("target",), "missing; name the column of the file that is to be predicted")
        if self.data.dataset is not None:
            if self.target != DATASET_TARGET:
                raise FieldError(
                    ("target",),
                    f"that of a bundled data set is called '{DATASET_TARGET}', received '{self.target}'",
                )
            if (self.data.dataset == "diabetes") != (self.task == "regression"):
                raise FieldError(
                    ("data", "dataset"), f"the data set '{self.data.dataset}' is not for {self.task}"
                )
        if self.task == "regression" and self.positive_label is not None:
            raise FieldError(("positive_label",), "it is about classes, and a regression has none")
        if self.task == "regression" and self.split.stratify:
            raise FieldError(("split", "stratify"), "it is about classes, and a regression has none")
        return self

    def parameters(self) -> dict[str, Any]:
        """What the manifest records of the run: estimator, preprocessing, split, precision."""
        return {
            "algorithm": self.algorithm.parameters,
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "split": self.split.model_dump(mode="json"),
            "float_dtype": self.float_dtype,
        }
