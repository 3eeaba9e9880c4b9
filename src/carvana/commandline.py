"""Commands of the command line: arguments, hints, exit status, and one line for each error."""

import functools
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer._click.core import Context
from typer._click.exceptions import BadOptionUsage, NoSuchOption
from typer.core import TyperCommand, TyperOption

from carvana.errors import UserError
from carvana.files import describe_os_error
from carvana.interrupts import handle_interrupts, was_interrupted


def run(script: Callable[..., None]) -> None:
    """Run a script's function as a command of the command line.

    Exit status: 1 with one line for a `UserError` and for errors of the system, such as a full disk; 2 for invalid
    arguments; 130 for Ctrl-C, with one line: the text of the `KeyboardInterrupt`, if it has one. Where the output
    ends early, as in `... | head`, the command ends without a message.

    Lazy imports: TensorFlow, Dask, Kaggle's client and matplotlib take seconds to import. A script imports only what
    its arguments need at the top and everything else inside its command function, so that every `--help` and
    `compare` stay under two seconds; package modules import at their top.
    """
    _open_standard_streams()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see `carvana.startup`
        handle_interrupts()
    with _errors_in_one_line():
        command(script)(prog_name=_program())


def command(script: Callable[..., None]) -> typer.Typer:
    """Build the command that `run` runs, so that tests can call it in their own process."""

    @functools.wraps(script)
    def guarded(*arguments: Any, **options: Any) -> None:
        with _errors_in_one_line():
            script(*arguments, **options)

    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command(cls=_Command)(guarded)
    return app


def not_empty(value: str | list[str] | None) -> str | list[str] | None:
    """Return the value of an option that names something, as Typer's callback of the option.

    Raises:
        typer.BadParameter: a name is empty.
    """
    names = [value] if isinstance(value, str) else value or []
    if not all(name.strip() for name in names):
        raise typer.BadParameter("the name is empty")
    return value


class _Command(TyperCommand):
    """Command whose flags show no type in its help, which knows the keys of recipes, and optional values of options.

    The value of an option may be left out if its `metavar` is in brackets, e.g. `[FOLDER]`: it is then empty.
    """

    def get_params(self, ctx: Context) -> list[Any]:
        """Return the parameters; flags get an empty name of their value."""
        params = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperOption) and param.is_flag:
                param.metavar = ""
        return params

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments; an unknown option that is a key of recipes leads to `--set`."""
        self._refuse_values_of_flags(ctx, args)
        try:
            return super().parse_args(ctx, self._with_omitted_values(args))
        except NoSuchOption as error:
            if any("--set" in param.opts for param in self.params):
                error.message += _recipe_hint(error.option_name)
            raise

    def _refuse_values_of_flags(self, ctx: Context, args: list[str]) -> None:
        """Raise BadOptionUsage for a flag with a value, e.g. `--dry-run true`, which is no argument of its own."""
        flags = {
            opt
            for param in self.params
            if isinstance(param, TyperOption) and param.is_flag
            for opt in (*param.opts, *param.secondary_opts)
        }
        for option, word in pairwise(args):
            if option in flags and word.lower() in ("true", "yes", "on"):
                raise BadOptionUsage(option, f"{option} takes no value; leave out {word!r}", ctx)
            if option in flags and word.lower() in ("false", "no", "off"):
                raise BadOptionUsage(option, f"{option} takes no value; leave out '{option} {word}'", ctx)

    def _with_omitted_values(self, args: list[str]) -> list[str]:
        """Return the arguments with an empty value after each option whose optional value is left out."""
        optional = {
            opt for param in self.params if (param.metavar or "").startswith("[") for opt in param.opts
        }
        complete = []
        for arg, following in zip_longest(args, args[1:]):
            complete.append(arg)
            if arg in optional and (following is None or following.startswith("-")):
                complete.append("")
        return complete


def _recipe_hint(option: str) -> str:
    """Return how to change the recipe's key that an unknown option is named after; "" where there is none."""
    from carvana.recipe import key_paths

    paths = key_paths(option.lstrip("-").replace("-", "_"))
    return (
        f"; a recipe's key is changed by {' or '.join(f'--set {path}=VALUE' for path in paths)}"
        if paths
        else ""
    )


def _program() -> str:
    """Return how the script is started, for its help."""
    script = Path(sys.argv[0])
    return f"./run.sh {'benchmark ' if script.parent.name == 'benchmarks' else ''}{script.stem}"


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """End the process, as described in `run`, if the block ends with an error that is the user's to solve."""
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at the exit
        sys.exit(1)
    except OSError as error:
        _fail(str(UserError(describe_os_error(error))))
    except KeyboardInterrupt as interrupt:
        _stop(str(interrupt))
    except Exception:
        if not was_interrupted():
            raise
        _stop("")


def _stop(reason: str) -> NoReturn:
    """End the process after Ctrl-C, with its reason if there is one."""
    stopped = "stopped; what is finished is kept, and the same command continues from there"
    print(reason or stopped, file=sys.stderr)
    sys.exit(130)


def _fail(reason: str) -> NoReturn:
    """End the process with exit status 1 and one line."""
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(1)


def _open_standard_streams() -> None:
    """Open closed standard streams, and write characters that the terminal's encoding lacks as escapes.

    A closed stream's number would be given to the next file that is opened, into which libraries then write.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", errors="backslashreplace"))  # noqa: SIM115  until the exit
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
