# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Run a program to its end.

Each program has the cluster's token in its environment, if there is one, so that `down` finds the programs of
a killed `up`. A program that fails raises ClusterError with the last lines of its output. No shell is
involved.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ClusterError
from .process import TOKEN_VARIABLE

LINES_SHOWN = 25


class Runner:
    """Runner of programs that have a token in their environment.

    Args:
        token: The cluster's token; None for work that belongs to no cluster.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = token

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float | None = None,
    ) -> str:
        """Run a program and return its standard output.

        Args:
            argv: The command.
            stdin: The text for standard input; none by default.
            env: Variables in addition to this process's own environment.
            cwd: The folder to run in.
            timeout: Seconds; no limit by default.

        Raises:
            ClusterError: If the program cannot be started, fails, or exceeds the timeout.
        """
        words = [str(word) for word in argv]
        try:
            completed = subprocess.run(
                words,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, **(env or {}), **self._token_variable()},
                cwd=cwd,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError as error:
            raise ClusterError(f"{words[0]} was not found: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"`{shorten(words)}` did not end within {timeout:.0f} s.") from error
        if completed.returncode != 0:
            output = last_lines(completed.stdout + completed.stderr)
            raise ClusterError(f"`{shorten(words)}` ended with code {completed.returncode}:\n{output}")
        return completed.stdout

    def _token_variable(self) -> dict[str, str]:
        return {TOKEN_VARIABLE: self._token} if self._token else {}


def shorten(words: Sequence[str], length: int = 160) -> str:
    """Return a command line, cut to a length that fits a message."""
    line = shlex.join(words)
    return line if len(line) <= length else f"{line[:length]} ..."


def last_lines(text: str, count: int = LINES_SHOWN) -> str:
    """Return the last non-empty lines of a program's output, which usually hold the reason of a failure."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])
