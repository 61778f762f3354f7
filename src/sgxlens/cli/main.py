# SPDX-License-Identifier: Apache-2.0
"""The command `sgxlens`: finds the sub-command, and turns every expected error into one line."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import click

from sgxlens.errors import SgxlensError

EXIT_ERROR = 2
EXIT_SIGNALLED = 128  # plus the signal's number, as a shell reports it
EXIT_INTERRUPTED = EXIT_SIGNALLED + signal.SIGINT

# Each is a module of this package with a click command of the name `command`.
SUB_COMMANDS = (
    "record",
    "show",
    "predict",
    "advise",
    "optimize",
    "manifest",
    "lint",
    "compare",
    "report",
    "export",
    "platforms",
    "runtimes",
    "replay",
    "time",
    "doctor",
)


class _SubCommands(click.Group):
    """Imports a sub-command when it is asked for: `sgxlens doctor` must not need pyarrow."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUB_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUB_COMMANDS:
            return None
        command: click.Command = import_module(f"sgxlens.cli.{cmd_name}").command
        return command


@click.group(
    cls=_SubCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="sgxlens", message="%(prog)s %(version)s")
def sgxlens() -> None:
    """Records what an unmodified inference process does with memory and the kernel.

    From a recording follows what the process would cost inside an Intel SGX enclave. No SGX
    hardware is needed.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: this process's) and returns its exit status.

    0: done; 2: an error, told in one line; 130: interrupted; 129, 143: ended by SIGHUP, SIGTERM.
    `record` has further ones.
    """
    received: list[int] = []
    try:
        with _ended_by_signals(received):
            result = sgxlens.main(
                args=None if argv is None else list(argv),
                prog_name="sgxlens",
                standalone_mode=False,
            )
    except SgxlensError as error:
        return _fail(error.message)
    except click.UsageError as error:
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
        return _fail(error.format_message().rstrip(".") + hint)
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return EXIT_SIGNALLED + received[0] if received else EXIT_INTERRUPTED
    except MemoryError:
        return _fail("out of memory")
    except OSError as error:
        where = f": {error.filename}" if error.filename is not None else ""
        return _fail(f"{error.strerror or error}{where}")
    return result if isinstance(result, int) else 0


@contextmanager
def _ended_by_signals(received: list[int]) -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end what is done as Ctrl-C does, so that nothing is left behind.

    The signal that came is added to `received`; a second one ends the process at once.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    # Others may be ignored, as under nohup, or be handled by a program that calls `main`.
    handled = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        handled = []
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def _fail(message: str) -> int:
    click.echo(f"sgxlens: error: {' '.join(message.split())}", err=True)
    return EXIT_ERROR
