"""The face of the toolkit: the command line, and what all of the project may use (`rtnerf.base`)."""

from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; see `rtnerf.command_line.main`."""
    from rtnerf.command_line import main as run

    run(arguments)
