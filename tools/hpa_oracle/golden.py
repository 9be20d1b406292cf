# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Scenarios with the controller's decisions, in one compressed file: the tests compare them without Go."""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.hpa_oracle.scenario import Json

PATH = Path(__file__).with_name("golden.jsonl.gz")
_FIELDS = ("replicas", "ableToScale", "scalingActive", "scalingLimited")


def write(decided: Iterable[tuple[Json, list[Json]]], path: Path = PATH) -> None:
    """Write scenarios with their decisions; the same content gives the same bytes."""
    lines = (
        json.dumps(
            scenario | {"decisions": [[made[name] for name in _FIELDS] for made in decisions]},
            separators=(",", ":"),
        )
        for scenario, decisions in decided
    )
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))


def read(path: Path = PATH) -> Iterator[tuple[Json, list[Json]]]:
    """Yield each scenario with the controller's decisions."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            scenario = json.loads(line)
            decisions = [dict(zip(_FIELDS, made, strict=True)) for made in scenario.pop("decisions")]
            yield scenario, decisions
