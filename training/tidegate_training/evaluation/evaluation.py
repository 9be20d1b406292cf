# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The evaluation of a model: metrics with intervals on each split, next to a dummy model, and broken down.

It collects what :mod:`tidegate_training.evaluation.estimates` computes. The thresholds are in
:mod:`tidegate_training.gates`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray

from tidegate_training.bundling.features import Indices
from tidegate_training.evaluation.breakdown import Breakdown, Grouping, break_down
from tidegate_training.evaluation.diagnosis import Diagnosis
from tidegate_training.evaluation.dummy import DummyComparison, compare_with_dummy
from tidegate_training.evaluation.estimates import Evaluator
from tidegate_training.evaluation.folds import CrossValidation
from tidegate_training.evaluation.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    bootstrap_interval,
    intervals_to_json,
)
from tidegate_training.evaluation.leaderboard import SearchResult
from tidegate_training.evaluation.metrics import Metrics, improvement
from tidegate_training.evaluation.overfitting import Overfitting, assess_overfitting, metric_gaps
from tidegate_training.gates import Gate, GateResult, evaluate_gates

Array = NDArray[Any]

GAP = "gap"
"""The scope of the differences between training and test rows, next to the splits."""

FOLDS = "cross_validation"
"""The scope of the means over folds."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation of a model on one split or several.

    Attributes:
        metrics: Metrics by split and name.
        sizes: Rows by split.
        outputs: By split and output, the model's outputs, ``[rows]`` or ``[rows, width]``.
        positive_label: The class, of two, that the metrics are about; None if there is none.
        gap: By metric, how much worse the test rows are than the training rows; empty without both.
        overfitting: The verdict on the gap; None for a task without one.
        gates: The result of each gate.
        warnings: The warnings of scikit-learn.
        intervals: By split, or gap, and metric, the confidence interval; None where it is not defined.
        dummy: The comparison with the dummy model on the last split; None for a task without one.
        breakdown: The last split by class, group and probability.
        cross_validation: The metrics over folds of training and validation rows; None without folds.
        diagnosis: Curves against overfitting, with findings; None without them.
        search: The search that found the algorithm; None without one.
    """

    metrics: dict[str, Metrics]
    sizes: dict[str, int]
    outputs: dict[str, dict[str, Array]]
    positive_label: Any = None
    gap: Metrics = field(default_factory=dict)
    overfitting: Overfitting | None = None
    gates: list[GateResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    intervals: dict[str, dict[str, Interval | None]] = field(default_factory=dict)
    dummy: DummyComparison | None = None
    breakdown: Breakdown = field(default_factory=Breakdown)
    cross_validation: CrossValidation | None = None
    diagnosis: Diagnosis | None = None
    search: SearchResult | None = None

    @property
    def split(self) -> str:
        """The split that the model is judged on: the last one."""
        return list(self.metrics)[-1]

    def to_json(self) -> dict[str, Any]:
        """Return the document ``metrics.json``."""
        dummy, breakdown = self.dummy, self.breakdown
        return {
            **self.metrics,
            "gap": self.gap,
            "rows": self.sizes,
            "overfitting": None if self.overfitting is None else asdict(self.overfitting),
            "gates": [{"gate": str(result.gate), "value": result.value} for result in self.gates],
            "warnings": self.warnings,
            "intervals": {
                "level": LEVEL,
                "resamples": RESAMPLES,
                **{scope: intervals_to_json(intervals) for scope, intervals in self.intervals.items()},
            },
            "dummy": None if dummy is None else asdict(dummy),
            "classes": [group.to_json() for group in breakdown.classes],
            "groups": [group.to_json() for group in breakdown.groups],
            "calibration": [asdict(bin_) for bin_ in breakdown.calibration],
            "diagnosis": None if self.diagnosis is None else self.diagnosis.to_json(),
            "cross_validation": None if self.cross_validation is None else asdict(self.cross_validation),
            "search": None if self.search is None else self.search.to_json(),
        }


def evaluate(
    evaluator: Evaluator,
    splits: Mapping[str, Indices],
    outputs: dict[str, dict[str, Array]],
    *,
    gates: Sequence[Gate] = (),
    warnings: Sequence[str] = (),
    groups: Mapping[str, Grouping] | None = None,
    cross_validation: CrossValidation | None = None,
    diagnosis: Diagnosis | None = None,
    search: SearchResult | None = None,
) -> Evaluation:
    """Evaluate a model on each split. The last split is the one that the model is judged on.

    Args:
        evaluator: The model.
        splits: The numbers of the rows by split, ``[split_rows]``.
        outputs: The model's outputs by split.
        gates: The gates, on the splits and on the gap.
        warnings: The warnings of scikit-learn.
        groups: The groups by column that have metrics of their own.
        cross_validation: The metrics over folds.
        diagnosis: The curves against overfitting.
        search: The search that found the algorithm.

    Raises:
        DataError: If a prediction is outside the range of the output's type.
    """
    estimates = {name: evaluator.estimate(rows, outputs[name]) for name, rows in splits.items()}
    metrics = {name: estimate.metrics for name, estimate in estimates.items()}
    intervals = {name: estimate.intervals for name, estimate in estimates.items()}
    gap: Metrics = {}
    overfitting = None
    if "train" in estimates and "test" in estimates:
        train, test = estimates["train"], estimates["test"]
        gap = metric_gaps(train.metrics, test.metrics)
        intervals[GAP] = {
            name: bootstrap_interval(improvement(name, train.series[name], test.series[name]), value)
            for name, value in gap.items()
        }
        overfitting = assess_overfitting(evaluator.model.task, train.metrics, test.metrics, intervals[GAP])
    judged = list(splits)[-1]
    return Evaluation(
        metrics,
        {name: len(rows) for name, rows in splits.items()},
        outputs,
        evaluator.positive_label,
        gap,
        overfitting,
        evaluate_gates(
            gates,
            {**metrics, GAP: gap, FOLDS: {} if cross_validation is None else cross_validation.metrics},
        ),
        list(warnings),
        intervals,
        compare_with_dummy(evaluator, splits[judged], estimates[judged]),
        break_down(evaluator, splits[judged], outputs[judged], groups or {}),
        cross_validation,
        diagnosis,
        search,
    )
