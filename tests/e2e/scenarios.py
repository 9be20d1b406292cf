# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The scenarios, each with its run and with the add-ons that it needs.

This table is the only list of the scenarios. The marker `full`, the scenarios that a run requires and the
add-ons that it installs follow from it; docs/e2e.md describes each of its scenarios.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FULL_MARKER = "full"
"""The pytest marker of the scenarios that only `make e2e-full` runs."""


@dataclass(frozen=True)
class Scenario:
    """A scenario of the table.

    Args:
        name: The test's name without `test_`.
        full: Whether only `make e2e-full` runs it.
        addons: The cluster's optional add-ons that it needs.
    """

    name: str
    full: bool = False
    addons: tuple[str, ...] = ()


SCENARIOS = (
    Scenario("training_job"),
    Scenario("training_job_bad_data"),
    Scenario("training_job_pod_lost"),
    Scenario("training_sweep"),
    Scenario("training_search", full=True),
    Scenario("install_and_infer"),
    Scenario("kserve_native"),
    Scenario("examples_on_cluster"),
    Scenario("autoscale"),
    Scenario("keda_in_flight", full=True, addons=("keda", "prometheus")),
    Scenario("switch_autoscaler", full=True, addons=("keda",)),
    Scenario("alerts_fire", full=True, addons=("prometheus",)),
    Scenario("overload_no_collapse"),
    Scenario("bad_hpa_fails", full=True),
    Scenario("capacity_to_hpa", full=True),
    Scenario("simulator_agrees", full=True),
    Scenario("replica_cost", full=True),
    Scenario("loadtest_chart"),
    Scenario("canary_split"),
    Scenario("promote", full=True),
    Scenario("canary_mirror", full=True),
    Scenario("rollback"),
    Scenario("rollout_wrong_predictions"),
    Scenario("rollout_drift_only", full=True),
    Scenario("rollout_slow", full=True),
    Scenario("rollout_errors", full=True),
    Scenario("rollout_no_traffic", full=True),
    Scenario("rollout_client_errors", full=True),
    Scenario("rollout_killed", full=True),
    Scenario("rollout_helm_killed", full=True),
    Scenario("rollout_rehearse", full=True),
    Scenario("rollout_gitops", full=True),
    Scenario("rollout_by_replicas", full=True),
    Scenario("rollout_job", full=True),
    Scenario("rollout_good"),
    Scenario("rolling_update"),
    Scenario("scale_down"),
    Scenario("node_drain"),
    Scenario("pod_kill"),
    Scenario("node_lost"),
    Scenario("tampered_bundle"),
    Scenario("signed_bundles", full=True),
    Scenario("store_down"),
    Scenario("quota_refused"),
    Scenario("no_credentials"),
    Scenario("network_policies", full=True, addons=("network-policies",)),
    Scenario("tls_and_auth", full=True),
    Scenario("server_tls", full=True),
    Scenario("two_releases"),
    Scenario("uninstall"),
)


def find_scenario(test_name: str) -> Scenario:
    """Return the scenario of a test.

    Raises:
        LookupError: If the table lacks it.
    """
    name = test_name.removeprefix("test_")
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise LookupError(f"tests/e2e/scenarios.py: no scenario is named {name!r}; add it to SCENARIOS.")


def names_of_run(*, full: bool) -> tuple[str, ...]:
    """Return the names of the scenarios that a complete run requires.

    >>> set(names_of_run(full=False)) <= set(names_of_run(full=True))
    True
    """
    return tuple(scenario.name for scenario in SCENARIOS if full or not scenario.full)


def required_addons(names: Iterable[str]) -> tuple[str, ...]:
    """Return the add-ons that scenarios need, each once and in the table's order."""
    selected = set(names)
    return tuple(
        dict.fromkeys(
            addon for scenario in SCENARIOS if scenario.name in selected for addon in scenario.addons
        )
    )
