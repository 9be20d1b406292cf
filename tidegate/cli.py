# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command line ``tidegate``: gathers the subcommands that are installed and turns errors into exit codes.

It imports no subcommand by name: packages register theirs in the entry-point group ``tidegate.commands``.
"""

import signal
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from tidegate import __version__
from tidegate.console import stderr
from tidegate.errors import ExitCode, TidegateError

GROUP = "tidegate.commands"


def build() -> typer.Typer:
    """The command line with every registered subcommand."""
    app = typer.Typer(
        name="tidegate",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help="Train scikit-learn models, serve them with KServe, and prove that what is served is right.",
        epilog="Exit codes: 0 done, 2 bad input or configuration, 3 a gate not passed, 143 stopped by "
        "SIGTERM, 1 anything else.",
    )

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
        ] = False,
    ) -> None:
        pass

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    return app


def main() -> None:
    """Run the command line. This is the process's entry point and always ends it.

    SIGTERM, with which Kubernetes and most supervisors end a process, unwinds the command as Ctrl-C does, so
    that what it was writing is taken away. A command that ends in its own way sets its own handler later.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        build()()
    except TidegateError as error:
        _tell(str(error))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        extra = _extra_of(sys.argv[1:2])
        if extra is None or (error.name or "").partition(".")[0] in _packages():
            raise
        _tell(
            f"'tidegate {sys.argv[1]}' needs {error.name}, which is not installed: install tidegate[{extra}]."
        )
        sys.exit(ExitCode.BAD_INPUT)


def _tell(sentence: str) -> None:
    stderr.print(Text.assemble(("error:", "bold red"), f" {sentence}"), soft_wrap=True)


def _terminate(number: int, frame: object) -> NoReturn:
    sys.exit(ExitCode.TERMINATED)


def _extra_of(command: list[str]) -> str | None:
    """The extra that a command's entry point names, if any."""
    entry: EntryPoint
    for entry in entry_points(group=GROUP):
        if [entry.name] == command and entry.extras:
            return entry.extras[0]
    return None


def _packages() -> set[str]:
    """The packages that register commands: a module of theirs that is missing is a fault of ours."""
    return {entry.module.partition(".")[0] for entry in entry_points(group=GROUP)}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tidegate {__version__}")
        raise typer.Exit
