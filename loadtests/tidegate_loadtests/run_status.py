# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The state: how far a campaign is, as the Locust process tells the process that started it, in one file.

It is replaced as a whole, so that a reader never sees half of it. Samples are not in it.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from tidegate_loadtests.generator_cpu import Generator


class State(BaseModel):
    """What is known by now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = 0
    """How many workers have their share and are ready to begin."""
    zero: float | None = None
    """When the measured time begins, in seconds on the machine's monotonic clock; None before it is so."""
    generators: tuple[Generator, ...] = ()
    """How busy the workers were, by index, once all have ended."""
    problem: str | None = None
    """Why the campaign decides nothing."""

    def write(self, path: Path) -> None:
        """Replace what the file says."""
        partial = path.with_suffix(".partial")
        partial.write_text(self.model_dump_json(), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What the file says; nothing is known as long as there is none."""
        return cls.model_validate_json(path.read_bytes()) if path.exists() else cls()
