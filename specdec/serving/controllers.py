"""Controllers: how much to speculate in the next steps, given the batch, the memory and what was accepted so far.

All are one rule on different ladders of shapes. Without a choice (``off``, ``fixed:K``) the ladder has one rung.
SmartSpec's controller (Liu et al., arXiv 2406.14066, and its code) takes the rung with the greatest goodput, expected
tokens over predicted time; it goes up from no speculation and stops at the first rung that is worse. The same rule on
trees of growing size is the tree-size control.
"""

from dataclasses import dataclass

import numpy as np

from rtnerf.base.compiled import compiled
from rtnerf.base.errors import InputError, require
from specdec.serving.ladder import CLASSES, Ladder, chain, chains, trees
from specdec.serving.server import Server

LONGEST_CHAIN = 8
"""The longest chain that SmartSpec's controller considers."""

LONGEST_FIXED = 64
"""The longest chain that is always drafted."""


@dataclass(frozen=True)
class Controller:
    """A rule that chooses a rung.

    Members
    -------
    name : str
    ladder : Ladder
        The rungs; with a single one there is nothing to choose.
    regression : bool
        Whether step times are predicted by regressions on a profile, or by the profile itself. SmartSpec has both.
    exhaustive : bool
        Whether the search goes on beyond a rung that is worse than the last. SmartSpec's does not; but a profile knows
        the tiles of the hardware, and the dips between them end the search too soon.
    interval : int
        Decoding steps from one choice to the next.
    preference : float
        Factor in favour of no speculation, at least 1. SmartSpec's code has 1.1.
    prior : float
        Acceptance that is assumed at first, in [0, 1]. SmartSpec's code has 0.7.
    window : int
        Requests' steps that the moving average of the accepted tokens remembers.
    """

    name: str
    ladder: Ladder
    regression: bool = False
    exhaustive: bool = False
    interval: int = 20
    preference: float = 1.0
    prior: float = 0.7
    window: int = 2000

    def __post_init__(self) -> None:
        for name in ("interval", "window", "preference"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        require(0 <= self.prior <= 1, "prior", "in [0, 1]", self.prior)

    def predicted_ms(self, server: Server) -> np.ndarray:
        """Return the step times that the controller believes in, shaped as `Server.decoding_ms`."""
        return (server.regressed(self.ladder) if self.regression else server).decoding_ms(self.ladder)


def controller(text: str) -> Controller:
    """Return the controller ``off``, ``fixed:K``, ``smartspec``, ``smartspec:profile`` or ``tree``.

    ``smartspec`` predicts step times by regressions and stops at the first decrease; ``smartspec:profile`` predicts by
    the profile and looks at every length. ``tree`` takes the profile too, as a regression is too coarse for trees of
    very different sizes.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    name, _, argument = text.partition(":")
    if text == "off":
        return Controller(text, Ladder([chain(0)]))
    if name == "fixed" and argument.isdecimal() and 1 <= int(argument) <= LONGEST_FIXED:
        return Controller(text, Ladder([chain(int(argument))]))
    if text == "smartspec":
        return Controller(text, chains(LONGEST_CHAIN), regression=True)
    if text == "smartspec:profile":
        return Controller(text, chains(LONGEST_CHAIN), exhaustive=True)
    if text == "tree":
        return Controller(text, trees())
    rule = f"off, fixed:K with K from 1 to {LONGEST_FIXED}, smartspec, smartspec:profile or tree"
    raise InputError(f"controller must be {rule}, not {text}")


# ---- The rule, compiled ----


@compiled
def step_time(table: np.ndarray, rung: int, batch: int, context: int, max_length: int) -> float:
    """Interpolate a table of times shaped as `Server.decoding_ms` where ``batch`` requests have ``context`` tokens."""
    place = context * (table.shape[2] - 1) / (batch * max_length)
    left = min(int(place), table.shape[2] - 2)
    part = place - left
    return table[rung, batch, left] * (1 - part) + table[rung, batch, left + 1] * part


@compiled
def choose(
    batch: int,
    context: int,
    max_length: int,
    cache: int,
    acceptance: int,
    nodes: np.ndarray,
    expected: np.ndarray,
    predicted: np.ndarray,
    preference: float,
    exhaustive: bool,
) -> int:
    """Return the rung with the greatest goodput, going up until the first that is worse or does not fit in memory.

    Parameters
    ----------
    batch, context, max_length : int
        Running requests, their tokens in the cache, and the longest context of the table.
    cache : int
        Tokens for which the cache has room. SmartSpec's code keeps a tenth of it free; here that made it slower, as
        requests that draft less stay longer.
    acceptance : int
        Class of the acceptance that is believed in.
    nodes, expected : ndarray
        As in `Ladder`.
    predicted : ndarray
        Step times as `Controller.predicted_ms`.
    preference : float
        Factor in favour of the first rung.
    exhaustive : bool
        Whether rungs beyond one that is worse are looked at as well.
    """
    best = 0
    greatest = preference * expected[0, acceptance] / step_time(predicted, 0, batch, context, max_length)
    for rung in range(1, len(nodes)):
        if context + batch * nodes[rung] > cache:
            break
        goodput = expected[rung, acceptance] / step_time(predicted, rung, batch, context, max_length)
        if goodput >= greatest:
            best, greatest = rung, goodput
        elif not exhaustive:
            break
    return best


@compiled
def believed(average: float, rung: int, expected: np.ndarray) -> int:
    """Return the class of acceptance whose expected tokens on a rung are nearest to the ``average``."""
    upper = min(int(np.searchsorted(expected[rung], average)), CLASSES - 1)
    lower = max(upper - 1, 0)
    return lower if average - expected[rung, lower] < expected[rung, upper] - average else upper
