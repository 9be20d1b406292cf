# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Every estimator of scikit-learn is served with equal outputs, as docs/algorithms.md says, or better."""

from pathlib import Path

import pytest

from tests.algorithms.cases import find_estimators, fit_case, supported_kinds
from tests.algorithms.outcomes import STATUSES, bundle_and_serve, read_outcomes
from tests.algorithms.page import PAGE, render_page

NAMES = sorted(find_estimators())
RECORDED = read_outcomes()

pytestmark = [
    pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning"),
    pytest.mark.usefixtures("bare_bundles"),
]


def test_record_covers_every_estimator_and_kind() -> None:
    assert {name: tuple(kinds) for name, kinds in RECORDED.items()} == {
        name: supported_kinds(name) for name in NAMES
    }


def test_page_is_rendered_from_the_record() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(RECORDED)


# One kind of data each, in turn; `make algorithms` has all.
@pytest.mark.parametrize("name", NAMES)
def test_estimator_is_served_as_recorded_or_better(name: str, tmp_path: Path) -> None:
    kinds = supported_kinds(name)
    kind = kinds[NAMES.index(name) % len(kinds)]
    outcome = bundle_and_serve(fit_case(name, kind), tmp_path / "bundle")
    assert STATUSES.index(outcome.status) >= STATUSES.index(RECORDED[name][kind].status), outcome.reason
