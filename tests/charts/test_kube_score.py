# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""kube-score finds nothing in the charts' values files except findings that are accepted with a reason."""

import pytest
import yaml

from tests.charts.chart import render
from tests.charts.kube_score import find, find_faults
from tests.charts.test_examples import CI_FILES

ACCEPTED: dict[str, str] = {}
"""The reason by check."""

KUBE_SCORE = find()


@pytest.mark.skipif(KUBE_SCORE is None, reason="kube-score is not built: run make kube-score")
def test_charts_have_the_accepted_findings_only() -> None:
    assert KUBE_SCORE is not None
    findings = {
        finding
        for path in CI_FILES
        for finding in find_faults(
            KUBE_SCORE, render(yaml.safe_load(path.read_text()), path.parent.parent.name)
        )
    }
    assert sorted(finding for finding in findings if finding.check not in ACCEPTED) == []
    assert ACCEPTED.keys() == {finding.check for finding in findings}
