# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Campaigns of load tests, with defaults for the fields that a test does not care for."""

from typing import Any

from tidegate_loadtests.campaign import Campaign

Fields = dict[str, Any]


def make_phase(name: str = "main", rate: float = 100.0, duration: float = 20.0, **fields: Any) -> Fields:
    """Make the fields of a phase with a Poisson load.

    Args:
        name: The phase's name.
        rate: Requests per second.
        duration: Seconds.
        fields: Other fields of the phase.
    """
    return {"name": name, "duration": duration, "load": {"model": "poisson", "rate": rate}} | fields


def make_campaign(*phases: Fields, **fields: Any) -> Campaign:
    """Make a campaign of phases; by default one of 2,000 requests in 20 seconds."""
    return Campaign.model_validate({"phases": list(phases) or [make_phase()]} | fields)


def make_load_campaign(*loads: Fields, duration: float = 10.0, **fields: Any) -> Campaign:
    """Make a campaign with one judged phase per load.

    Args:
        loads: The load of each phase.
        duration: The duration of each phase, in seconds.
        fields: Other fields of the campaign.
    """
    phases = [
        {"name": f"phase-{index}", "duration": duration, "load": load} for index, load in enumerate(loads)
    ]
    return make_campaign(*phases, **fields)
