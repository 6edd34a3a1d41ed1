"""The decoding loop: propose, run the target once on the tree, verify, commit."""

from collections.abc import Callable, Sequence
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


def propose(proposer: Proposer, verifier: Verifier, context: Tokens, chance: Chance, lossless: bool = True) -> Proposal:
    """Return candidates after a context of at least one token. Raises as `speculate`."""
    require(len(context) > 0, "context", "at least one token", "empty")
    proposal = proposer.propose(context, chance)
    if lossless:
        verifier.check_lossless(proposal)
    return proposal


def verify(target: LanguageModel, verifier: Verifier, proposal: Proposal, context: Tokens, chance: Chance) -> Step:
    """Let the target keep what it may of the candidates."""
    laws = target.laws(context, proposal.tree.paths)
    return Step(proposal, verifier.verify(proposal, laws, chance))


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
    return verify(target, verifier, propose(proposer, verifier, context, chance, lossless), context, chance)


class Decoding:
    """A request that is decoded step by step, to ``tokens`` tokens or to the end.

    ``emit`` is called with the output so far after every step.

    Members
    -------
    output : tuple of int
        What there is, without any surplus.
    steps : list of Step
        The steps taken.
    running : bool
        Whether there is more to come.
    """

    def __init__(
        self,
        target: LanguageModel,
        proposer: Proposer,
        verifier: Verifier,
        context: Tokens,
        tokens: int,
        chance: Chance,
        lossless: bool = True,
        ending: Ending = NEVER,
        emit: Callable[[Tokens], None] | None = None,
    ):
        require(tokens >= 0, "tokens", "at least 0", tokens)
        self._target, self._proposer, self._verifier, self._chance = target, proposer, verifier, chance
        self._prompt, self._tokens, self._lossless, self._ending, self._emit = context, tokens, lossless, ending, emit
        self.output: Tokens = ()
        self.steps: list[Step] = []
        self.running = tokens > 0

    @property
    def context(self) -> Tokens:
        """Prompt and output."""
        return self._prompt + self.output

    def propose(self) -> Proposal:
        """Return the next step's candidates. Raises as `speculate`."""
        return propose(self._proposer, self._verifier, self.context, self._chance, self._lossless)

    def verify(self, proposal: Proposal) -> None:
        """Take the step."""
        step = verify(self._target, self._verifier, proposal, self.context, self._chance)
        longer = (self.output + step.tokens)[: self._tokens]
        end = self._ending.length(longer, len(self.output))
        step = replace(step, surplus=len(self.output) + len(step.tokens) - (end or len(longer)))
        self.steps.append(step)
        self.output += step.tokens
        self.running = not end and len(self.output) < self._tokens
        if self._emit is not None:
            self._emit(self.output)


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
    """Return (the output, the steps taken) of a `Decoding` with these settings. Raises as `speculate`."""
    request = Decoding(target, proposer, verifier, context, tokens, chance, lossless, ending, emit)
    while request.running:
        request.verify(request.propose())
    return request.output, request.steps


Read = Callable[[Sequence[int], Sequence[tuple[Tokens, Sequence[Tokens]]]], None]
"""Has the targets of some requests, by their numbers, read a context and paths of each in one pass."""


def decode_together(requests: Sequence[Decoding], read: Read) -> None:
    """Decode requests side by side: each takes what it may of its own tree, and leaves when it has all.

    What a request gets does not depend on the others, but for how passes of different sizes round.
    """
    while running := [number for number, request in enumerate(requests) if request.running]:
        proposals = [requests[number].propose() for number in running]
        pairs = list(zip(running, proposals, strict=True))
        read(running, [(requests[number].context, proposal.tree.paths) for number, proposal in pairs])
        for number, proposal in pairs:
            requests[number].verify(proposal)


def decode_plain(
    target: LanguageModel, context: Tokens, tokens: int, chance: Chance | None = None, ending: Ending = NEVER
) -> Tokens:
    """Return the next ``tokens`` tokens or as many as there are to the end, by one pass of the target each.

    That is what speculation is measured against. They are drawn by ``chance``; without it they are the likeliest.
    Raises `InputError` if the context is empty.
    """
    (output,) = decode_plain_together([target], [context], [tokens], [chance or Likeliest()], ending)
    return output


def decode_plain_together(
    targets: Sequence[LanguageModel],
    contexts: Sequence[Tokens],
    tokens: Sequence[int],
    chances: Sequence[Chance],
    ending: Ending = NEVER,
    read: Read = lambda running, asked: None,
) -> list[Tokens]:
    """Return what `decode_plain` does for several requests, of which a pass decodes a token each."""
    require(all(map(len, contexts)), "context", "at least one token", "empty")
    outputs: list[Tokens] = [()] * len(targets)
    running = [number for number, count in enumerate(tokens) if count]
    while running:
        read(running, [(contexts[number] + outputs[number], [()]) for number in running])
        for number in running:
            law = targets[number].law(contexts[number] + outputs[number])
            outputs[number] += (chances[number].draw(law),)
        running = [
            number
            for number in running
            if len(outputs[number]) < tokens[number] and not ending.length(outputs[number], len(outputs[number]) - 1)
        ]
    return outputs
