# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as a person and a script see it: one sentence and an exit code.

The exit codes are part of the interface (a Kubernetes Job decides by them whether to try again), so
this module holds them all: an error carries its code, and the command line ends the process with it.
"""

from enum import IntEnum

Location = tuple[int | str, ...]
"""The way to a field: keys and indices."""


class ExitCode(IntEnum):
    """What a command's exit code means."""

    DONE = 0
    CRASH = 1
    """Python's own code for an exception that nobody caught, and so for everything worth another try."""
    BAD_INPUT = 2
    """The input or the configuration is wrong: trying again gives the same."""
    GATE_NOT_PASSED = 3
    """Everything worked, and the result is not good enough."""
    TERMINATED = 143
    """128 and SIGTERM's number, as shells have it: asked to stop, and stopped with nothing half-written."""


class TidegateError(Exception):
    """A failure that is told in one sentence: what, where, expected, received, what to do."""

    exit_code = ExitCode.CRASH


class ConfigurationError(TidegateError):
    """A file, a value or an argument that a person wrote is wrong."""

    exit_code = ExitCode.BAD_INPUT


class FieldError(ConfigurationError, ValueError):
    """One field of a file that a person wrote is wrong.

    A pydantic validator may raise it, being a ``ValueError``, of a field beside or below its own; and so may
    whatever finds out later that the field does not fit. What read the file adds its name and the line.

    Args:
        location: The way to the field; in a validator, from the part that it validates.
        complaint: What is wrong, without a full stop.
    """

    def __init__(self, location: Location, complaint: str) -> None:
        super().__init__(f"field '{'.'.join(map(str, location))}': {complaint}.")
        self.location = location
        self.complaint = complaint


class DataError(TidegateError):
    """The data does not fit what was said of it."""

    exit_code = ExitCode.BAD_INPUT


class BundleError(TidegateError):
    """A bundle is not what its digest says, or may not be loaded here."""

    exit_code = ExitCode.BAD_INPUT


class NotFoundError(TidegateError):
    """The store answers, and holds no such bundle or channel."""

    exit_code = ExitCode.BAD_INPUT


class StoreError(TidegateError):
    """The store does not answer as it should: worth another try."""


class ServerError(TidegateError):
    """A server that was asked did not give a usable answer."""


class GateNotPassedError(TidegateError):
    """The result missed a threshold that its owner set."""

    exit_code = ExitCode.GATE_NOT_PASSED
