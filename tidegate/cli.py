# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The command line ``tidegate``: the installed commands, and exit codes for their errors.

It imports no command by name: packages register commands in the entry-point group ``tidegate.commands``.
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
    """Build the command line from every registered command."""
    app = typer.Typer(
        name="tidegate",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        pretty_exceptions_enable=False,
        # Markdown drops '<store>/<name>' as an HTML tag, and rich markup drops '[...]' as a style.
        rich_markup_mode=None,
        help="Train scikit-learn models, serve them with KServe, and verify the served predictions.",
        epilog="Exit codes: 0 done, 2 bad input or configuration, 3 a gate not passed, 143 stopped by "
        "SIGTERM, 1 any other failure.",
    )

    @app.callback()
    def options(
        version: Annotated[
            bool,
            typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version."),
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
    """Run the command line and exit: the entry point of the process.

    SIGTERM unwinds the command's stack as Ctrl-C does, so that partial output is removed. Kubernetes and most
    supervisors send it. A command with a shutdown of its own replaces this handler.
    """
    signal.signal(signal.SIGTERM, _exit_terminated)
    try:
        build()()
    except TidegateError as error:
        _print_error(str(error))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        extra = _extra_of(sys.argv[1:2])
        if extra is None or (error.name or "").partition(".")[0] in _packages():
            raise
        _print_error(
            f"'tidegate {sys.argv[1]}' needs {error.name}, which is not installed: install tidegate[{extra}]."
        )
        sys.exit(ExitCode.BAD_INPUT)


def _print_error(message: str) -> None:
    stderr.print(Text.assemble(("error:", "bold red"), f" {message}"), soft_wrap=True)


def _exit_terminated(number: int, frame: object) -> NoReturn:
    sys.exit(ExitCode.TERMINATED)


def _extra_of(command: list[str]) -> str | None:
    """Return the extra in a command's entry point; None without one."""
    entry: EntryPoint
    for entry in entry_points(group=GROUP):
        if [entry.name] == command and entry.extras:
            return entry.extras[0]
    return None


def _packages() -> set[str]:
    """Return the packages that register commands; a missing module of theirs is a bug."""
    return {entry.module.partition(".")[0] for entry in entry_points(group=GROUP)}


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"tidegate {__version__}")
        raise typer.Exit
