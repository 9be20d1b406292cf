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
from tidegate_loadtests.generator_cpu import Generator
from tidegate_loadtests.plan import LoadTest


class RunConfig(BaseModel):
    """The load, the model's contract, and the files that the Locust process writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: LoadTest
    contract: Contract
    samples_path: Path
    """The CSV file of the samples."""
    status_path: Path
    """The JSON file of the :class:`RunStatus`."""


class RunStatus(BaseModel):
    """The progress and the end of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ready_workers: int = 0
    """Number of workers that have their partition and are ready to start."""
    measure_start: float | None = None
    """Start of the measured time, in seconds on the monotonic clock; None before the load starts."""
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
