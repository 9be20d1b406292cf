# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that end a command: one sentence for the user and an exit code for scripts.

The exit codes are a public interface: a Kubernetes Job's failure policy decides by them whether to retry.
This module therefore defines all of them. An error carries its code, and the command line exits with it.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

Location = tuple[int | str, ...]
"""The path to a field: its keys and indices, from the root."""


class ExitCode(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    CRASH = 1
    """An unhandled exception, as in Python, or another failure that a retry can overcome."""
    BAD_INPUT = 2
    """The input or the configuration is wrong: a retry has the same result."""
    GATE_NOT_PASSED = 3
    """The command succeeded, and its result misses a threshold."""
    TERMINATED = 143
    """SIGTERM ended the command, with nothing half-written. From POSIX shells: 128 + the signal's number."""


class TidegateError(Exception):
    """A failure described in one sentence: what, where, expected, received and how to fix it."""

    exit_code = ExitCode.CRASH


class ConfigurationError(TidegateError):
    """A wrong configuration file, value or argument."""

    exit_code = ExitCode.BAD_INPUT


class FieldError(ConfigurationError, ValueError):
    """A wrong field in a configuration file.

    A pydantic validator may raise it, because it is a ``ValueError``, for a field next to or below its own.
    Code that runs after the file was read may raise it too. :mod:`tidegate.settings` adds the file's name and
    the line.

    Args:
        location: The path to the field; in a validator, relative to the model that it validates.
        problem: The problem with the field's value, without a full stop.
    """

    def __init__(self, location: Location, problem: str) -> None:
        super().__init__(f"field '{'.'.join(map(str, location))}': {problem}.")
        self.location = location
        self.problem = problem

    def __reduce__(self) -> tuple[type["FieldError"], tuple[Location, str]]:
        """Return both arguments, because a worker process sends the error to the process that waits."""
        return type(self), (self.location, self.problem)


class DataError(TidegateError):
    """Data that contradicts its description."""

    exit_code = ExitCode.BAD_INPUT


class BundleError(TidegateError):
    """A bundle that differs from its digest, or that the policy does not allow to load."""

    exit_code = ExitCode.BAD_INPUT


class NotFoundError(TidegateError):
    """A bundle, channel or object that a reachable store does not contain."""

    exit_code = ExitCode.BAD_INPUT


class StoreError(TidegateError):
    """A store that is unreachable or fails: worth a retry."""


class AccessDeniedError(StoreError):
    """An object that the credentials cannot read, or a missing one that they cannot list in S3."""


class ServerError(TidegateError):
    """A server that is unreachable, fails, or returns an unusable response."""


class GateNotPassedError(TidegateError):
    """A result that misses a configured threshold."""

    exit_code = ExitCode.GATE_NOT_PASSED


def first_problem(error: "ValidationError") -> str:
    """Describe the first problem of a pydantic error: the field, then pydantic's message."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"
