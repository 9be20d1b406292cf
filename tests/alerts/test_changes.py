# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cases find changed rules: after a change of a threshold, least count or duration, a case fails.

Only ``make alerts`` runs these tests.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.cases import ALERTS, CASES
from tests.alerts.promtool import needs_promtool, run_cases
from tests.alerts.scopes import Scope, render_groups

WITH_THRESHOLD = {
    "TidegateHighErrorRate",
    "TidegateOverloaded",
    "TidegateHighLatency",
    "TidegateCanaryErrorRate",
    "TidegateFeatureDrift",
    "TidegatePredictionDrift",
    "TidegateInputViolations",
}
CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "higher thresholds": (
        {
            "errorRatio": 0.0112,
            "rejectedRatio": 0.0112,
            "p99Seconds": 0.8,
            "canaryExcessRatio": 0.016,
            "driftPsi": 0.31,
            "violationRatio": 0.061,
        },
        WITH_THRESHOLD,
    ),
    "lower thresholds": (
        {
            "errorRatio": 0.0088,
            "rejectedRatio": 0.0088,
            "p99Seconds": 0.45,
            "canaryExcessRatio": 0.0088,
            "driftPsi": 0.239,
            "violationRatio": 0.039,
        },
        WITH_THRESHOLD,
    ),
    "more requests": ({"minRequests": 130}, {"TidegateHighLatency"}),
    "fewer requests": ({"minRequests": 70}, {"TidegateHighLatency", "TidegateCanaryErrorRate"}),
    "more error responses": ({"minErrorResponses": 9}, {"TidegateHighErrorRate"}),
    "fewer error responses": (
        {"minErrorResponses": 3},
        {
            "TidegateHighErrorRate",
            "TidegateOverloaded",
            "TidegateCanaryErrorRate",
            "TidegateInputViolations",
        },
    ),
    "no duration": ({"rules": {alert: {"for": "0s"} for alert in ALERTS}}, set(ALERTS)),
    "an hour": ({"rules": {alert: {"for": "1h"} for alert in ALERTS}}, set(ALERTS)),
}
"""Changed values, and the alerts of which at least one case has to fail."""


@needs_promtool
@pytest.mark.parametrize("change", CHANGES)
def test_changed_rules_fail_a_case_of_each_alert(change: str, tmp_path: Path) -> None:
    values, alerts = CHANGES[change]
    cases = [case for case in CASES if case.alert in alerts and (case.fires or "rules" not in values)]
    output = run_cases(render_groups(Scope.FLEET, values), Scope.FLEET, cases, tmp_path) or ""
    assert set(re.findall(r"alertname: (\w+),", output)) >= alerts
