# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a training run, ``train.yaml``, as pydantic models.

They reject unknown fields and values that contradict each other. They read no data:
:mod:`tidegate_training.data.table` compares the configuration with the data.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tidegate.contract import NAME_PATTERN, Sensitivity
from tidegate.csv_file import CsvFormat
from tidegate.errors import FieldError, first_problem
from tidegate_training.algorithms import (
    ALGORITHMS,
    AlgorithmName,
    Task,
    parameter_names,
    supports_sample_weight,
    validate_parameters,
)
from tidegate_training.expectation_options import Expectations
from tidegate_training.gates import METRICS, parse_gate
from tidegate_training.predecessor import PredecessorReference
from tidegate_training.search_options import SearchOptions

BundledDataset = Literal["breast_cancer", "iris", "wine", "digits", "diabetes"]
DatatypeName = Literal["float32", "float64", "int32", "int64", "bool", "text", "date", "datetime"]
DatetimePart = Literal["year", "month", "day", "weekday", "hour"]
Fraction = Annotated[float, Field(gt=0, lt=1)]

DATASET_TARGET = "target"
"""The name of the target in scikit-learn's own data sets."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def is_changed(self, field: str) -> bool:
        """Return whether a field has another value than its default."""
        return bool(getattr(self, field) != type(self).model_fields[field].default)


class Data(_Section):
    """The source of the rows: one of scikit-learn's own data sets, or a CSV or Parquet file."""

    dataset: BundledDataset | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    """A file, relative to the folder of the YAML file, or an object such as ``s3://bucket/key.csv``."""
    format: Literal["csv", "parquet"] | None = None
    """The file's format, if the file's name does not end in it."""
    csv: CsvFormat | None = None
    """How a CSV file spells its values, if not with commas, decimal points and in UTF-8."""
    target_names: bool = False
    """Whether a data set's labels are the names of its classes, instead of 0, 1, …"""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (self.path is None):
            raise ValueError("expected exactly one of 'dataset' and 'path'")
        if self.path is not None and self.target_names:
            raise FieldError(
                ("target_names",), "allowed with 'dataset' only, because a file has its own labels"
            )
        for field in ("format", "csv"):
            if self.dataset is not None and getattr(self, field) is not None:
                raise FieldError((field,), "allowed with 'path' only, because a data set has no file")
        if self.dataset == "diabetes" and self.target_names:
            raise FieldError(
                ("target_names",), "the data set 'diabetes' has numbers as target, and no classes"
            )
        return self


class FeatureOptions(_Section):
    """Settings of one feature that no data shows."""

    datatype: DatatypeName | None = None
    categorical: bool = False
    """Whether whole numbers are categories, such as the codes of branches. Texts always are."""
    free_text: bool = False
    """Whether the texts have any content, such as remarks, and are not categories."""
    order: Annotated[list[str], Field(min_length=2)] | None = None
    """The categories of a column of texts from the lowest to the highest; each becomes its rank."""
    handle_unknown: Literal["reject", "accept"] | None = None
    """Whether the server rejects or accepts a category that is not in the training rows.

    By default it rejects categories, and accepts the users of a recommendation.
    """
    sensitivity: Annotated[Sensitivity, Field(strict=False)] | None = None

    @property
    def format(self) -> Literal["date", "date-time"] | None:
        """The format of dates and times, by JSON Schema's names; None of other features."""
        if self.datatype == "date":
            return "date"
        return "date-time" if self.datatype == "datetime" else None

    @model_validator(mode="after")
    def _categories(self) -> Self:
        if self.categorical and self.datatype not in (None, "int32", "int64", "text"):
            raise FieldError(
                ("categorical",),
                "categories are whole numbers or texts: remove it, or set datatype: int64 or text instead of "
                f"{self.datatype}",
            )
        if self.order is not None and self.datatype not in (None, "text"):
            raise FieldError(
                ("order",),
                "only texts need one, because numbers have theirs: remove it, or set datatype: text",
            )
        if self.order is not None and ("" in self.order or len(set(self.order)) < len(self.order)):
            raise FieldError(("order",), "expected different categories, none of them empty")
        if self.free_text:
            self._reject_options_of_categories()
        return self

    def _reject_options_of_categories(self) -> None:
        if self.datatype not in (None, "text"):
            raise FieldError(
                ("free_text",), f"a {self.datatype} is not a text: remove it, or set datatype: text"
            )
        for field in ("categorical", "order", "handle_unknown"):
            if self.is_changed(field):
                raise FieldError((field,), "a free text has no categories: remove it, or free_text")


class Features(_Section):
    """The columns that are features, and their settings."""

    keep: Annotated[list[str], Field(min_length=1)] | None = None
    drop: Annotated[list[str], Field(min_length=1)] | None = None
    sensitivity: Annotated[Sensitivity, Field(strict=False)] = Sensitivity.INTERNAL
    """The sensitivity of every feature without one in ``overrides``."""
    overrides: dict[str, FeatureOptions] = {}

    @model_validator(mode="after")
    def _keep_or_drop(self) -> Self:
        if self.keep is not None and self.drop is not None:
            raise ValueError("expected 'keep' or 'drop', received both; remove one")
        return self


class Numeric(_Section):
    """Preprocessing of numbers."""

    impute: Literal["none", "mean", "median", "constant"] = "none"
    fill: float | None = None
    """The number that replaces missing values with ``impute: constant``."""
    scale: Literal["none", "standard", "minmax", "robust"] = "none"

    @model_validator(mode="after")
    def _fill(self) -> Self:
        if (self.impute == "constant") != (self.fill is not None):
            raise FieldError(("fill",), "expected together with 'impute: constant', and only then")
        return self


class Categorical(_Section):
    """One-hot encoding of categories without an order: one column per category."""

    drop: Literal["none", "first", "if_binary"] = "none"
    min_frequency: Annotated[int, Field(ge=1)] | None = None
    """Categories with fewer training rows share one column."""
    max_categories: Annotated[int, Field(ge=2)] | None = None
    """The largest number of columns per feature; the rarest categories share one column."""


class Text(_Section):
    """Vectorizing of free texts: one column per term, or per hash of terms."""

    vectorizer: Literal["tfidf", "hashing"] = "tfidf"
    analyzer: Literal["word", "char_wb"] = "word"
    """Whether terms are words, or characters within words."""
    ngram_range: Annotated[
        tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], Field(strict=False)
    ] = (1, 1)
    """The smallest and the largest number of words, or characters, of a term."""
    min_df: Annotated[int, Field(ge=1)] = 1
    """The smallest number of training rows with a term; rarer terms are left out. For ``tfidf`` only."""
    max_features: Annotated[int, Field(ge=1)] = 20_000
    """The largest number of terms; the most frequent stay. For ``tfidf`` only."""
    n_features: Annotated[int, Field(ge=2, le=1 << 22)] = 1 << 18
    """The number of columns. For ``hashing`` only."""

    @model_validator(mode="after")
    def _options_of_vectorizer(self) -> Self:
        if self.ngram_range[0] > self.ngram_range[1]:
            raise FieldError(("ngram_range",), "expected the smaller number first")
        others = ("n_features",) if self.vectorizer == "tfidf" else ("min_df", "max_features")
        for field in others:
            if self.is_changed(field):
                raise FieldError((field,), f"not an option of {self.vectorizer}: remove it")
        return self


class Datetime(_Section):
    """Features of dates and times: their parts, and differences between two of them in days."""

    parts: list[DatetimePart] = ["year", "month", "day", "weekday", "hour"]
    """The parts of each feature. A date without a time has no hour."""
    differences: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    """Pairs of features, the later one first."""


class Preprocessing(_Section):
    """Preprocessing, which is fitted on the training rows together with the estimator, in one pipeline."""

    numeric: Numeric = Numeric()
    categorical: Categorical = Categorical()
    text: Text = Text()
    datetime: Datetime = Datetime()

    def with_options(self, options: Mapping[str, JsonValue]) -> "Preprocessing":
        """Return the preprocessing with other values of options such as ``numeric.scale``.

        Raises:
            FieldError: If an option does not exist, or a value is wrong.
        """
        fields = self.model_dump(mode="json")
        for path, value in options.items():
            section, _, option = path.partition(".")
            if option not in fields.get(section, {}):
                known = ", ".join(f"{name}.{field}" for name in fields for field in fields[name])
                raise FieldError((path,), f"unknown option of preprocessing, expected one of {known}")
            fields[section][option] = value
        try:
            return Preprocessing.model_validate(fields)
        except ValidationError as error:
            raise FieldError(tuple(options), first_problem(error)) from None


class Algorithm(_Section):
    """An estimator, by scikit-learn's names of its class and its parameters."""

    name: AlgorithmName
    parameters: dict[str, JsonValue] = {}

    @field_validator("parameters", mode="before")
    @classmethod
    def _keys(cls, parameters: Any) -> Any:
        """Convert whole numbers that are keys of ``class_weight`` to texts, as JSON has them."""
        if not isinstance(parameters, dict):
            return parameters
        weights = parameters.get("class_weight")
        if not isinstance(weights, dict):
            return parameters
        if any(isinstance(key, bool) for key in weights):
            raise FieldError(
                ("class_weight",),
                "a class is true or false, expected a text or a whole number: quote it, because YAML reads a "
                "bare yes as true",
            )
        texts = {str(key) if isinstance(key, int) else key: weight for key, weight in weights.items()}
        return {**parameters, "class_weight": texts}

    @model_validator(mode="after")
    def _parameters(self) -> Self:
        try:
            validate_parameters(self.name, self.parameters)
        except FieldError as error:
            if error.location == ("name",):
                raise
            raise FieldError(("parameters", *error.location), error.problem) from None
        return self


class Split(_Section):
    """The division of the rows into training, validation and test rows."""

    test: Fraction = 0.2
    validation: Fraction = 0.2
    stratify: bool | None = None
    """Whether the classes have the same proportions in each split.

    By default true for a classification without ``group`` and ``time``.
    """
    group: str | None = None
    """A column whose rows with equal values go to the same split. It is left out of the features."""
    time: str | None = None
    """A column to sort by: the earliest rows train, the latest test. It is left out of the features."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError(
                "expected a sum of 'test' and 'validation' below 1, because the rest are the training rows, "
                f"received {self.test + self.validation:g}"
            )
        if self.group is not None and self.time is not None:
            raise ValueError("expected 'group' or 'time', received both; remove one")
        if self.stratify and (self.group is not None or self.time is not None):
            raise FieldError(
                ("stratify",), "not possible together with 'group' or 'time': remove one of them"
            )
        return self


ThresholdMetric = Literal["accuracy", "balanced_accuracy", "f1", "precision", "recall"]


class Costs(_Section):
    """The costs of wrong decisions, in any unit."""

    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]


class Threshold(_Section):
    """The decision threshold of two classes: a number, or a criterion to tune it by.

    It is the probability from which the label is the positive one. A criterion is applied to the validation
    rows, or to the sample rows of a model that is fitted already.
    """

    value: Fraction | None = None
    metric: ThresholdMetric | None = None
    costs: Costs | None = None

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if type(value) in (int, float):
            return {"value": value}
        if not isinstance(value, dict | Threshold):
            raise ValueError("expected a number, or one of 'metric' and 'costs'")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(field is not None for field in (self.value, self.metric, self.costs)) != 1:
            raise ValueError("expected a number, or one of 'metric' and 'costs'")
        return self

    def origin(self, split: str) -> str:
        """Return how the number was chosen, for the model card; ``split`` names the rows of a criterion."""
        if self.costs is not None:
            return (
                f"tuned on the {split} rows for the lowest cost, {self.costs.false_positive:g} per false "
                f"positive and {self.costs.false_negative:g} per false negative"
            )
        if self.metric is not None:
            return f"tuned on the {split} rows for the best {self.metric}"
        return "set by the model's owner"


class GroupColumn(_Section):
    """A column whose groups have metrics of their own. It need not be a feature."""

    column: Annotated[str, Field(min_length=1)]
    edges: Annotated[list[float], Field(min_length=1)] | None = None
    """Numbers in ascending order that divide a column of numbers into groups."""

    @model_validator(mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.edges is not None and sorted(set(self.edges)) != self.edges:
            raise FieldError(("edges",), "expected different numbers in ascending order")
        return self


class EvaluationOptions(_Section):
    """Breakdowns and costs of the evaluation."""

    costs: Costs | None = None
    """The costs of wrong decisions between two classes; by default those of ``threshold.costs``."""
    cost_matrix: dict[str, dict[str, Annotated[float, Field(ge=0)]]] | None = None
    """The cost of a row by its true and its predicted class; a pair without an entry costs nothing."""
    groups: list[GroupColumn] = []
    cross_validation: Annotated[int, Field(ge=2, le=20)] | None = None
    """The number of folds of the training and validation rows; by default there is no cross-validation."""

    @field_validator("cost_matrix", mode="before")
    @classmethod
    def _classes(cls, matrix: Any) -> Any:
        """Convert whole numbers that are classes to texts, as JSON has them."""
        if not isinstance(matrix, dict):
            return matrix
        return {
            _class_name(actual): {_class_name(label): cost for label, cost in row.items()}
            if isinstance(row, dict)
            else row
            for actual, row in matrix.items()
        }

    @model_validator(mode="after")
    def _one_kind_of_costs(self) -> Self:
        if self.costs is not None and self.cost_matrix is not None:
            raise ValueError("expected 'costs' or 'cost_matrix', received both; remove one")
        columns = [group.column for group in self.groups]
        if len(set(columns)) < len(columns):
            raise FieldError(("groups",), "expected each column once")
        return self


class DiagnosisOptions(_Section):
    """The curves of a diagnosis, for each of which the pipeline is fitted many times."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    parameter: Annotated[str, Field(min_length=1)] | None = None
    """The parameter of the regularization; by default that of the algorithm, if it is known."""
    values: Annotated[list[JsonValue], Field(min_length=2)] | None = None
    """The parameter's values, from the strongest regularization to the weakest."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.parameter is None) != (self.values is None):
            raise ValueError("expected 'parameter' and 'values' together, or neither of them")
        return self


def _class_name(label: Any) -> Any:
    if isinstance(label, bool):
        raise ValueError(
            "a class is true or false, expected a text or a whole number: quote it, because YAML reads a "
            "bare yes as true"
        )
    return str(label) if isinstance(label, int) else label


class Champion(_Section):
    """The bundle that a new model must beat on the same test rows."""

    reference: PredecessorReference
    require: Literal["better", "not_worse"] = "better"
    """The result of the paired test that a new model needs, at the 5 % level."""
    group: Annotated[str, Field(min_length=1)] | None = None
    """A column with groups of rows. The new model must be worse for none of them."""


class ModelCard(_Section):
    """Texts of the model's owner for the model card."""

    summary: str | None = None
    intended_use: str | None = None
    limitations: str | None = None
    retention: str | None = None
    """How long the training data and the logged requests are kept, and who deletes them."""


_WITHOUT_CLASSES = {
    "regression": "a regression",
    "recommendation": "a recommendation",
    "outlier_detection": "an outlier detection",
    "clustering": "a clustering",
}


class TrainingConfig(_Section):
    """The configuration of a training run.

    Configuration, data and installed versions determine the bundle, byte for byte.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    task: Task
    data: Data
    target: Annotated[str, Field(min_length=1)] = DATASET_TARGET
    """The column of the true classes or values. A file for outlier detection or clustering may have none."""
    positive_label: int | str | None = None
    """The positive class, of two, of precision, recall, F1 and ROC AUC. By default the second one.

    For outlier detection it is the class of the outliers in the target, by default -1.
    """
    threshold: Threshold | None = None
    """The decision threshold of two classes. By default the label is the more probable class."""
    sample_weight: Annotated[str, Field(min_length=1)] | None = None
    """The column of the rows' weights, in fitting and in the metrics. It is left out of the features."""
    features: Features = Features()
    preprocessing: Preprocessing = Preprocessing()
    algorithm: Algorithm
    split: Split = Split()
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    float_dtype: Literal["float32", "float64"] = "float32"
    """The type of features with fractions, in training and in requests."""
    gates: dict[str, str] = {}
    """Thresholds by scope and metric, as ``test.f1: ">= 0.9"`` or ``gap.f1: "<= 0.05"``."""
    expectations: Expectations = Expectations()
    """Conditions on the data, which are checked before anything is fitted."""
    evaluation: EvaluationOptions = EvaluationOptions()
    diagnosis: DiagnosisOptions | None = None
    """Curves against overfitting; by default there are none, because they fit many models."""
    search: SearchOptions | None = None
    """The search for another algorithm and other parameters than those of ``algorithm``."""
    champion: Champion | None = None
    """The bundle to compare the model with. It changes nothing in the new bundle."""
    golden_rows: Annotated[int, Field(ge=1, le=100)] = 8
    """The largest number of test rows that become golden requests."""
    model_card: ModelCard = ModelCard()

    # pydantic passes a validator the valid fields above its own.

    @field_validator("algorithm", mode="before")
    @classmethod
    def _keras(cls, algorithm: Any, info: ValidationInfo) -> Any:
        """Complete the name ``keras`` by the task."""
        if not isinstance(algorithm, dict) or algorithm.get("name") != "keras":
            return algorithm
        kind = "Regressor" if info.data.get("task") == "regression" else "Classifier"
        return {**algorithm, "name": f"Keras{kind}"}

    @field_validator("algorithm")
    @classmethod
    def _algorithm_fits_task(cls, algorithm: Algorithm, info: ValidationInfo) -> Algorithm:
        task = info.data.get("task", ALGORITHMS[algorithm.name].task)
        if ALGORITHMS[algorithm.name].task != task:
            expected = ", ".join(sorted(name for name, a in ALGORITHMS.items() if a.task == task))
            raise FieldError(
                ("name",), f"{algorithm.name} is not an algorithm for {task}, expected one of {expected}"
            )
        return algorithm

    @model_validator(mode="after")
    def _sample_weight(self) -> Self:
        if self.sample_weight is not None and not supports_sample_weight(self.algorithm.name):
            raise FieldError(
                ("sample_weight",),
                f"{self.algorithm.name} does not support sample weights: remove it, or choose another "
                "algorithm",
            )
        return self

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
        if self.target_column is None and self.is_supervised:
            raise FieldError(("target",), "missing: name the column of the file to predict")
        if self.data.dataset is not None:
            if self.target != DATASET_TARGET:
                raise FieldError(
                    ("target",),
                    f"expected '{DATASET_TARGET}', the target of every data set, received '{self.target}'",
                )
            if (self.data.dataset == "diabetes") != (self.task == "regression"):
                raise FieldError(
                    ("data", "dataset"),
                    f"the data set '{self.data.dataset}' is not a data set for {self.task}",
                )
        reason = f"because {_WITHOUT_CLASSES.get(self.task)} has no classes"
        if self.positive_label is not None and self.task not in ("classification", "outlier_detection"):
            raise FieldError(("positive_label",), f"allowed for a classification only, {reason}")
        if self.threshold is not None and self.task != "classification":
            raise FieldError(("threshold",), f"allowed for a classification only, {reason}")
        if self.champion is not None and self.task not in ("classification", "regression"):
            raise FieldError(("champion",), "allowed for a classification or a regression only: remove it")
        if self.diagnosis is not None and self.task not in ("classification", "regression"):
            raise FieldError(("diagnosis",), "allowed for a classification or a regression only: remove it")
        if self.diagnosis is not None and self.diagnosis.parameter is not None:
            known = parameter_names(self.algorithm.name)
            if self.diagnosis.parameter not in known:
                raise FieldError(
                    ("diagnosis", "parameter"),
                    f"{self.algorithm.name} has no parameter '{self.diagnosis.parameter}', expected one of "
                    f"{', '.join(known)}",
                )
        if self.task != "classification":
            for field in ("costs", "cost_matrix"):
                if getattr(self.evaluation, field) is not None:
                    raise FieldError(("evaluation", field), f"allowed for a classification only, {reason}")
        if self.split.stratify and self.task != "classification":
            raise FieldError(("split", "stratify"), f"allowed for a classification only, {reason}")
        if (
            self.task == "outlier_detection"
            and self.positive_label is not None
            and self.target_column is None
        ):
            raise FieldError(("target",), "missing: name the column that has the class of the outliers")
        return self

    @model_validator(mode="after")
    def _search(self) -> Self:
        search = self.search
        if search is None:
            return self
        if self.task not in ("classification", "regression"):
            raise FieldError(("search",), "allowed for a classification or a regression only: remove it")
        for index, candidate in enumerate(search.algorithms):
            location = ("search", "algorithms", index, "name")
            if ALGORITHMS[candidate.name].task != self.task:
                raise FieldError(location, f"{candidate.name} is not an algorithm for {self.task}")
            if self.sample_weight is not None and not supports_sample_weight(candidate.name):
                raise FieldError(location, f"{candidate.name} does not support sample weights: remove it")
        if search.metric is not None and search.metric not in METRICS[self.task]:
            raise FieldError(
                ("search", "metric"),
                f"'{search.metric}' is not a metric of a {self.task}, expected one of "
                f"{', '.join(METRICS[self.task])}",
            )
        costs = self.evaluation.costs or (self.threshold and self.threshold.costs)
        if search.metric == "cost" and costs is None and self.evaluation.cost_matrix is None:
            raise FieldError(("search", "metric"), "there are no costs: set evaluation.costs")
        for option, space in search.preprocessing.items():
            for value in space.samples:
                try:
                    self.preprocessing.with_options({option: value})
                except FieldError as error:
                    raise FieldError(("search", "preprocessing", option), error.problem) from None
        if self.diagnosis is not None and self.diagnosis.parameter is not None:
            raise FieldError(
                ("diagnosis", "parameter"),
                "the search chooses the algorithm and so the parameter: remove 'parameter' and 'values'",
            )
        return self

    @model_validator(mode="after")
    def _cross_validation(self) -> Self:
        if self.evaluation.cross_validation is None:
            for metric in self.gates:
                if metric.startswith("cross_validation."):
                    raise FieldError(
                        ("gates", metric),
                        "there is no cross-validation: set evaluation.cross_validation, the number of folds",
                    )
        return self

    @model_validator(mode="after")
    def _recommendation(self) -> Self:
        if self.task != "recommendation":
            return self
        if self.data.dataset is not None:
            raise FieldError(
                ("data", "dataset"),
                "a recommendation is trained on interactions of users with items: set data.path instead",
            )
        if self.evaluation.cross_validation is not None:
            raise FieldError(
                ("evaluation", "cross_validation"),
                "a recommendation has no folds, because each user needs training interactions: remove it",
            )
        if self.evaluation.groups:
            raise FieldError(
                ("evaluation", "groups"),
                "a recommendation is evaluated by the number of a user's interactions: remove it",
            )
        if self.split.group is not None:
            raise FieldError(
                ("split", "group"), "a recommendation splits the interactions of each user: remove it"
            )
        if self.is_changed("preprocessing"):
            raise FieldError(
                ("preprocessing",), "users and items of a recommendation are not preprocessed: remove it"
            )
        for name, options in self.features.overrides.items():
            for field in ("free_text", "order"):
                if options.is_changed(field):
                    raise FieldError(
                        ("features", "overrides", name, field),
                        "not an option of the users of a recommendation: remove it",
                    )
        return self

    @property
    def is_supervised(self) -> bool:
        """Whether the estimator is fitted to the target. For others only metrics need one."""
        return self.task not in ("outlier_detection", "clustering")

    @property
    def target_column(self) -> str | None:
        """The column of the true classes or values; None if a file has none, or none is named."""
        named = self.data.dataset is not None or "target" in self.model_fields_set
        return self.target if named else None

    def manifest_parameters(self) -> dict[str, Any]:
        """Return the parameters of the manifest: of estimator, weights, preprocessing and split."""
        return {
            "algorithm": self.algorithm.parameters,
            "sample_weight": self.sample_weight,
            "threshold": None if self.threshold is None else self.threshold.model_dump(exclude_none=True),
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "split": self.split.model_dump(mode="json"),
            "float_dtype": self.float_dtype,
        }
