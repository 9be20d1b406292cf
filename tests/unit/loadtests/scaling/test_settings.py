# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest
import yaml

from tidegate.errors import ConfigurationError
from tidegate_loadtests.scaling.hpa_spec import Behavior, MetricSpec
from tidegate_loadtests.scaling.settings import ChartValues, read_settings

CHART_VALUES = Path(__file__).parents[4] / "helm" / "tidegate" / "values.yaml"

HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: iris}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: iris}
  minReplicas: 2
  maxReplicas: 5
  metrics:
    - type: Pods
      pods: {metric: {name: rows}, target: {type: AverageValue, averageValue: 8}}
status: {currentReplicas: 3}
"""
KEDA_HPA = HPA.replace("type: Pods", "type: External").replace("pods:", "external:")


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_chart_values_defaults_are_those_of_the_chart() -> None:
    chart = ChartValues.model_validate(yaml.safe_load(CHART_VALUES.read_text()))
    assert ChartValues().hpa_document() == chart.hpa_document()
    assert ChartValues().resources == chart.resources


@pytest.mark.parametrize(
    ("text", "metrics", "bounds"),
    [
        ("{}", (MetricSpec("ContainerResource", "cpu", "Utilization", 80),), (1, 4)),
        (
            "autoscaling: {targetCPUUtilization: 50, minReplicas: 2, maxReplicas: 9}",
            (MetricSpec("ContainerResource", "cpu", "Utilization", 50),),
            (2, 9),
        ),
        (
            "autoscaling: {type: keda, keda: {inFlightPerReplica: 2.5}}",
            (MetricSpec("External", "in_flight", "Value", 2500),),
            (1, 4),
        ),
        (
            "autoscaling: {type: keda, keda: {source: prometheus, inFlightPerReplica: 2.5}}",
            (MetricSpec("External", "in_flight", "AverageValue", 2500),),
            (1, 4),
        ),
        (
            "autoscaling: {metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, "
            "averageValue: 400m}}}]}",
            (MetricSpec("Resource", "cpu", "AverageValue", 400),),
            (1, 4),
        ),
        (HPA, (MetricSpec("Pods", "rows", "AverageValue", 8000),), (2, 5)),
    ],
)
def test_read_settings_values_and_manifest_give_the_spec(
    tmp_path: Path, text: str, metrics: tuple[MetricSpec, ...], bounds: tuple[int, int]
) -> None:
    spec = read_settings(write(tmp_path, text)).spec
    assert spec.metrics == metrics
    assert (spec.min_replicas, spec.max_replicas) == bounds


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("{}", 15),
        ("autoscaling: {type: keda, keda: {source: metrics-api}}", 15),
        ("autoscaling: {type: keda, keda: {source: prometheus}}", 60),
        (KEDA_HPA, 60),
        (KEDA_HPA.replace("AverageValue, averageValue", "Value, value"), 15),
    ],
)
def test_read_settings_source_sets_the_in_flight_window(tmp_path: Path, text: str, window: float) -> None:
    assert read_settings(write(tmp_path, text)).in_flight_window == window


def test_read_settings_fixed_replicas_have_equal_bounds(tmp_path: Path) -> None:
    spec = read_settings(write(tmp_path, "autoscaling: {type: none, minReplicas: 3}")).spec
    assert (spec.min_replicas, spec.max_replicas) == (3, 3)


def test_read_settings_chart_behavior_has_its_own_pace(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, "resources: {requests: {cpu: 250m}}"))
    assert settings.cpu_request == 250
    assert isinstance(settings.spec.behavior, Behavior)
    (policy,) = settings.spec.behavior.scale_down.policies
    assert (policy.type, policy.value, policy.period_seconds) == ("Pods", 1, 60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("autoscaling: {minReplicas: 9}", "exceeds maxReplicas, 4"),
        ("autoscaling: {type: vpa}", "type"),
        ("autoscaling: {keda: {source: graphite}}", "source"),
        ("resources: {requests: {cpu: much}}", "is not a quantity"),
        (
            "autoscaling: {metrics: [{type: Resource, resource: {name: memory, target: {type: Utilization, "
            "averageUtilization: 80}}}]}",
            "'memory' is not simulated",
        ),
        (HPA.replace("maxReplicas: 5", "maxReplicas: 1"), "exceeds maxReplicas, 1"),
    ],
)
def test_read_settings_wrong_value_is_rejected(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        read_settings(write(tmp_path, text))
