# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Cases of the alerts: the metrics of a cluster, and the alerts that fire at a time, with their labels.

A case holds for the rules of single releases and for those of a fleet. It lists all alerts that fire, so
every case is also a test that the others stay silent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.alerts.scopes import Scope

INTERVAL = "15s"
SAMPLES = 80
"""Samples per series, for 20 minutes."""

CRITICAL = frozenset({"TidegateHighErrorRate", "TidegateNotReady", "TidegateCanaryErrorRate"})
ALERTS = CRITICAL | {
    "TidegateHighLatency",
    "TidegateOverloaded",
    "TidegatePodCrashLooping",
    "TidegateTargetDown",
    "TidegateMaxReplicasReached",
    "TidegateFeatureDrift",
    "TidegatePredictionDrift",
    "TidegateInputViolations",
    "TidegateRolloutStalled",
}

Series = Mapping[str, str]


@dataclass(frozen=True)
class Track:
    """A track of a release.

    Args:
        release: The release's name.
        name: The track's name.
        namespace: The release's namespace.
    """

    release: str = "demo"
    name: str = "stable"
    namespace: str = "models"

    @property
    def service(self) -> str:
        """The name of its Service and of its Deployment."""
        return f"{self.release}{'-canary' if self.name == 'canary' else ''}-predictor"

    @property
    def identity(self) -> dict[str, str]:
        """The labels that the ServiceMonitor gives to its metrics."""
        return {
            "namespace": self.namespace,
            "release": self.release,
            "track": self.name,
            "service": self.service,
        }

    def pod(self, number: int = 0) -> str:
        """Return the name of one of its pods."""
        return f"{self.service}-7d9f8c5b6d-x2x4{number}"

    def series(self, metric: str, values: str, *, replica: int = 0, **labels: str) -> Series:
        """Return one series of a replica, by its selector."""
        return {selector(metric, self.identity | {"pod": self.pod(replica)} | labels): values}

    def requests(self, **steps: float) -> Series:
        """Return the request counters by code, `c200` or `INTERNAL`, each with its increase per sample."""
        return {
            key: values
            for code, step in steps.items()
            for key, values in self.series(
                "tidegate_requests_total",
                growth(step),
                protocol="v2" if code.startswith("c") else "grpc",
                code=code.removeprefix("c"),
            ).items()
        }

    def latency(self, fast: float, slow: float) -> Series:
        """Return a histogram of requests up to half a second, and of requests between that and a second."""
        histogram, total = "tidegate_request_duration_seconds", growth(fast + slow)
        return {
            **self.series(f"{histogram}_bucket", growth(fast), protocol="v2", le="0.5"),
            **self.series(f"{histogram}_bucket", total, protocol="v2", le="1"),
            **self.series(f"{histogram}_bucket", total, protocol="v2", le="+Inf"),
            **self.series(f"{histogram}_count", total, protocol="v2"),
        }

    def deployment(self, available: str) -> Series:
        """Return kube-state-metrics' number of available replicas."""
        labels = {"namespace": self.namespace, "deployment": self.service}
        return {selector("kube_deployment_status_replicas_available", labels): available}

    def autoscaler(self, *, current: int, minimum: int, maximum: int, kind: str = "hpa") -> Series:
        """Return kube-state-metrics' replicas of the autoscaler."""
        name = f"{self.service.removesuffix('-predictor')}-{kind}"
        labels = {"namespace": self.namespace, "horizontalpodautoscaler": name}
        numbers = {
            "status_current_replicas": current,
            "spec_min_replicas": minimum,
            "spec_max_replicas": maximum,
        }
        return {
            selector(f"kube_horizontalpodautoscaler_{metric}", labels): constant(number)
            for metric, number in numbers.items()
        }

    def lease(self, renewed: str) -> Series:
        """Return kube-state-metrics' time at which the Lease of its rollout was renewed."""
        labels = {"namespace": self.namespace, "lease": f"{self.release}-rollout"}
        return {selector("kube_lease_renew_time", labels): renewed}

    def waiting(self, values: str, *, pod: str | None = None, init: bool = False) -> Series:
        """Return kube-state-metrics' reason why a container waits."""
        labels = {
            "namespace": self.namespace,
            "pod": pod or self.pod(),
            "container": "storage-initializer" if init else "kserve-container",
            "reason": "CrashLoopBackOff",
        }
        kind = "init_container" if init else "container"
        return {selector(f"kube_pod_{kind}_status_waiting_reason", labels): values}

    def fires(
        self, alert: str, summary: str, *, scope: Scope | None = None, service: bool = True, **labels: str
    ) -> "Fired":
        """Return an alert of this track.

        Args:
            alert: Its name.
            summary: Its summary.
            scope: The only scope whose rules have it; None for both.
            service: Whether it has the track's Service as a label.
            labels: Its further labels.
        """
        identity = self.identity if service else {k: v for k, v in self.identity.items() if k != "service"}
        severity = "critical" if alert in CRITICAL else "warning"
        return Fired(alert, identity | {"severity": severity} | labels, summary, scope)


@dataclass(frozen=True)
class Fired:
    """An alert that fires.

    Args:
        alert: Its name.
        labels: All its labels except the name.
        summary: Its summary, with the value.
        scope: The only scope whose rules have it; None for both.
    """

    alert: str
    labels: Mapping[str, str]
    summary: str
    scope: Scope | None = None


@dataclass(frozen=True)
class Case:
    """Metrics over time, and the alerts at some times.

    Args:
        alert: The alert under test; None for all.
        name: The case in words.
        series: The metrics that differ from those of a cluster where every track is healthy and idle.
        expected: The alerts that fire, by time.
    """

    alert: str | None
    name: str
    series: Series
    expected: Mapping[str, tuple[Fired, ...]] = field(default_factory=dict)

    @property
    def fires(self) -> bool:
        """Whether an alert fires at one of the times."""
        return any(self.expected.values())

    def as_test(self, scope: Scope) -> dict[str, Any]:
        """Return the case in promtool's format."""
        return {
            "name": self.name,
            "interval": INTERVAL,
            "input_series": [
                {"series": key, "values": values} for key, values in (healthy() | dict(self.series)).items()
            ],
            "alert_rule_test": [
                {
                    "eval_time": time,
                    "alertname": alert,
                    "exp_alerts": [
                        {"exp_labels": dict(one.labels), "exp_annotations": {"summary": one.summary}}
                        for one in fired
                        if one.alert == alert and one.scope in (None, scope)
                    ],
                }
                for time, fired in self.expected.items()
                for alert in sorted(ALERTS)
            ],
        }


def selector(metric: str, labels: Mapping[str, str]) -> str:
    """Return a series as PromQL writes it."""
    return f"{metric}{{{', '.join(f'{name}={json.dumps(labels[name])}' for name in sorted(labels))}}}"


def constant(value: float) -> str:
    """Return samples of one value."""
    return f"{value}x{SAMPLES}"


def growth(step: float) -> str:
    """Return a counter that grows by a step per sample."""
    return f"0+{step}x{SAMPLES}"


def stairs(samples: int) -> str:
    """Return a counter that grows by 1 once in a number of samples."""
    return " ".join(str(index // samples) for index in range(SAMPLES))


def during(value: float, samples: int) -> str:
    """Return samples of one value that end after a number of samples."""
    return f"{value}x{samples - 1} _x{SAMPLES}"


STABLE, CANARY = Track(), Track(name="canary")
OTHER, NAMESAKE = Track("other"), Track(namespace="fraud")
TRACKS = (STABLE, CANARY, OTHER, NAMESAKE)


def healthy() -> dict[str, str]:
    """Return the metrics of a cluster in which every track has two replicas and no requests."""
    series: dict[str, str] = {}
    for track in TRACKS:
        series |= track.deployment(constant(2))
        series |= track.autoscaler(current=2, minimum=2, maximum=4)
        for replica in (0, 1):
            series |= track.series("up", constant(1), replica=replica, job=track.service)
            series |= track.series(
                "tidegate_model_info", constant(1), replica=replica, model_name="m", digest="d"
            )
    return series


def silent(*times: str) -> dict[str, tuple[Fired, ...]]:
    """Return that no alert fires at some times."""
    return dict.fromkeys(times, ())


CASES = (
    Case(None, "healthy tracks without requests", {}, silent("1m", "10m", "18m")),
    # Above 1 % for 5 minutes, and 5 error responses in 5 minutes.
    Case(
        "TidegateHighErrorRate",
        "1.1 % server errors over REST and gRPC",
        STABLE.requests(c200=489, c500=6, OK=500, INTERNAL=5),
        silent("5m")
        | {
            "6m": (
                STABLE.fires(
                    "TidegateHighErrorRate",
                    "Error rate of the stable track of models/demo is 1.1%, above 1%.",
                ),
            )
        },
    ),
    Case(
        "TidegateHighErrorRate", "0.9 % server errors", STABLE.requests(c200=991, c500=9), silent("6m", "18m")
    ),
    Case(
        "TidegateHighErrorRate",
        "client errors are not server errors",
        STABLE.requests(c200=1, c404=9),
        silent("6m"),
    ),
    Case(
        "TidegateHighErrorRate",
        "two failures on a quiet model",
        {
            **STABLE.series("tidegate_requests_total", stairs(4), protocol="v2", code="200"),
            **STABLE.series("tidegate_requests_total", f"0x7 1x15 2x{SAMPLES}", protocol="v2", code="500"),
        },
        silent("3m", "7m", "8m", "10m"),
    ),
    Case(
        "TidegateHighErrorRate",
        "four failures per window, and every request fails",
        STABLE.series("tidegate_requests_total", stairs(5), protocol="v2", code="500"),
        silent("6m", "15m", "18m"),
    ),
    Case(
        "TidegateHighErrorRate",
        "six failures per window, and every request fails",
        STABLE.series("tidegate_requests_total", stairs(3), protocol="v2", code="500"),
        {
            "12m": (
                STABLE.fires(
                    "TidegateHighErrorRate",
                    "Error rate of the stable track of models/demo is 100%, above 1%.",
                ),
            )
        },
    ),
    Case(
        "TidegateHighErrorRate",
        "only the canary fails, at 0.9 % more than the stable track",
        {**STABLE.requests(c200=998, c500=2), **CANARY.requests(c200=989, c500=11)},
        {
            "15m": (
                CANARY.fires(
                    "TidegateHighErrorRate",
                    "Error rate of the canary track of models/demo is 1.1%, above 1%.",
                ),
            )
        },
    ),
    Case(
        "TidegateHighErrorRate",
        "two releases of one name fail, a third one does not",
        {
            **STABLE.requests(c200=90, c500=10),
            **NAMESAKE.requests(c200=80, c503=20),
            **OTHER.requests(c200=100),
        },
        {
            "6m": (
                STABLE.fires(
                    "TidegateHighErrorRate",
                    "Error rate of the stable track of models/demo is 10%, above 1%.",
                ),
                NAMESAKE.fires(
                    "TidegateHighErrorRate", "Error rate of the stable track of fraud/demo is 20%, above 1%."
                ),
            )
        },
    ),
    # Above half a second for 10 minutes, and 100 requests in 5 minutes.
    Case(
        "TidegateHighLatency",
        "2 % of the requests take longer than half a second",
        STABLE.latency(fast=980, slow=20),
        silent("10m")
        | {
            "11m": (
                STABLE.fires(
                    "TidegateHighLatency",
                    "99th percentile latency of the stable track of models/demo is 750ms, above 0.5s.",
                ),
            )
        },
    ),
    Case(
        "TidegateHighLatency",
        "0.9 % of the requests take longer than half a second",
        STABLE.latency(fast=991, slow=9),
        silent("11m", "18m"),
    ),
    Case(
        "TidegateHighLatency",
        "120 requests in 5 minutes, and all are slow",
        STABLE.latency(fast=0, slow=6),
        {
            "16m": (
                STABLE.fires(
                    "TidegateHighLatency",
                    "99th percentile latency of the stable track of models/demo is 995ms, above 0.5s.",
                ),
            )
        },
    ),
    Case(
        "TidegateHighLatency",
        "80 requests in 5 minutes, and all are slow",
        STABLE.latency(fast=0, slow=4),
        silent("16m", "18m"),
    ),
    # Above 1 % for 5 minutes, and 5 rejections in 5 minutes.
    Case(
        "TidegateOverloaded",
        "1.1 % of the requests are rejected over REST and gRPC",
        STABLE.requests(c200=989, c429=4, c504=3, RESOURCE_EXHAUSTED=2, DEADLINE_EXCEEDED=2),
        silent("5m")
        | {
            "6m": (
                STABLE.fires(
                    "TidegateOverloaded",
                    "Rate of requests to the stable track of models/demo rejected because of overload is"
                    " 1.1%, above 1%.",
                ),
            )
        },
    ),
    Case(
        "TidegateOverloaded",
        "0.9 % of the requests are rejected",
        STABLE.requests(c200=991, c429=9),
        silent("6m", "18m"),
    ),
    Case(
        "TidegateOverloaded",
        "four rejections per window, and every request is rejected",
        STABLE.series("tidegate_requests_total", stairs(5), protocol="v2", code="429"),
        silent("6m", "15m", "18m"),
    ),
    # For 5 minutes.
    Case(
        "TidegateNotReady",
        "a track has no replica",
        STABLE.deployment(constant(0)),
        silent("4m")
        | {
            "6m": (
                STABLE.fires(
                    "TidegateNotReady",
                    "The stable track of models/demo has 0 available replicas, below 1.",
                    deployment=STABLE.service,
                ),
            )
        },
    ),
    Case("TidegateNotReady", "a track has one replica", STABLE.deployment(constant(1)), silent("6m", "18m")),
    Case(
        "TidegateNotReady",
        "a track has no replica for 4 minutes",
        STABLE.deployment(f"0x15 1x{SAMPLES}"),
        silent("3m", "6m", "18m"),
    ),
    Case(
        "TidegateNotReady",
        "a model server of another kind has no replica",
        Track("forecast").deployment(constant(0)),
        silent("6m", "18m"),
    ),
    # For 10 minutes.
    Case(
        "TidegatePodCrashLooping",
        "a container of the canary fails repeatedly",
        CANARY.waiting(constant(1)),
        silent("9m")
        | {
            "11m": (
                CANARY.fires(
                    "TidegatePodCrashLooping",
                    f"Pod {CANARY.pod()} of the canary track of models/demo is in CrashLoopBackOff.",
                    pod=CANARY.pod(),
                ),
            )
        },
    ),
    Case(
        "TidegatePodCrashLooping",
        "an init container fails repeatedly, with restarts that end the reason for a minute",
        STABLE.waiting(" ".join(["1x7 _x3"] * (SAMPLES // 12)), init=True),
        {
            "11m": (
                STABLE.fires(
                    "TidegatePodCrashLooping",
                    f"Pod {STABLE.pod()} of the stable track of models/demo is in CrashLoopBackOff.",
                    pod=STABLE.pod(),
                ),
            )
        },
    ),
    Case(
        "TidegatePodCrashLooping",
        "a container fails for 4 minutes, and then runs",
        STABLE.waiting(during(1, 16)),
        silent("8m", "11m", "18m"),
    ),
    Case(
        "TidegatePodCrashLooping",
        "a pod of a release whose name begins alike fails",
        STABLE.waiting(constant(1), pod="demo-predictor-predictor-7d9f8c5b6d-x2x40"),
        silent("11m", "18m"),
    ),
    # For 10 minutes.
    Case(
        "TidegateTargetDown",
        "no replica of a track is scraped",
        {
            **STABLE.series("up", constant(0), replica=0, job=STABLE.service),
            **STABLE.series("up", constant(0), replica=1, job=STABLE.service),
        },
        silent("9m")
        | {
            "11m": (
                STABLE.fires(
                    "TidegateTargetDown", "The stable track of models/demo has 0 scraped replicas, below 1."
                ),
            )
        },
    ),
    Case(
        "TidegateTargetDown",
        "one of two replicas is scraped",
        STABLE.series("up", constant(0), replica=1, job=STABLE.service),
        silent("11m", "18m"),
    ),
    Case(
        "TidegateTargetDown",
        "the targets of a track vanish after 3 minutes",
        {
            **CANARY.series("up", during(1, 12), replica=0, job=CANARY.service),
            **CANARY.series("up", during(1, 12), replica=1, job=CANARY.service),
            **CANARY.series("tidegate_model_info", during(1, 12), replica=0, model_name="m", digest="d"),
            **CANARY.series("tidegate_model_info", during(1, 12), replica=1, model_name="m", digest="d"),
        },
        silent("9m")
        | {
            "19m": (
                CANARY.fires(
                    "TidegateTargetDown", "The canary track of models/demo has 0 scraped replicas, below 1."
                ),
            )
        },
    ),
    Case(
        "TidegateTargetDown",
        "a track has no replica, so none is scraped; a fleet has one alert for both",
        {
            **STABLE.deployment(constant(0)),
            **STABLE.series("up", constant(0), replica=0, job=STABLE.service),
            **STABLE.series("up", constant(0), replica=1, job=STABLE.service),
        },
        {
            "11m": (
                STABLE.fires(
                    "TidegateNotReady",
                    "The stable track of models/demo has 0 available replicas, below 1.",
                    deployment=STABLE.service,
                ),
                STABLE.fires(
                    "TidegateTargetDown",
                    "The stable track of models/demo has 0 scraped replicas, below 1.",
                    scope=Scope.RELEASE,
                ),
            )
        },
    ),
    # For 15 minutes.
    Case(
        "TidegateMaxReplicasReached",
        "the autoscaler is at its maximum",
        OTHER.autoscaler(current=4, minimum=2, maximum=4),
        silent("14m")
        | {
            "16m": (
                OTHER.fires(
                    "TidegateMaxReplicasReached",
                    "The stable track of models/other has 4 replicas, equal to the maximum.",
                    horizontalpodautoscaler="other-hpa",
                ),
            )
        },
    ),
    Case(
        "TidegateMaxReplicasReached",
        "the autoscaler is one below its maximum",
        OTHER.autoscaler(current=3, minimum=2, maximum=4),
        silent("16m", "18m"),
    ),
    Case(
        "TidegateMaxReplicasReached",
        "the autoscaler's minimum is its maximum",
        OTHER.autoscaler(current=4, minimum=4, maximum=4),
        silent("16m", "18m"),
    ),
    # 1 percentage point above the stable track for 2 minutes, 100 requests, 5 errors.
    Case(
        "TidegateCanaryErrorRate",
        "the canary rejects 1.5 percentage points more than the stable track",
        {**STABLE.requests(c200=995, c400=5), **CANARY.requests(c200=980, c400=20)},
        silent("2m")
        | {
            "3m": (
                CANARY.fires(
                    "TidegateCanaryErrorRate",
                    "Error responses of the canary of models/demo exceed those of the stable track by 1.5% of"
                    " requests, above 1%.",
                    service=False,
                ),
            )
        },
    ),
    Case(
        "TidegateCanaryErrorRate",
        "the canary rejects 0.9 percentage points more than the stable track",
        {**STABLE.requests(c200=995, c400=5), **CANARY.requests(c200=986, c400=14)},
        silent("3m", "18m"),
    ),
    Case(
        "TidegateCanaryErrorRate",
        "the canary rejects 2 % while the stable track has no requests",
        {**STABLE.requests(c200=0, c400=0), **CANARY.requests(c200=98, c400=2)},
        {
            "6m": (
                CANARY.fires(
                    "TidegateCanaryErrorRate",
                    "Error responses of the canary of models/demo exceed those of the stable track by 2% of"
                    " requests, above 1%.",
                    service=False,
                ),
            )
        },
    ),
    Case(
        "TidegateCanaryErrorRate",
        "80 requests to the canary in 10 minutes, of which half are rejected",
        {**STABLE.requests(c200=100), **CANARY.requests(c200=1, c400=1)},
        silent("3m", "14m", "18m"),
    ),
    Case(
        "TidegateCanaryErrorRate",
        "the canary rejects four of 200 requests in 10 minutes",
        {
            **STABLE.requests(c200=100),
            **CANARY.requests(c200=5),
            **CANARY.series("tidegate_requests_total", stairs(10), protocol="v2", code="400"),
        },
        silent("3m", "14m", "18m"),
    ),
    # 60 s after the last renewal of the Lease, for 15 minutes.
    Case(
        "TidegateRolloutStalled",
        "the process of a rollout ends after two minutes, and the canary stays",
        CANARY.lease(f"0+15x8 {'120 ' * SAMPLES}"),
        silent("18m")
        | {
            "19m": (
                CANARY.fires(
                    "TidegateRolloutStalled",
                    "No process has controlled the rollout of models/demo for 17m 0s, and its canary still"
                    " runs.",
                    service=False,
                ),
            )
        },
    ),
    Case(
        "TidegateRolloutStalled",
        "the process of a rollout renews its Lease",
        CANARY.lease(growth(15)),
        silent("19m"),
    ),
    Case(
        "TidegateRolloutStalled",
        "a Lease remains of a rollout that has ended",
        OTHER.lease(constant(0)),
        silent("19m"),
    ),
    # Above 0.25 on average over the replicas for 15 minutes.
    Case(
        "TidegateFeatureDrift",
        "a feature drifts",
        {
            **STABLE.series("tidegate_feature_drift_psi", constant(0.2), replica=0, feature="age"),
            **STABLE.series("tidegate_feature_drift_psi", constant(0.4), replica=1, feature="age"),
            **STABLE.series("tidegate_feature_drift_psi", constant(0.1), replica=0, feature="income"),
        },
        silent("14m")
        | {
            "16m": (
                STABLE.fires(
                    "TidegateFeatureDrift",
                    "PSI of the feature age in the stable track of models/demo is 0.30, above 0.25.",
                    feature="age",
                ),
            )
        },
    ),
    Case(
        "TidegateFeatureDrift",
        "a feature drifts less than the threshold on average over the replicas",
        {
            **STABLE.series("tidegate_feature_drift_psi", constant(0.2), replica=0, feature="age"),
            **STABLE.series("tidegate_feature_drift_psi", constant(0.29), replica=1, feature="age"),
        },
        silent("16m", "18m"),
    ),
    Case(
        "TidegatePredictionDrift",
        "the predictions drift",
        STABLE.series("tidegate_prediction_drift_psi", constant(0.26)),
        silent("14m")
        | {
            "16m": (
                STABLE.fires(
                    "TidegatePredictionDrift",
                    "PSI of the predictions of the stable track of models/demo is 0.26, above 0.25.",
                ),
            )
        },
    ),
    Case(
        "TidegatePredictionDrift",
        "the predictions drift less than the threshold",
        STABLE.series("tidegate_prediction_drift_psi", constant(0.24)),
        silent("16m", "18m"),
    ),
    # Above 5 % for 10 minutes, and 5 violations in 10 minutes.
    Case(
        "TidegateInputViolations",
        "6 % of the requests violate the contract",
        {
            **STABLE.requests(c200=94, c400=6),
            **STABLE.series("tidegate_input_violations_total", growth(4), feature="age", kind="type"),
            **STABLE.series("tidegate_input_violations_total", growth(2), feature="income", kind="type"),
        },
        silent("10m")
        | {
            "11m": (
                STABLE.fires(
                    "TidegateInputViolations",
                    "Rate of input violations of the stable track of models/demo is 6% of requests,"
                    " above 5%.",
                ),
            )
        },
    ),
    Case(
        "TidegateInputViolations",
        "4 % of the requests violate the contract",
        {
            **STABLE.requests(c200=96, c400=4),
            **STABLE.series("tidegate_input_violations_total", growth(4), feature="age", kind="type"),
        },
        silent("11m", "18m"),
    ),
    Case(
        "TidegateInputViolations",
        "four violations in 10 minutes, and every request violates the contract",
        {
            **STABLE.series("tidegate_requests_total", stairs(10), protocol="v2", code="400"),
            **STABLE.series("tidegate_input_violations_total", stairs(10), feature="age", kind="type"),
        },
        silent("11m", "18m"),
    ),
)
