"""Typical acceptance: keep what the target finds plausible enough. Not lossless: the output has another law."""

from collections.abc import Sequence
from math import exp, log, sqrt

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.distribution import entropy
from specdec.proposers.base import Proposal
from specdec.verifiers.base import Verdict, Verifier


class TypicalAcceptance(Verifier):
    """Accept a token whose probability exceeds ``min(epsilon, delta * exp(-entropy))``; keep the longest accepted path.

    Of equally long paths the likeliest under the target is kept; the bonus is drawn from the target's law after it.
    **Not lossless.** Source: Medusa (arXiv 2401.10774).

    Parameters
    ----------
    epsilon : float
        Probability that is always enough, in (0, 1].
    delta : float or None
        Factor of the entropy term; by default the square root of ``epsilon``.
    """

    lossless = False

    def __init__(self, epsilon: float = 0.09, delta: float | None = None):
        require(0 < epsilon <= 1, "epsilon", "in (0, 1]", epsilon)
        self._epsilon = epsilon
        self._delta = sqrt(epsilon) if delta is None else delta

    def verify(self, proposal: Proposal, target: Sequence[np.ndarray] | np.ndarray, chance: Chance) -> Verdict:
        """Find the longest accepted path."""
        tree = proposal.tree
        accepted: dict[int, tuple[tuple[int, ...], float]] = {0: ((), 0.0)}
        for node in range(1, len(tree)):
            parent = int(tree.parent[node])
            if parent in accepted:
                law = target[parent]
                probability = float(law[tree.token[node]])
                if probability > min(self._epsilon, self._delta * exp(-entropy(law))):
                    path, likelihood = accepted[parent]
                    accepted[node] = ((*path, node), likelihood + log(probability))
        path, _ = max(accepted.values(), key=lambda found: (len(found[0]), found[1]))
        return Verdict(path, chance.draw(target[path[-1] if path else 0]))
