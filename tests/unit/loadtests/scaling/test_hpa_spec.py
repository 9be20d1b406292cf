# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidegate_loadtests.scaling.hpa_spec import HpaSpec, MetricSpec, milli_value, parse_quantity


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("500m", 500),
        ("0.5", 500),
        (8, 8000),
        ("1Gi", 2**30 * 1000),
        ("1e3", 10**6),
        ("1u", 1),
        ("1234567u", 1235),
    ],
)
def test_milli_value_quantity_is_thousandths_rounded_up(quantity: Any, expected: int) -> None:
    assert milli_value(quantity) == expected


@pytest.mark.parametrize("text", ["", "m", "1.2.3", "-1", "1 Gi", "1K", "nan"])
def test_parse_quantity_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@given(st.decimals(min_value=0, max_value=10**9, places=3))
def test_parse_quantity_decimal_keeps_its_value(number: Decimal) -> None:
    assert parse_quantity(f"{number:f}") == number


@given(st.text(max_size=12))
def test_parse_quantity_any_text_is_parsed_or_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_quantity(text) >= 0


def metric(target: dict[str, Any], source: str = "External") -> dict[str, Any]:
    return {"type": source, source.lower(): {"metric": {"name": "in_flight"}, "target": target}}


def test_hpa_spec_manifest_is_parsed_with_defaults() -> None:
    spec = HpaSpec.model_validate(
        {
            "minReplicas": 2,
            "maxReplicas": 6,
            "scaleTargetRef": {"kind": "Deployment", "name": "iris"},
            "metrics": [metric({"type": "AverageValue", "averageValue": "2500m"})],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}, "scaleUp": None},
        }
    )
    assert spec.metrics == (MetricSpec("External", "in_flight", "AverageValue", 2500),)
    assert spec.behavior is not None
    assert [policy.type for policy in spec.behavior.scale_up.policies] == ["Pods", "Percent"]
    assert spec.behavior.scale_down.stabilization_window_seconds == 60
    assert spec.behavior.scale_down.select_policy == "Max"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"minReplicas": 9}, "exceeds maxReplicas, 4"),
        ({"metrics": [{"type": "Cpu"}]}, "expected one of Resource"),
        ({"metrics": [metric({"type": "Utilization", "averageUtilization": 80})]}, "expected Value or"),
        ({"metrics": [metric({"type": "Value", "averageValue": 8})]}, "no value of that type"),
        ({"metrics": [metric({"type": "Value", "value": 0})]}, "expected a number above 0"),
        ({"metrics": [metric({"type": "Value", "value": "many"})]}, "is not a quantity"),
        ({"metrics": [{"type": "External", "external": {"target": {"type": "Value"}}}]}, "has no name"),
        ({"metrics": [metric({"type": "Value", "value": 1}) | {"pods": {}}]}, "not pods"),
        ({"behavior": {"scaleUp": {"policies": []}}}, "at least 1 item"),
    ],
)
def test_hpa_spec_wrong_field_is_rejected(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        HpaSpec.model_validate({"maxReplicas": 4} | fields)
