# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The shape: the number of users that Locust runs, and the end of the run.

The page of a run with a shape has no field for users, so the load stays that of the campaign. Locust
evaluates a shape once per second; the exact times of the phases are the partition's concern.
"""

from typing import ClassVar

from locust import LoadTestShape


class CampaignShape(LoadTestShape):
    """All users from the start until the campaign is finished."""

    users: ClassVar[int] = 1
    finished: ClassVar[bool] = False

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and the users that may start per second; None ends the run."""
        return None if type(self).finished else (type(self).users, float(type(self).users))
