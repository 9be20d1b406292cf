# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' own HorizontalController in virtual time: build it, and let it decide scenarios.

The build takes the versions of Kubernetes' modules from the tool set of the test cluster, so that the oracle
is the controller that the cluster runs.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate.errors import TidegateError
from tools.hpa_oracle.scenario import Json

SOURCE = Path(__file__).parent / "go"
GO_MOD = Path(__file__).parents[1] / "cluster" / "tools" / "kubernetes" / "go.mod"


def build(folder: Path) -> Path:
    """Build the program into a folder and return its path.

    Raises:
        TidegateError: If Go is missing or the build fails.
    """
    if shutil.which("go") is None:
        raise TidegateError(
            "`go` is not on the PATH: the oracle is built from Kubernetes' Go modules. Install Go."
        )
    program = folder / "hpa-oracle"
    options = ["-modfile", str(GO_MOD), "-mod=readonly", "-trimpath", "-buildvcs=false"]
    built = subprocess.run(
        ["go", "build", *options, "-o", str(program), "."],
        cwd=SOURCE,
        env=os.environ | {"CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise TidegateError(f"The oracle cannot be built: {built.stderr.strip()}")
    return program


def decide_all(program: Path, scenarios: Sequence[Json]) -> Iterator[list[Json]]:
    """Yield the controller's decisions for each scenario.

    Raises:
        TidegateError: If the program fails.
    """
    lines = "".join(f"{json.dumps(scenario, separators=(',', ':'))}\n" for scenario in scenarios)
    ran = subprocess.run([program], input=lines, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise TidegateError(f"The oracle failed: {ran.stderr.strip()}")
    for scenario, line in zip(scenarios, ran.stdout.splitlines(), strict=True):
        result = json.loads(line)
        assert result["id"] == scenario["id"]
        yield result["decisions"]
