"""Multi-step rejection: try the siblings in turn, each time against what the rejections before have left.

A candidate x whose law, given all before it, is q is accepted with probability min(1, r(x) / q(x)), where r starts as
the target's law and becomes ``norm((r - q)+)`` after each rejection; when nobody is accepted the token is drawn from r.
Every step leaves the law of the output unchanged whatever q is, as long as x was truly drawn from it. The rules differ
in what q is:

* drawn with replacement: the draft's law each time (SpecInfer, arXiv 2305.09781);
* drawn without replacement: the draft's law over the tokens not drawn yet (RSD, arXiv 2402.14160; Sequoia,
  arXiv 2402.12374; DySpec, arXiv 2410.11744);
* a deterministic candidate: certain of x, so that it is accepted with probability r(x) (EAGLE's code at temperature
  above zero).
"""

from typing import Any

import numpy as np

from rtnerf.base.errors import require
from specdec.laws.chance import Chance
from specdec.laws.distribution import one_hot, residual
from specdec.proposers.base import Proposal
from specdec.trees.tree import Source
from specdec.verifiers.base import Walk


class MultiStepRejection(Walk):
    """Multi-step rejection by each candidate's own source, so that trees of mixed sources are verified too.

    Deterministic candidates must come after the drawn siblings: only there may they depend on what was drawn.

    Raises
    ------
    InputError
        If a drawn candidate follows a deterministic one or its parent has no draft law.
    """

    anticipation = False

    def step(self, proposal: Proposal, node: int, law: np.ndarray, chance: Chance) -> tuple[int | None, int]:
        """Try the children in sibling order."""
        tree = proposal.tree
        left: Any = proposal.laws[node].copy() if node in proposal.laws else None
        deterministic = False
        for child in tree.children[node]:
            token, source = int(tree.token[child]), Source(tree.source[child])
            if source.drawn:
                require(left is not None, f"draft law at node {node}", "given with drawn children", "absent")
                require(not deterministic, f"drawn child {child}", "elder than deterministic siblings", "younger")
                draft = left / left.sum()
            else:
                deterministic = True
                draft = one_hot(law, token)
            if chance.accept(min(1, law[token] / draft[token])):
                return child, token
            law = residual(law, draft)
            if source is Source.WITHOUT_REPLACEMENT:
                left[token] *= 0
        return None, chance.draw(law)


class WithReplacement(MultiStepRejection):
    """Multi-step rejection of independent draws."""

    sources = frozenset({Source.WITH_REPLACEMENT})


class WithoutReplacement(MultiStepRejection):
    """Multi-step rejection of draws that never repeat a sibling."""

    sources = frozenset({Source.WITHOUT_REPLACEMENT})


class DeterministicCandidates(MultiStepRejection):
    """Multi-step rejection of candidates that were chosen, not drawn."""

    sources = frozenset({Source.RANKED, Source.RETRIEVED})
