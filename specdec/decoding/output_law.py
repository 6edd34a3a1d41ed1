"""The exact law of the output, by following every random decision: the proof that a pair is lossless.

The enumerated code is the code that decodes, with rationals in place of floats; feasible for a few tokens of vocabulary
and two levels of tree.
"""

from collections import defaultdict
from fractions import Fraction

from specdec.decoding.decode import speculate
from specdec.laws.chance import Chance, outcomes
from specdec.laws.language_model import LanguageModel, Tokens
from specdec.proposers.base import Proposer
from specdec.verifiers.base import Verifier


def plain_law(target: LanguageModel, context: Tokens, length: int) -> dict[Tokens, Fraction]:
    """Return the probability of every possible continuation of ``length`` tokens, decoded plainly."""
    law: dict[Tokens, Fraction] = {(): Fraction(1)}
    for _ in range(length):
        law = {
            (*output, token): mass * probability
            for output, mass in law.items()
            for token, probability in enumerate(target.law(context + output))
            if probability > 0
        }
    return law


def output_law(
    target: LanguageModel,
    proposer: Proposer,
    verifier: Verifier,
    context: Tokens,
    length: int,
    lossless: bool = True,
) -> dict[Tokens, Fraction]:
    """Return the probability of every possible continuation of ``length`` tokens when the first step speculates.

    A step that yields less is continued plainly, one that yields more is cut; equality with `plain_law` for a length
    of the tree's depth plus one is therefore equality for decoding by any number of steps. Raises as `speculate`.
    """

    def step(chance: Chance) -> Tokens:
        return speculate(target, proposer, verifier, context, chance, lossless).tokens

    steps: defaultdict[Tokens, Fraction] = defaultdict(Fraction)
    for probability, tokens in outcomes(step):
        steps[tokens[:length]] += probability
    law: defaultdict[Tokens, Fraction] = defaultdict(Fraction)
    for tokens, probability in steps.items():
        for rest, mass in plain_law(target, context + tokens, length - len(tokens)).items():
            law[tokens + rest] += probability * mass
    return dict(law)


def expected_output(
    target: LanguageModel, proposer: Proposer, verifier: Verifier, context: Tokens, lossless: bool = True
) -> Fraction:
    """Return the exact expected tokens of one step, the bonus token included. Raises as `speculate`."""

    def step(chance: Chance) -> int:
        return len(speculate(target, proposer, verifier, context, chance, lossless).tokens)

    return sum((probability * tokens for probability, tokens in outcomes(step)), Fraction(0))
