# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Campaigns for tests: one judged phase per load."""

from typing import Any

from tidegate_loadtests.campaign import Campaign


def make_campaign(*loads: dict[str, Any], duration: float = 10, **fields: Any) -> Campaign:
    """Make a campaign.

    Args:
        loads: The load of each phase.
        duration: The duration of each phase.
        fields: Other fields of the campaign.
    """
    phases = [
        {"name": f"phase-{index}", "duration": duration, "load": load} for index, load in enumerate(loads)
    ]
    return Campaign.model_validate({"phases": phases, **fields})
