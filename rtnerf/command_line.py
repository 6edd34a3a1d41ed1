"""The command line. Every command imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import errno
import signal
import sys
import tempfile
from types import FrameType
from typing import NoReturn

import click

from rtnerf import (
    benchmark,
    board,
    design_space,
    doctor,
    evaluate,
    hardware,
    inspect,
    live,
    render,
    report,
    search,
    simulate,
    synth,
    train,
)
from rtnerf.base.errors import InputError
from rtnerf.base.options import example
from rtnerf.options import version_of
from specdec.command_line.group import specdec

EXIT_BAD_INPUT = 2
EXIT_TOOL = 3


class Commands(click.Group):
    """The commands in the order in which they are defined: that of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return list(self.commands)


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"rtnerf, version {version_of('rtnerf') or '0+unknown'}")
        context.exit()


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    **example("rtnerf render --pipeline integer --size 100 --out rgb.npy --png rgb.png", cls=Commands),
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def cli(context: click.Context) -> None:
    """An open, executable RT-NeRF: renderer, accelerator RTL, cycle-accurate simulator, co-simulation."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    doctor.doctor, inspect.inspect, train.train, train.tune, render.render, evaluate.evaluate, render.encode,
    hardware.generate, simulate.simulate, simulate.ablate, design_space.compare, hardware.cosim, board.board,
    synth.synth, design_space.sweep, design_space.size, search.optimise, benchmark.benchmark, report.report, live.view,
    specdec,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; never shows a traceback for bad input."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # Under nohup it is not.
            signal.signal(number, _stop)
    try:
        status = cli.main(arguments, prog_name="rtnerf", standalone_mode=False)
    except InputError as error:
        fail(str(error), EXIT_BAD_INPUT)
    except click.ClickException as error:
        fail(_sentence(error), EXIT_BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        fail("stopped", 130)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("nerf", "rtl", "sim", "cosim", "specdec", "reports"):
            raise
        fail(f"{error.name} must be installed, not missing; rtnerf doctor says how", EXIT_TOOL)
    except OSError as error:
        # Of temporary files and builds: outputs are refused by name where they are written.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        folder = tempfile.gettempdir()
        fail(
            f"disk must have room for temporary files (in {folder}, see TMPDIR) and builds, not be full", EXIT_BAD_INPUT
        )
    except RuntimeError as error:
        # Known by name: importing cosim here would cost every command its start.
        if type(error).__name__ not in ("BoardError", "SimulationError", "SynthesisError", "ToolMissingError"):
            raise
        fail(str(error), EXIT_TOOL)
    sys.exit(status if isinstance(status, int) else 0)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End as after Ctrl-C: files and processes of the command are cleared away."""
    fail("stopped", 128 + number)


def fail(message: str, status: int) -> NoReturn:
    """Print ``error: MESSAGE`` and exit."""
    click.echo(f"error: {message}", err=True)
    sys.exit(status)


def _sentence(error: click.ClickException) -> str:
    """A message of click's in the form of this project's."""
    commands = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None
    if isinstance(error, click.NoSuchOption):
        names = [] if commands is None else [name for p in commands.params for name in p.opts if name[:2] == "--"]
        return f"option must be one of {', '.join([*names, '--help'])}, not {error.option_name}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{error.param.opts[-1].lstrip('-')} must be given, not missing"
    message = error.format_message().rstrip(".").splitlines()[0]
    if message.startswith("No such command") and isinstance(commands, click.Group):
        return f"command must be one of {', '.join(commands.commands)}, not {message.split()[3].strip(chr(39))}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name.lstrip('-')} must have a value, not none"
    if message.startswith("Got unexpected extra argument"):
        return f"arguments must be options, not {message.partition('(')[2].rstrip(')') or message}"
    return message
