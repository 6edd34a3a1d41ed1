"""RSD-S: a stochastic beam, which draws whole sequences without replacement and so drops the unlikely ones early.

Kool et al. perturb the log-probability of every sequence with Gumbel noise, top down, and keep the W largest of each
length. The same in other words: every sequence arrives after an exponential time with its probability as rate, a
prefix arrives with its first continuation, and the first W arrivals of each length are kept. Of such a race only the
order matters, and the order needs no times: clocks have no memory, so whatever has arrived, the next arrival is each
open one with probability proportional to its rate. That is what is drawn here, W draws a layer.

Source: Recursive Speculative Decoding (arXiv 2402.14160); Kool et al. 2019, Stochastic Beams and Where to Find Them
(arXiv 1903.06059). The race is our form of it; a test compares it with the Gumbel recursion.
"""

from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer, log_probability
from specdec.trees.tree import Source, TreeBuilder


class StochasticBeam(Proposer):
    """Keep at most ``width`` nodes a layer, the first to arrive; one draft pass a layer.

    A child's arrival is decided by what arrived before, never by its own token, so the rule without replacement stays
    lossless.

    Parameters
    ----------
    draft : LanguageModel
        The draft.
    width : int
        Nodes of a layer.
    depth : int
        Layers below the root.
    """

    def __init__(self, draft: LanguageModel, width: int, depth: int):
        require(width >= 1, "width", "at least 1", width)
        require(depth >= 0, "depth", "at least 0", depth)
        self._draft = draft
        self._width = width
        self._depth = depth

    def propose(self, context: Tokens, chance: Chance) -> Proposal:
        """Run the race of every length."""
        builder = TreeBuilder(context[-1])
        laws: dict[int, np.ndarray] = {}
        beam: dict[int, Any] = {0: 1}
        for _ in range(self._depth):
            layer = self._draft.laws(context, [builder.path(node) for node in beam])
            laws |= dict(zip(beam, layer, strict=True))
            beam = self._race(builder, beam, laws, chance)
        return Proposal(builder.build(), laws, draft_passes=self._depth)

    def _race(
        self, builder: TreeBuilder, beam: dict[int, Any], laws: dict[int, np.ndarray], chance: Chance
    ) -> dict[int, Any]:
        """Return the next beam, node to probability, in order of arrival.

        ``beam`` is in order of arrival too. A node of it that has arrived has its first child; until then all we know
        is that it comes before the nodes after it, which arrive at the joint rate ``pending``.
        """
        nodes = list(beam)
        draws = [chance.distinct(laws[node]) for node in nodes]
        rates: list[Any] = []
        pending: Any = 1
        children: dict[int, Any] = {}
        while len(children) < self._width:
            waiting = [pending] if len(rates) < len(nodes) else []
            if not any(rate > 0 for rate in rates + waiting):
                break
            place = chance.draw(np.array(rates + waiting))
            node = nodes[place]
            if place == len(rates):
                pending = max(pending - beam[node], 0)
                rates.append(beam[node])
            token = next(draws[place], None)
            if token is None:
                # Only rounding had left a rate.
                rates[place] = 0
                continue
            child = builder.add(node, token, log_probability(laws[node], token), Source.WITHOUT_REPLACEMENT)
            children[child] = beam[node] * laws[node][token]
            rates[place] = max(rates[place] - children[child], 0)
        return children
