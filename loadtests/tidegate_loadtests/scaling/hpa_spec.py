# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The spec of a HorizontalPodAutoscaler: the fields of ``autoscaling/v2``, with the API's defaults.

The models know the fields by which the controller decides. Fields that select a target or a metric are read
and ignored. The decisions belong to :mod:`tidegate_loadtests.scaling.hpa`.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

MetricSource = Literal["Resource", "ContainerResource", "Pods", "Object", "External"]
TargetType = Literal["Utilization", "AverageValue", "Value"]

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?")
_DECIMAL_SUFFIXES = {
    suffix: Decimal(10) ** exponent
    for suffix, exponent in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
}
_BINARY_SUFFIXES = {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)}


def parse_quantity(quantity: str | float) -> Decimal:
    """Parse a quantity of Kubernetes, such as ``500m``, ``8`` or ``1Gi``.

    >>> parse_quantity("500m"), parse_quantity(8), parse_quantity("1Ki")
    (Decimal('0.5'), Decimal('8'), Decimal('1024'))

    Raises:
        ValueError: If the text is not a quantity.
    """
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise ValueError(
            f"{quantity!r} is not a quantity: expected a number with a suffix such as m, k or Ki"
        )
    number, suffix, exponent = match.groups()
    scale = Decimal(10) ** int(exponent or 0)
    return (Decimal(number) * (_DECIMAL_SUFFIXES | _BINARY_SUFFIXES).get(suffix or "", scale)).normalize()


def milli_value(quantity: str | float) -> int:
    """Return a quantity in thousandths, rounded up, as ``Quantity.MilliValue`` of Kubernetes.

    >>> milli_value("0.5"), milli_value("1u")
    (500, 1)
    """
    return math.ceil(parse_quantity(quantity) * 1000)


def approximate_float(quantity: str | float) -> float:
    """Return a quantity as ``Quantity.AsApproximateFloat64`` of Kubernetes, to the last bit.

    >>> approximate_float("0.35")
    0.35000000000000003
    """
    _, digits, exponent = parse_quantity(quantity).as_tuple()
    mantissa = float("".join(map(str, digits)))
    return mantissa * 10.0 ** int(exponent) if exponent else mantissa


def _parse_tolerance(value: Any) -> float:
    return value if isinstance(value, float) else approximate_float(value)


class _ApiModel(BaseModel):
    """Fields with the API's names; null means absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if value is not None}
        return values


class ScalingPolicy(_ApiModel):
    """A limit on the replicas that one period adds or removes."""

    type: Literal["Pods", "Percent"]
    value: int = Field(gt=0)
    period_seconds: int = Field(gt=0, le=1800)


class ScalingRules(_ApiModel):
    """``HPAScalingRules``: how fast one direction scales."""

    stabilization_window_seconds: int | None = Field(None, ge=0, le=3600)
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    policies: tuple[ScalingPolicy, ...] = Field(min_length=1)
    tolerance: Annotated[float, BeforeValidator(_parse_tolerance)] | None = None

    @property
    def longest_period_seconds(self) -> int:
        """The longest period of a policy."""
        return max(policy.period_seconds for policy in self.policies)


class ScaleUpRules(ScalingRules):
    """``scaleUp``, with the defaults of Kubernetes."""

    stabilization_window_seconds: int = Field(0, ge=0, le=3600)
    policies: tuple[ScalingPolicy, ...] = Field(
        (
            ScalingPolicy(type="Pods", value=4, period_seconds=15),
            ScalingPolicy(type="Percent", value=100, period_seconds=15),
        ),
        min_length=1,
    )


class ScaleDownRules(ScalingRules):
    """``scaleDown``; without a window of its own, the window is the controller's option."""

    policies: tuple[ScalingPolicy, ...] = Field(
        (ScalingPolicy(type="Percent", value=100, period_seconds=15),), min_length=1
    )


class Behavior(_ApiModel):
    """``behavior``: the rules of both directions."""

    scale_up: ScaleUpRules = ScaleUpRules()
    scale_down: ScaleDownRules = ScaleDownRules()


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric and its target.

    Args:
        source: The type of the metric's source.
        name: The metric's name, for a resource ``cpu`` or ``memory``.
        target_type: The field of the target that is set.
        target: Percent of the request for a utilization, otherwise thousandths of the metric's unit.
    """

    source: MetricSource
    name: str
    target_type: TargetType
    target: int

    def __post_init__(self) -> None:
        """Check that the target is positive.

        Raises:
            ValueError: If the target is zero.
        """
        if self.target <= 0:
            raise ValueError(f"the target of {self.name} is {self.target}: expected a number above 0")


class _Target(_ApiModel):
    type: TargetType
    average_utilization: int | None = None
    average_value: str | float | None = None
    value: str | float | None = None


class _Identifier(_ApiModel):
    name: str
    selector: Any = None


class _Source(_ApiModel):
    name: str | None = None
    metric: _Identifier | None = None
    container: str | None = None
    described_object: Any = None
    target: _Target


_TARGET_TYPES: dict[MetricSource, tuple[TargetType, ...]] = {
    "Resource": ("Utilization", "AverageValue"),
    "ContainerResource": ("Utilization", "AverageValue"),
    "Pods": ("AverageValue",),
    "Object": ("Value", "AverageValue"),
    "External": ("Value", "AverageValue"),
}


def _parse_metric(document: Any) -> Any:
    """Parse an item of ``spec.metrics``."""
    if not isinstance(document, dict):
        return document
    source = document.get("type")
    if source not in _TARGET_TYPES:
        raise ValueError(f"the metric's type is {source!r}: expected one of {', '.join(_TARGET_TYPES)}")
    key = source[0].lower() + source[1:]
    if unknown := set(document) - {"type", key}:
        raise ValueError(f"a metric of type {source} has the field {key}, not {', '.join(sorted(unknown))}")
    fields = _Source.model_validate(document.get(key))
    name = fields.metric.name if fields.metric else fields.name
    if name is None:
        raise ValueError(f"a metric of type {source} has no name: set its field name or metric.name")
    target = fields.target
    if target.type not in _TARGET_TYPES[source]:
        allowed = " or ".join(_TARGET_TYPES[source])
        raise ValueError(f"the target of {name} has the type {target.type}: expected {allowed}")
    value = {
        "Utilization": target.average_utilization,
        "AverageValue": target.average_value,
        "Value": target.value,
    }[target.type]
    if value is None:
        raise ValueError(f"the target of {name} has the type {target.type} and no value of that type")
    return MetricSpec(source, name, target.type, int(value) if _is_percent(target) else milli_value(value))


def _is_percent(target: _Target) -> bool:
    return target.type == "Utilization"


class HpaSpec(_ApiModel):
    """The spec of a HorizontalPodAutoscaler.

    >>> HpaSpec.model_validate({"maxReplicas": 4}).metrics
    (MetricSpec(source='Resource', name='cpu', target_type='Utilization', target=80),)
    """

    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(ge=1)
    metrics: tuple[Annotated[MetricSpec, BeforeValidator(_parse_metric)], ...] = ()
    behavior: Behavior | None = None
    scale_target_ref: Any = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"minReplicas is {self.min_replicas} and exceeds maxReplicas, {self.max_replicas}: lower the "
                "minimum or raise the maximum"
            )
        if not self.metrics:
            default = (MetricSpec("Resource", "cpu", "Utilization", 80),)
            object.__setattr__(self, "metrics", default)
        return self
