"""Lines on the error stream about long work under way."""

import time

import click

SECONDS = 2
"""Before the first line, and between two."""


class Progress:
    """Tells now and then how much is done.

    Parameters
    ----------
    what : str
        Of what parts are counted.
    """

    def __init__(self, what: str):
        self._what, self._shown = what, time.monotonic()

    def __call__(self, done: int, parts: int) -> None:
        """Tell, unless it was told not long ago or all is done."""
        if done < parts and time.monotonic() - self._shown >= SECONDS:
            self._shown = time.monotonic()
            click.echo(f"  {done} of {parts} {self._what}", err=True)
