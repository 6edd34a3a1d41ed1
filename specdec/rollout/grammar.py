"""Decoding under a grammar: the model's law, restricted to what may come next."""

from collections.abc import Generator, Sequence

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.distribution import normalise
from specdec.laws.language_model import Tokens
from specdec.rollout.tree import Branch


def choose(branch: Branch, options: Sequence[Tokens]) -> Generator[None, np.ndarray, int]:
    """Decode one of some options onto a branch, token by token, and return which.

    Parameters
    ----------
    branch : Branch
        What goes before.
    options : sequence of tuple of int
        At least one; none begins with another.

    Raises
    ------
    InputError
        If an option begins with another.
    """
    left = list(range(len(options)))
    place = 0
    while len(left) > 1 or place < len(options[left[0]]):
        ended = [options[index] for index in left if len(options[index]) == place]
        require(not ended, "options", "such that none begins with another", ended[:1])
        law = yield
        allowed = np.zeros_like(law)
        possible = [options[index][place] for index in left]
        # A law that rules all of them out leaves no preference.
        allowed[possible] = law[possible] if law[possible].any() else 1.0
        allowed = normalise(allowed)
        token = branch.chance.draw(allowed)
        branch.append(token, allowed)
        left = [index for index in left if options[index][place] == token]
        place += 1
    return left[0]
