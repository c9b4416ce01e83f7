"""``dipole``: finds the command, imports its module only, and turns errors into one line and an exit code.

A command ``name`` is the function ``run`` in ``cli/name.py``: its parameters are the options, its docstring is the help, and ends
with an ``Example:``. Nothing is registered: a file in this folder is a command. Exit codes: 0 done, 1 the work failed, 2 the call
was wrong, 130 interrupted.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from dipole import __version__
from dipole.core.errors import DipoleError

_NOT_COMMANDS = {"__init__", "main"}
_DEBUG = "DIPOLE_TRACEBACK"  # set to anything: show the traceback of an expected error too


def command_names() -> list[str]:
    """The commands there are: the modules of this folder, in alphabetical order."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in _NOT_COMMANDS)


def summary(name: str) -> str:
    """The first line of a command's docstring, read without importing its module."""
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "run":
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def application(wanted: str | None = None) -> typer.Typer:
    """The Typer application: the ``wanted`` command as it is, every other one as a stub with a name and one line of help."""
    app = typer.Typer(
        name="dipole",
        help="Train, measure and search embeddings with contrastive methods, on your own data.",
        epilog="Start with: dipole demo --fast",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_top)
    for name in command_names():
        if name == wanted:
            run = importlib.import_module(f"dipole.cli.{name}").run
            app.command(name, help=_laid_out(run.__doc__ or ""))(_bracketed(run))
        else:
            app.command(name, help=summary(name).replace("[", r"\["))(_stub())
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on ``arguments`` (default: the process's own) and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    wanted = next((word for word in words if not word.startswith("-")), None)
    try:
        application(wanted)(args=words, prog_name="dipole")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        code = 130
    except DipoleError as error:
        if os.environ.get(_DEBUG):
            raise
        print(f"dipole: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if os.environ.get(_DEBUG):
            raise
        print(f"dipole: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        return 1
    else:
        code = 0
    if code == 130:  # Typer, too, ends with it at Ctrl-C, without a word
        print("dipole: interrupted", file=sys.stderr)
    return code


def _show_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_show_version)] = False,
) -> None:
    """The options of ``dipole`` itself."""


def _stub() -> Callable[[], None]:
    def run() -> None:  # never called: the wanted command is always the real one
        raise AssertionError("a stub was called")

    return run


def _bracketed(run: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters' help keeps its square brackets, which Rich takes for markup otherwise."""
    hints = get_type_hints(run, include_extras=True)
    for hint in hints.values():
        for said in getattr(hint, "__metadata__", ()):
            if getattr(said, "help", None):
                said.help = re.sub(r"(?<!\\)\[", r"\[", said.help)
    run.__annotations__ = hints
    return run


def _laid_out(text: str) -> str:
    """A docstring as Typer's help: square brackets kept, the lines of ``Example:`` kept apart."""
    head, mark, example = inspect.cleandoc(text).replace("[", r"\[").partition("Example:")
    return f"{head}\b\n{mark}{example}" if mark else head
