# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.algorithms [ESTIMATOR ...]`` bundles and serves the estimators of scikit-learn.

Without names it takes all. It records the outcomes in ``tests/algorithms/outcomes.json``, which a unit test
compares with, and writes ``docs/algorithms.md`` from them, and ``out/algorithms.json`` with the versions.
"""

import json
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

from tests.algorithms.cases import find_estimators, fit_case, supported_kinds
from tests.algorithms.outcomes import RECORD, Outcome, bundle_and_serve, read_outcomes
from tests.algorithms.page import PAGE, render_page
from tidegate_training.bundling.bundle import installed_versions

RESULT = Path(__file__).parents[2] / "out" / "algorithms.json"


def measure(name: str) -> dict[str, Outcome]:
    """Return the outcome of an estimator for each kind of data that it takes."""
    outcomes = {}
    for kind in supported_kinds(name):
        with tempfile.TemporaryDirectory() as folder:
            outcome = bundle_and_serve(fit_case(name, kind), Path(folder) / "bundle")
        print(f"{name}, {kind}: {outcome.status}", flush=True)
        outcomes[kind] = outcome
    return outcomes


def main() -> None:
    """Measure the named estimators, or all, and write the record and the page."""
    warnings.simplefilter("ignore")  # estimators that scikit-learn has deprecated
    names = sys.argv[1:]
    measured = {name: measure(name) for name in names or find_estimators()}
    outcomes = dict(sorted(((read_outcomes() if names else {}) | measured).items()))
    document = {
        name: {kind: asdict(outcome) for kind, outcome in kinds.items()} for name, kinds in outcomes.items()
    }
    RECORD.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render_page(outcomes), encoding="utf-8")
    RESULT.parent.mkdir(exist_ok=True)
    result = {"versions": installed_versions(), "outcomes": document}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
