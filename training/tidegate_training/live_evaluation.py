# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The evaluation of served predictions: their labels, which arrive later, are joined by the id of a request.

Metrics and intervals are those of a training run, next to those that the bundle has recorded. Predictions
without a label count in no metric, so the metrics hold for the labelled requests alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from tidegate.bundle import METRICS, Bundle
from tidegate.contract import Contract
from tidegate.errors import ConfigurationError, DataError, FieldError
from tidegate.outputs import LABEL, PREDICTION, PROBABILITIES
from tidegate_training.bundling.features import FeatureTable, Indices
from tidegate_training.bundling.fitted_model import FittedModel
from tidegate_training.config import Data, GroupColumn
from tidegate_training.data.grouping import read_groupings
from tidegate_training.data.request_sample import is_folder, read_request_sample
from tidegate_training.data.source import Source, read_source
from tidegate_training.evaluation.breakdown import Breakdown, Grouping, break_down
from tidegate_training.evaluation.estimates import Estimates, Evaluator
from tidegate_training.evaluation.intervals import Interval
from tidegate_training.evaluation.metrics import choose_positive_label, quantile_levels

Array = NDArray[Any]

PROBABILITY = "probability"
"""The column with the probability of the positive class, of two."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A metric that the bundle has recorded.

    Attributes:
        value: The value on held-out rows.
        interval: Its interval; None if the bundle has none.
    """

    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class LiveEvaluation:
    """The metrics of served predictions with labels.

    Attributes:
        predictions: The number of predictions.
        estimates: The metrics of those with a label.
        recorded: By metric, the value of the bundle.
        breakdown: The metrics by class, group and probability.
        without_probability: The number of predictions without the probability that others have. If there are
            any, no metric uses probabilities.
    """

    predictions: int
    estimates: Estimates
    recorded: Mapping[str, Recorded]
    breakdown: Breakdown
    without_probability: int = 0

    @property
    def findings(self) -> list[str]:
        """Return a sentence for the labels, and one for each metric whose intervals do not overlap."""
        labelled = self.estimates.rows
        sentences = [
            f"{labelled} of {self.predictions} predictions have a label. The metrics hold for these "
            "requests, and for the others only if labels arrive independently of the outcome."
        ]
        if self.without_probability:
            sentences.append(
                f"{self.without_probability} of {self.predictions} predictions have no probability, because "
                "their requests did not select it. Metrics of probabilities are left out."
            )
        for name, value in self.estimates.metrics.items():
            recorded, interval = self.recorded.get(name), self.estimates.intervals.get(name)
            if value is None or interval is None or recorded is None or recorded.interval is None:
                continue
            if interval.low <= recorded.interval.high and recorded.interval.low <= interval.high:
                continue
            side = "below" if value < recorded.value else "above"
            sentences.append(
                f"{name} is {value:.3g} ({interval}), {side} the {recorded.value:.3g} of training "
                f"({recorded.interval}): the intervals do not overlap."
            )
        return sentences

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as JSON values."""
        return {
            "predictions": self.predictions,
            "labelled": self.estimates.rows,
            **self.estimates.to_json(),
            "recorded": {name: asdict(recorded) for name, recorded in self.recorded.items()},
            "classes": [{"name": it.name, **it.estimates.to_json()} for it in self.breakdown.classes],
            "groups": [group.to_json() for group in self.breakdown.groups],
            "calibration": [asdict(bin_) for bin_ in self.breakdown.calibration],
            "findings": self.findings,
        }


def evaluate_labels(
    bundle: Bundle,
    predictions: str,
    labels: str,
    *,
    id_column: str = "id",
    target: str = "label",
    groups: Sequence[str] = (),
    positive_label: str | None = None,
) -> LiveEvaluation:
    """Join predictions with their labels, and compute the metrics of the model's task.

    Args:
        bundle: The bundle that has made the predictions.
        predictions: A CSV or Parquet file, or an object, with the id and the column ``label`` of a
            classification (and ``probability``, that of the positive class of two), or ``prediction`` of a
            regression; or the folder of a request sample, whose probability is that of the default positive
            class.
        labels: Such a file with the id and the true class or value.
        id_column: The column of the id in both files.
        target: The column of the true class or value.
        groups: Columns of the predictions whose groups have metrics of their own.
        positive_label: The class, of two, that the metrics are about; by default that of the decision
            threshold, otherwise the second one.

    Raises:
        ConfigurationError: If the task has no such metrics, or a file or column does not exist.
        DataError: If a file is not valid, an id is there twice, or no prediction has a label.
    """
    contract = bundle.contract
    has_quantiles = contract.task == "regression" and bool(quantile_levels(contract.outputs[0].labels))
    classifies = contract.task == "classification" and bool(contract.labels)
    if has_quantiles or not (classifies or contract.task == "regression"):
        raise ConfigurationError(
            f"The bundle {bundle.label} is for a {contract.task} that has no metrics of one label per row: "
            "expected a classification or a regression with one target."
        )
    is_sample, without_probability = is_folder(predictions), 0
    if is_sample:
        served, without_probability = _read_sample(predictions, bundle.digest)
    else:
        served = _read(predictions)
    known = _read(labels)
    rows, of_label = _join(_ids(served, id_column), _ids(known, id_column), served.name, known.name)
    positive = _positive_label(contract, positive_label)
    probable = _positive_label(contract, None) if is_sample else positive
    outputs = {name: values[rows] for name, values in _outputs(served, contract, probable).items()}
    name = LABEL if classifies else PREDICTION
    truth = _values(known, target, contract, name)[of_label]
    groupings = {
        column: Grouping(grouping.names, grouping.codes[rows])
        for column, grouping in _groupings(served, groups).items()
    }
    evaluator = Evaluator(_model(contract, truth), positive)
    positions = np.arange(len(rows))
    return LiveEvaluation(
        served.rows,
        evaluator.estimate(positions, outputs),
        _recorded(bundle),
        break_down(evaluator, positions, outputs, groupings),
        without_probability,
    )


def _read_sample(folder: str, digest: str) -> tuple[Source, int]:
    """Return a request sample, and the number of its rows without a probability that others have."""
    source = read_request_sample(folder, digest)
    if PROBABILITY not in source.names:
        return source, 0
    missing = int(source.column(PROBABILITY).convert("number").missing.sum())
    return (source.without_column(PROBABILITY) if missing else source), missing


def _read(path: str) -> Source:
    try:
        return read_source(Data(path=path), Path())
    except FieldError as error:
        raise ConfigurationError(f"{path}: {error.problem}.") from None


def _require_column(source: Source, name: str) -> None:
    if name not in source.names:
        raise ConfigurationError(
            f"{source.name} has no column '{name}': expected one of {', '.join(source.names)}."
        )


def _ids(source: Source, name: str) -> list[str]:
    return list(map(str, _texts(source, name)))


def _texts(source: Source, name: str) -> Array:
    """Return a column without missing values as texts, ``[rows]``."""
    _require_column(source, name)
    try:
        texts = source.column(name).convert("text")
    except DataError:  # its advice is about a training run
        raise DataError(
            f"{source.name}: the column '{name}' has numbers or times without one spelling: expected texts, "
            "booleans or whole numbers; convert the column."
        ) from None
    if texts.missing.any():
        row = int(np.argmax(texts.missing)) + 1
        raise DataError(
            f"{source.name}: the column '{name}' has no value in row {row:,}: remove rows without one."
        )
    return texts.values.astype(str)


def _join(
    served: Sequence[str], known: Sequence[str], predictions: str, labels: str
) -> tuple[Indices, Indices]:
    """Return the numbers of the predictions with a label, and those of their labels, ``[joined_rows]``.

    Args:
        served: The id of each prediction.
        known: The id of each label.
        predictions: The name of the predictions' file.
        labels: The name of the labels' file.
    """
    for ids, file in ((served, predictions), (known, labels)):
        (most_frequent, count), *_ = Counter(ids).most_common(1)
        if count > 1:
            raise DataError(f"{file} has the id '{most_frequent}' {count} times: keep one row per id.")
    of_id = {value: number for number, value in enumerate(known)}
    joined = [(number, of_id[value]) for number, value in enumerate(served) if value in of_id]
    if not joined:
        raise DataError(
            f"No id of {predictions} is in {labels}: expected the same ids, received '{served[0]}' and "
            f"'{known[0]}'."
        )
    rows, of_label = np.array(joined, dtype=np.intp).T
    return rows, of_label


def _positive_label(contract: Contract, text: str | None) -> Any:
    if text is None:
        chosen = None if contract.threshold is None else contract.threshold.positive_label
        return choose_positive_label(chosen, contract.labels)
    named = [label for label in contract.labels if str(label) == text]
    if len(contract.labels) != 2 or not named:
        raise ConfigurationError(
            f"--positive-label {text} is not one of two classes: expected one of "
            f"{', '.join(map(str, contract.labels)) or 'those of a classification'}."
        )
    return named[0]


def _outputs(source: Source, contract: Contract, positive_label: Any) -> dict[str, Array]:
    """Return the outputs of the predictions, ``[rows]`` or ``[rows, width]`` by output."""
    if contract.task == "regression":
        return {PREDICTION: _values(source, PREDICTION, contract, PREDICTION)}
    outputs = {LABEL: _values(source, LABEL, contract, LABEL)}
    if PROBABILITY in source.names and len(contract.labels) == 2:
        probability = _numbers(source, PROBABILITY)
        if (probability < 0).any() or (probability > 1).any():
            raise DataError(f"{source.name}: the column '{PROBABILITY}' is not between 0 and 1.")
        of_class = (1 - probability, probability)
        order = of_class if contract.labels.index(positive_label) == 1 else of_class[::-1]
        outputs[PROBABILITIES] = np.stack(order, axis=1)
    return outputs


def _values(source: Source, name: str, contract: Contract, output: str) -> Array:
    """Return a column as classes of the contract or as numbers, ``[rows]``."""
    if output == PREDICTION:
        return _numbers(source, name)
    texts = _texts(source, name)
    labels = {str(label): label for label in contract.labels}
    unknown = sorted(set(texts) - labels.keys())
    if unknown:
        raise DataError(
            f"{source.name}: the column '{name}' has '{unknown[0]}': expected one of {', '.join(labels)}."
        )
    return np.array([labels[text] for text in texts])


def _numbers(source: Source, name: str) -> Array:
    _require_column(source, name)
    values = source.column(name).convert("number").values.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise DataError(f"{source.name}: the column '{name}' has no number in row {row + 1}.")
    return values


def _groupings(source: Source, names: Sequence[str]) -> dict[str, Grouping]:
    try:
        return read_groupings(source, [GroupColumn(column=name) for name in names])
    except FieldError as error:
        raise ConfigurationError(f"--group: {error.problem}.") from None


def _model(contract: Contract, truth: Array) -> FittedModel:
    """Return the contract's model with true values alone: nothing here computes an output."""
    nothing = np.array([], dtype=np.intp)
    return FittedModel(
        contract.name,
        contract.task,
        None,
        contract.layout,
        contract.outputs,
        contract.labels,
        FeatureTable({}, {}),
        truth,
        nothing,
        nothing,
        {},
    )


def _recorded(bundle: Bundle) -> dict[str, Recorded]:
    """Return the metrics of the bundle's held-out rows."""
    document = from_json(bundle.read(METRICS))
    split = next((name for name in ("test", "sample") if isinstance(document.get(name), dict)), None)
    if split is None:
        return {}
    intervals = document.get("intervals", {}).get(split, {})
    return {
        name: Recorded(value, Interval(**intervals[name]) if intervals.get(name) else None)
        for name, value in document[split].items()
        if value is not None
    }
