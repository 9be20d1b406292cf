# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command `python -m tools.quickstart`: run the plan, and show each command.

Each step is repeatable or tells that it is done, so a second run continues after a failure. The durations are
in ``out/quickstart/summary.json``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tidegate.errors import ServerError, TidegateError
from tidegate.reference import Reference
from tools.quickstart.plan import MODEL, PROVIDERS, Provider, Step, format_steps
from tools.quickstart.requirements import REQUIREMENTS, describe, find_missing, probe, select_provider

ROOT = Path(__file__).parents[2]
OUT = Path("out/quickstart")


class Runner:
    """Runner of the steps.

    Args:
        provider: The provider of the cluster.
        root: The repository's root.
    """

    def __init__(self, provider: Provider, root: Path) -> None:
        self._root = root
        self._environment = {**os.environ, **provider.environment}
        self.commands: list[dict[str, Any]] = []

    def run(self, steps: Iterable[Step]) -> str:
        """Run steps; return the standard output of the last one.

        Raises:
            ServerError: If a command fails.
        """
        output = ""
        for step in steps:
            print(f"\n# {step.purpose}\n$ {step.line}", flush=True)
            started = time.monotonic()
            done = bool(step.unless) and self._succeeds(step.unless)
            if done:
                print("done already")
            else:
                output = self._run(step)
            seconds = round(time.monotonic() - started, 1)
            self.commands.append({"command": step.line, "seconds": seconds, "done_already": done})
        return output

    def _run(self, step: Step) -> str:
        """Run a command, and pass its output on while it runs."""
        lines = []
        with subprocess.Popen(
            step.argv, cwd=self._root, env=self._environment, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
        if process.returncode:
            command = step.line.partition(" --")[0]
            raise ServerError(
                f"{command} exited with {process.returncode}, expected 0: correct the cause, and run the "
                "quick start again; it continues here."
            )
        return "".join(lines)

    def _succeeds(self, argv: Sequence[str]) -> bool:
        done = subprocess.run(argv, cwd=self._root, env=self._environment, capture_output=True, check=False)
        return done.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.quickstart",
        description="Train and serve the example breast-cancer on a cluster of this machine.",
    )
    parser.add_argument("--provider", choices=PROVIDERS, help="by default the first one that can run here")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--plan", action="store_true", help="print the commands, and run none")
    action.add_argument("--undo", action="store_true", help="remove the cluster")
    options = parser.parse_args(arguments)
    try:
        name = options.provider
        if name is None or not (options.plan or options.undo):
            name = _select([name] if name else list(REQUIREMENTS))
        provider = PROVIDERS[name]
        if options.plan:
            print(format_steps(provider.all_steps()))
        elif options.undo:
            Runner(provider, ROOT).run([provider.undo])
        else:
            start(provider, ROOT)
    except TidegateError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("quickstart: interrupted; a second run continues.", file=sys.stderr)
        return 130
    return 0


def _select(names: Sequence[str]) -> str:
    return select_provider({name: list(find_missing(REQUIREMENTS[name], probe(name))) for name in names})


def start(provider: Provider, root: Path) -> None:
    """Run all steps, and write the summary.

    Raises:
        ServerError: If a command fails.
    """
    print(f"Quick start with the provider {provider.name}: {len(provider.all_steps())} commands.")
    for line in describe(REQUIREMENTS[provider.name]):
        print(line)
    print("`make quickstart-undo` removes the cluster.")
    out = root / OUT
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    runner = Runner(provider, root)
    reference = runner.run(provider.prepare()).strip().splitlines()[-1]
    runner.run(provider.serve(Reference.parse(reference).digest))
    summary = {
        "provider": provider.name,
        "reference": reference,
        "seconds": round(time.monotonic() - started, 1),
        "commands": runner.commands,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\nThe model responded after {summary['seconds']} s and {len(runner.commands)} commands.")
    print("To send requests of your own:")
    print(f"  {provider.command(f'kubectl port-forward service/{MODEL}-predictor 8080:80')} &")
    print(f"  {provider.command(f'curl http://localhost:8080/v2/models/{MODEL}')}")


if __name__ == "__main__":
    sys.exit(main())
