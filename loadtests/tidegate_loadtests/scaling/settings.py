# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of an autoscaler, from the values of the chart ``tidegate`` or from a manifest.

The defaults are the chart's. Values that do not scale replicas are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tidegate.errors import ConfigurationError
from tidegate.settings import Document
from tidegate_loadtests.scaling.hpa_spec import Behavior, HpaSpec, MetricSpec, milli_value

Signal = Literal["cpu", "in flight"]
KedaSource = Literal["metrics-api", "prometheus"]

IN_FLIGHT_WINDOW_SECONDS: Mapping[KedaSource, float] = {"metrics-api": 15.0, "prometheus": 60.0}
"""The time over which requests in flight are averaged: by the server's gauge, or by the chart's query."""

DEFAULT_BEHAVIOR: Mapping[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 4, "periodSeconds": 15},
        ],
        "selectPolicy": "Max",
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    },
}
"""``autoscaling.behavior`` of the chart."""


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class _Requests(_Values):
    cpu: str | float = "500m"


class _Resources(_Values):
    requests: _Requests = _Requests()


class _Keda(_Values):
    source: KedaSource = "metrics-api"
    in_flight_per_replica: float = Field(8, gt=0)


class _Autoscaling(_Values):
    type: Literal["hpa", "keda", "none"] = "hpa"
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(4, ge=1)
    target_cpu_utilization: int = Field(80, gt=0, alias="targetCPUUtilization")
    metrics: list[Any] = []
    behavior: dict[str, Any] = dict(DEFAULT_BEHAVIOR)
    keda: _Keda = _Keda()


class ChartValues(_Values):
    """The values of the chart by which its replicas scale."""

    resources: _Resources = _Resources()
    autoscaling: _Autoscaling = _Autoscaling()

    def hpa_document(self) -> dict[str, Any]:
        """Return the spec of the HorizontalPodAutoscaler that the chart or KEDA creates."""
        scaling = self.autoscaling
        if scaling.type == "none":
            return {"minReplicas": scaling.min_replicas, "maxReplicas": max(1, scaling.min_replicas)}
        metrics = scaling.metrics
        if scaling.type == "keda":
            target = milli_value(f"{scaling.keda.in_flight_per_replica:f}")
            metrics = [in_flight_metric(scaling.keda.source, target)]
        elif not metrics:
            metrics = [MetricSpec("ContainerResource", "cpu", "Utilization", scaling.target_cpu_utilization)]
        return {
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": metrics,
            "behavior": scaling.behavior,
        }


def in_flight_metric(source: KedaSource, target: int) -> MetricSpec:
    """Return the metric that KEDA serves for the chart's trigger.

    The source metrics-api is a mean over replicas, and the source prometheus is a sum.

    Args:
        source: The chart's ``autoscaling.keda.source``.
        target: Requests in flight per replica, in thousandths.
    """
    return MetricSpec("External", "in_flight", "Value" if source == "metrics-api" else "AverageValue", target)


class _Manifest(BaseModel):
    """A HorizontalPodAutoscaler, of which only the spec counts."""

    model_config = ConfigDict(extra="ignore")

    spec: HpaSpec


@dataclass(frozen=True, slots=True)
class ScalingSettings:
    """An autoscaler to simulate.

    Args:
        name: The name in tables and plots.
        spec: The autoscaler's spec.
        cpu_request: The CPU request of one pod, in thousandths of a core.
        keda_source: The source of requests in flight, which sets the time over which they are averaged.
    """

    name: str
    spec: HpaSpec
    cpu_request: int = 500
    keda_source: KedaSource = "metrics-api"

    @property
    def in_flight_window(self) -> float:
        """Seconds over which requests in flight are averaged."""
        return IN_FLIGHT_WINDOW_SECONDS[self.keda_source]


def read_settings(path: Path) -> ScalingSettings:
    """Read the values of the chart, or the manifest of a HorizontalPodAutoscaler.

    Raises:
        ConfigurationError: If the file is neither, or scales by a metric that is not simulated.
    """
    document = Document.read(path)
    if document.values.get("kind") == "HorizontalPodAutoscaler":
        spec = document.parse_as(_Manifest).spec
        source: KedaSource = "prometheus" if _has_sum(spec) else "metrics-api"
        settings = ScalingSettings(path.stem, spec, keda_source=source)
    else:
        values = document.parse_as(ChartValues)
        try:
            spec = HpaSpec.model_validate(values.hpa_document())
            request = milli_value(values.resources.requests.cpu)
        except ValueError as error:
            raise ConfigurationError(f"{path}: field 'autoscaling': {error}.") from None
        settings = ScalingSettings(path.stem, spec, request, values.autoscaling.keda.source)
    for metric in settings.spec.metrics:
        if signal_of(metric) is None:
            raise ConfigurationError(
                f"{path}: the metric '{metric.name}' is not simulated: expected the resource cpu, or "
                "requests in flight as a metric of type External, Object or Pods."
            )
    return settings


def _has_sum(spec: HpaSpec) -> bool:
    """Return whether a metric is a sum over replicas, as those of KEDA's Prometheus trigger."""
    return any(
        metric.source == "External" and metric.target_type == "AverageValue" for metric in spec.metrics
    )


def signal_of(metric: MetricSpec) -> Signal | None:
    """Return the signal that a metric measures; None if it is not simulated.

    A metric that is not a resource counts as requests in flight; its name does not matter.
    """
    if metric.source in ("Resource", "ContainerResource"):
        return "cpu" if metric.name == "cpu" else None
    return "in flight"


def with_target(spec: HpaSpec, metric: MetricSpec, min_replicas: int, max_replicas: int) -> HpaSpec:
    """Return a spec with one metric and other bounds.

    Args:
        spec: The spec whose behavior is kept.
        metric: The metric.
        min_replicas: The lower bound.
        max_replicas: The upper bound.
    """
    return HpaSpec(
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        metrics=(metric,),
        behavior=spec.behavior or Behavior(),
    )
