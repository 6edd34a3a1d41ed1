"""The decoding loop: propose, run the target once on the tree, verify, commit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from rtnerf.base.errors import require
from specdec.decoding.ending import NEVER, Ending
from specdec.laws.chance import Chance, Likeliest
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposal, Proposer
from specdec.verifiers.base import Verdict, Verifier


@dataclass(frozen=True)
class Step:
    """What happened in one step.

    Members
    -------
    proposal : Proposal
        The candidates.
    verdict : Verdict
        What was kept of them.
    surplus : int
        Tokens at the end that were no longer wanted.
    """

    proposal: Proposal
    verdict: Verdict
    surplus: int = 0

    @property
    def tokens(self) -> Tokens:
        """The tokens that the step adds to the output."""
        tokens = self.verdict.tokens(self.proposal.tree)
        return tokens[: len(tokens) - self.surplus]


def speculate(
    target: LanguageModel,
    proposer: Proposer,
    verifier: Verifier,
    context: Tokens,
    chance: Chance,
    lossless: bool = True,
) -> Step:
    """Decode one step after a context of at least one token.

    Raises
    ------
    InputError
        If ``lossless`` and the verifier does not keep the target's law on these candidates.
    """
    require(len(context) > 0, "context", "at least one token", "empty")
    proposal = proposer.propose(context, chance)
    if lossless:
        verifier.check_lossless(proposal)
    laws = target.laws(context, proposal.tree.paths)
    return Step(proposal, verifier.verify(proposal, laws, chance))


def decode(
    target: LanguageModel,
    proposer: Proposer,
    verifier: Verifier,
    context: Tokens,
    tokens: int,
    chance: Chance,
    lossless: bool = True,
    ending: Ending = NEVER,
    emit: Callable[[Tokens], None] | None = None,
) -> tuple[Tokens, list[Step]]:
    """Return (the next ``tokens`` tokens or as many as there are to the end, the steps taken), without any surplus.

    ``emit`` is called with the output so far after every step. Raises as `speculate`.
    """
    require(tokens >= 0, "tokens", "at least 0", tokens)
    output: Tokens = ()
    steps = []
    while len(output) < tokens:
        step = speculate(target, proposer, verifier, context + output, chance, lossless)
        longer = (output + step.tokens)[:tokens]
        end = ending.length(longer, len(output))
        step = replace(step, surplus=len(output) + len(step.tokens) - (end or len(longer)))
        steps.append(step)
        output += step.tokens
        if emit is not None:
            emit(output)
        if end:
            break
    return output, steps


def decode_plain(
    target: LanguageModel, context: Tokens, tokens: int, chance: Chance | None = None, ending: Ending = NEVER
) -> Tokens:
    """Return the next ``tokens`` tokens or as many as there are to the end, by one pass of the target each.

    That is what speculation is measured against. They are drawn by ``chance``; without it they are the likeliest.
    Raises `InputError` if the context is empty.
    """
    require(len(context) > 0, "context", "at least one token", "empty")
    chance = chance or Likeliest()
    output: Tokens = ()
    while len(output) < tokens:
        output += (chance.draw(target.law(context + output)),)
        if ending.length(output, len(output) - 1):
            break
    return output
