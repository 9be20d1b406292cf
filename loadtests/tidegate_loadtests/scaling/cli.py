# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tidegate loadtest simulate``: an autoscaler under a traffic, without a cluster."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate.console import OutputFormat, OutputOption, print_result, progress
from tidegate.errors import ConfigurationError, GateNotPassedError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidegate_loadtests.scaling.settings import ScalingSettings
    from tidegate_loadtests.scaling.simulator import Simulation
    from tidegate_loadtests.scaling.suggestion import Objective


def simulate(
    traffic: Annotated[
        Path,
        typer.Argument(
            help="A campaign (.yaml), or a .csv or .parquet file: rates with the columns second and rate, or "
            "arrivals with the column time_seconds.",
            metavar="TRAFFIC",
        ),
    ],
    capacity: Annotated[Path, typer.Option(help="The file of 'tidegate loadtest capacity'.")],
    values: Annotated[
        list[Path],
        typer.Option(
            help="Values of the chart, or a HorizontalPodAutoscaler. Repeat the option to compare settings.",
        ),
    ],
    plot: Annotated[Path | None, typer.Option(help="Write a plot to this PNG file.")] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Find the cheapest settings that keep the threshold.")
    ] = False,
    max_over_ratio: Annotated[
        float, typer.Option(min=0, max=1, help="Accepted fraction of seconds over the threshold.")
    ] = 0.001,
    initial_replicas: Annotated[
        int | None, typer.Option(min=0, help="Replicas at the start. Default: the autoscaler's minimum.")
    ] = None,
    startup_seconds: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds from a pod's creation until it is ready. Default: the capacity file's."
        ),
    ] = None,
    metric_delay: Annotated[
        float, typer.Option(min=0, help="Seconds from a scrape until the autoscaler sees it.")
    ] = 7.5,
    in_flight_window: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds over which requests in flight are averaged. Default: 15 with KEDA's source "
            "metrics-api, 60 with prometheus.",
        ),
    ] = None,
    max_queue_delay: Annotated[
        float, typer.Option(min=0, help="The server's --max-queue-delay, in seconds.")
    ] = 2.0,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Simulate the autoscaler's decisions over a traffic, and compare settings.

    The decisions are those of Kubernetes' HorizontalPodAutoscaler. Exits with 3 if --suggest finds no
    settings that keep the threshold of the capacity file.
    """
    from tidegate_loadtests.capacity.document import Capacity
    from tidegate_loadtests.scaling.replica_model import ReplicaModel
    from tidegate_loadtests.scaling.settings import read_settings
    from tidegate_loadtests.scaling.simulator import Pipeline
    from tidegate_loadtests.scaling.simulator import simulate as simulate_settings
    from tidegate_loadtests.scaling.suggestion import Objective
    from tidegate_loadtests.scaling.suggestion import suggest as find_cheapest
    from tidegate_loadtests.scaling.traffic import read_traffic

    measured = Capacity.read(capacity)
    replica = ReplicaModel.of(measured)
    if startup_seconds is not None:
        replica = replace(replica, startup_seconds=startup_seconds)
    compared = [read_settings(path) for path in values]
    names = [settings.name for settings in compared]
    if len(set(names)) < len(names):
        raise ConfigurationError(
            f"--values: two files have the same name ({', '.join(names)}): expected names that differ, "
            "because they label the columns; rename one."
        )
    rates = read_traffic(traffic)
    pipeline = Pipeline(
        in_flight_window=in_flight_window, delay=metric_delay, max_queue_delay=max_queue_delay
    )
    threshold = measured.threshold
    objective = Objective(threshold.latency_ms / 1000, threshold.percentile, max_over_ratio)
    with progress() as display:
        task = display.add_task("Simulating", total=None)
        results = [
            (
                settings,
                simulate_settings(rates, replica, settings, pipeline, initial_replicas, objective.percentile),
            )
            for settings in compared
        ]
        suggested = None
        if suggest:
            display.update(task, description="Searching the cheapest settings")
            suggested = find_cheapest(rates, replica, measured.safe_rate, compared[0], objective, pipeline)
            results += [suggested] if suggested else []
    if plot is not None:
        from tidegate_loadtests.scaling.plots import plot_simulations

        plot.parent.mkdir(parents=True, exist_ok=True)
        simulations = [simulation for _, simulation in results]
        plot.write_bytes(
            plot_simulations(
                simulations, measured.safe_rate, objective.threshold_seconds, objective.percentile
            )
        )
    document: dict[str, Any] = {
        "seconds": len(rates),
        "requests": round(float(rates.sum())),
        "threshold_ms": threshold.latency_ms,
        "percentile": threshold.percentile,
        "settings": [_describe(settings, simulation, objective) for settings, simulation in results],
        "suggested_values": _chart_values(suggested[0]) if suggested else None,
        "plot": None if plot is None else str(plot),
    }
    print_result(output, document, _render(document))
    if suggest and suggested is None:
        raise GateNotPassedError(
            f"No settings keep p{threshold.percentile:g} below {threshold.latency_ms:g} ms in "
            f"{100 * (1 - max_over_ratio):g} % of the seconds, because new replicas are ready too late for "
            "the steps of the traffic: raise --max-over-ratio, or shorten the start of a replica."
        )


def _describe(
    settings: "ScalingSettings", simulation: "Simulation", objective: "Objective"
) -> dict[str, Any]:
    metrics = [
        f"{metric.name} {metric.target} %"
        if metric.target_type == "Utilization"
        else f"{metric.name} {metric.target / 1000:g}"
        for metric in settings.spec.metrics
    ]
    changes = [0, *(index for index, by in enumerate(_differences(simulation), 1) if by)]
    return {
        "name": settings.name,
        "metrics": metrics,
        "min_replicas": settings.spec.min_replicas,
        "max_replicas": settings.spec.max_replicas,
        "mean_replicas": float(simulation.desired.mean()),
        "peak_replicas": int(simulation.desired.max()),
        "replica_seconds": simulation.replica_seconds,
        "p99_ms": 1000 * simulation.p99_seconds,
        "over_threshold_ratio": simulation.over_threshold_ratio(objective.threshold_seconds),
        "rejected_ratio": simulation.rejected_ratio,
        "limited_by_max_replicas_ratio": simulation.max_replicas_ratio,
        "kept": objective.is_kept(simulation),
        "replicas": [[index, int(simulation.desired[index])] for index in changes],
    }


def _differences(simulation: "Simulation") -> list[int]:
    return [int(by) for by in simulation.desired[1:] - simulation.desired[:-1]]


def _chart_values(settings: "ScalingSettings") -> dict[str, Any]:
    """Return the values of the chart that set an autoscaler."""
    (metric,) = settings.spec.metrics
    if metric.target_type == "Utilization":
        signal: dict[str, Any] = {"type": "hpa", "targetCPUUtilization": metric.target}
    else:
        keda = {"source": settings.keda_source, "inFlightPerReplica": metric.target / 1000}
        signal = {"type": "keda", "keda": keda}
    bounds = {"minReplicas": settings.spec.min_replicas, "maxReplicas": settings.spec.max_replicas}
    return {"autoscaling": signal | bounds}


def _render(document: dict[str, Any]) -> "RenderableType":
    import yaml
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from tidegate.formatting import format_milliseconds, format_number, format_percent

    settings = document["settings"]
    table = Table("", *(row["name"] for row in settings), box=None, pad_edge=False)
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "signal and target": lambda row: ", ".join(row["metrics"]),
        "replicas, least to most": lambda row: f"{row['min_replicas']} to {row['max_replicas']}",
        "mean replicas": lambda row: format_number(row["mean_replicas"]),
        "peak replicas": lambda row: format_number(row["peak_replicas"]),
        "replica-seconds": lambda row: format_number(row["replica_seconds"]),
        "p99 latency": lambda row: format_milliseconds(row["p99_ms"]),
        "seconds over threshold": lambda row: format_percent(row["over_threshold_ratio"]),
        "rejected requests": lambda row: format_percent(row["rejected_ratio"]),
        "syncs limited by the maximum": lambda row: format_percent(row["limited_by_max_replicas_ratio"]),
    }
    for label, value in rows.items():
        table.add_row(label, *(value(row) for row in settings))
    table.add_row(
        "threshold",
        *(Text("kept", "green") if row["kept"] else Text("missed", "red") for row in settings),
    )
    facts = (
        f"{document['requests']:,} requests in {document['seconds']:,} s; threshold: "
        f"p{document['percentile']:g} {format_milliseconds(document['threshold_ms'])}."
    )
    parts: list[RenderableType] = [facts, table]
    if document["suggested_values"]:
        parts.append(
            "Suggested values of the chart:\n" + yaml.safe_dump(document["suggested_values"]).strip()
        )
    if document["plot"]:
        parts.append(f"Plot: {document['plot']}")
    return Group(*parts)
