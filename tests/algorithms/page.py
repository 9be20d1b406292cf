# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Renders ``docs/algorithms.md`` from the recorded outcomes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from sklearn.utils import get_tags

from tests.algorithms.cases import KINDS, build_estimator
from tests.algorithms.outcomes import Outcome
from tidegate_training.bundling.parity import TOLERANCE

PAGE = Path(__file__).parents[2] / "docs" / "algorithms.md"

_INTRODUCTION = f"""# Estimators of scikit-learn

Written by `make algorithms`. Every classifier, regressor, clusterer and outlier detector of scikit-learn is
fitted, bundled, loaded by a server with the default policy, and sent its own rows. Each output must be that
of the fitted model. A unit test fails if an estimator gets worse than its row.

- **compiled**: ONNX Runtime serves the model; the [parity report](training.md#the-compiled-model) found it
  equal.
- **fallback**: scikit-learn serves the model. The [reason](#reasons) is that of the parity report.
- **rejected**: there is no bundle. The [reason](#reasons) is the error.
- **-**: the estimator does not take such data.

The number is the largest difference between a score or a value in the responses and that of the fitted model,
relative to the value or the spread of the output. The tolerance is {TOLERANCE:g}.
"""

_HEADINGS = {
    "classifier": "Classifiers",
    "regressor": "Regressors",
    "clusterer": "Clusterers and mixtures",
    "density_estimator": "Clusterers and mixtures",
    "outlier_detector": "Outlier detectors",
}
"""Headings by scikit-learn's estimator type."""


def render_page(outcomes: Mapping[str, Mapping[str, Outcome]]) -> str:
    """Return the page.

    Args:
        outcomes: By estimator and kind of data.
    """
    groups: dict[str, list[str]] = {heading: [] for heading in _HEADINGS.values()}
    for name in sorted(outcomes):
        groups[_HEADINGS[get_tags(build_estimator(name)).estimator_type]].append(name)
    counts = Counter(outcome.status for kinds in outcomes.values() for outcome in kinds.values())
    counted = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    lines = [_INTRODUCTION, f"Of {counts.total()} pairs of an estimator and a kind of data: {counted}.", ""]
    for heading, names in groups.items():
        lines += [
            f"## {heading}",
            "",
            f"| estimator | {' | '.join(KINDS)} |",
            f"|{'---|' * (len(KINDS) + 1)}",
        ]
        lines += [f"| {name} | {' | '.join(_cells(outcomes[name]))} |" for name in names]
        lines.append("")
    lines += ["## Reasons", "", "| estimator | data | reason |", "|---|---|---|"]
    for name in sorted(outcomes):
        lines += _reasons(name, outcomes[name])
    return "\n".join(lines) + "\n"


def _cells(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    for kind in KINDS:
        outcome = outcomes.get(kind)
        if outcome is None:
            yield "-"
        elif outcome.difference is None:
            yield outcome.status
        else:
            yield (
                f"{outcome.status}, {outcome.difference:.0e}"
                if outcome.difference
                else outcome.status + ", 0"
            )


def _reasons(name: str, outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """Yield a row per reason; kinds of data with the same reason share a row."""
    kinds_by_reason: dict[str, list[str]] = {}
    for kind, outcome in outcomes.items():
        if outcome.reason is not None:
            kinds_by_reason.setdefault(outcome.reason, []).append(kind)
    for reason, kinds in kinds_by_reason.items():
        data = "all" if len(kinds) == len(outcomes) else ", ".join(kinds)
        escaped = reason.replace("|", "\\|").replace("<", "&lt;")
        yield f"| {name} | {data} | {escaped} |"
