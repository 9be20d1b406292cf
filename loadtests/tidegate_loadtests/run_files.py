# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The two JSON files between the runner and its Locust process: the run's configuration and its status.

The runner writes the configuration before it starts Locust; Locust writes the status while it runs. Samples
have a file of their own.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from tidegate.contract import Contract
from tidegate_loadtests.campaign import Campaign
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.live_metrics import LiveMetrics
from tidegate_loadtests.payload import Rows, read_payload


class RunConfig(BaseModel):
    """The campaign, the model's contract, and the files that the Locust process writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    campaign: Campaign
    contract: Contract
    samples_path: Path
    """The Parquet file of the samples."""
    status_path: Path
    """The JSON file of the :class:`RunStatus`."""

    def read_payload(self) -> Rows | None:
        """Read the rows of the campaign's payload file; None if it names none.

        Raises:
            DataError: If the file does not hold rows of the contract.
        """
        payload = self.campaign.payload
        return None if payload is None else read_payload(payload.file, self.contract)


class RunStatus(BaseModel):
    """The progress and the end of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ready_workers: int = 0
    """Number of workers that have their partition and are ready to start."""
    start_time: float | None = None
    """Start of the campaign, in seconds on the monotonic clock; None before the load starts."""
    started_at: float | None = None
    """Start of the campaign in seconds of Unix time."""
    live: LiveMetrics = LiveMetrics()
    generators: tuple[Generator, ...] = ()
    """CPU use of the workers, by their index; empty until all have finished."""
    inconclusive_reason: str | None = None
    """Reason to end the run without a verdict."""

    def write(self, path: Path) -> None:
        """Replace the file as a whole, so that a reader never sees a part of it."""
        partial = path.with_suffix(".partial")
        partial.write_text(self.model_dump_json(), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; return the initial status if the file does not exist yet."""
        return cls.model_validate_json(path.read_bytes()) if path.exists() else cls()
