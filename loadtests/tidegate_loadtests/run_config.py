# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The assignment: what a Locust process is told by the process that starts it, in one JSON file.

It says what to send and where to write, and nothing of the objective's outcome.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tidegate.contract import Contract
from tidegate_loadtests.plan import LoadTest


class Assignment(BaseModel):
    """A plan, the model's contract, and the files that are to be written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: LoadTest
    contract: Contract
    samples: Path
    """Where the samples go, as CSV."""
    state: Path
    """Where the :class:`~tidegate_loadtests.run_status.State` goes."""
