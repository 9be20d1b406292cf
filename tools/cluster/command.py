# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Run another program to its end.

Every program runs with the cluster's token in its environment when there is one, so that `down` finds what
a killed `up` left behind. A program that fails becomes a ClusterError with the last lines it wrote. No
shell is involved.
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
    """Runs programs that carry a token.

    Args:
        token: the cluster's, or None for work that belongs to no cluster.
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
        """Run a program and return what it wrote to standard output.

        Raises:
            ClusterError: if it cannot be started, fails or takes too long.
        """
        words = [str(word) for word in argv]
        try:
            done = subprocess.run(
                words,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, **(env or {}), **self._mark()},
                cwd=cwd,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError as error:
            raise ClusterError(f"{words[0]} is not there: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"`{summary(words)}` did not end within {timeout:.0f} s.") from error
        if done.returncode != 0:
            said = last_lines(done.stdout + done.stderr)
            raise ClusterError(f"`{summary(words)}` ended with code {done.returncode}:\n{said}")
        return done.stdout

    def _mark(self) -> dict[str, str]:
        return {TOKEN_VARIABLE: self._token} if self._token else {}


def summary(words: Sequence[str], length: int = 160) -> str:
    """Shorten a command line for a message."""
    line = shlex.join(words)
    return line if len(line) <= length else f"{line[:length]} ..."


def last_lines(text: str, count: int = LINES_SHOWN) -> str:
    """Keep the end of a program's output, where the reason is."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])
