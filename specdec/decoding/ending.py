"""Where an output ends before it is as long as it may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rtnerf.base.errors import require
from specdec.laws.language_model import Tokens


@dataclass(frozen=True)
class Ending:
    """An output ends with the first of these tokens, or with the token that completes one of these strings.

    What comes after does not count, however it was decoded: where the full outputs have plain decoding's law, so have
    the ended ones.

    Members
    -------
    tokens : frozenset of int
        Tokens that end it.
    strings : sequence of str
        Texts that end it, none empty.
    decode : callable
        From tokens to their text.
    """

    tokens: frozenset[int] = frozenset()
    strings: Sequence[str] = ()
    decode: Callable[[Tokens], str] = str

    def __post_init__(self) -> None:
        require(all(self.strings), "stop", "a text", "an empty one")

    def length(self, output: Tokens, known: int = 0) -> int | None:
        """Return the length at which an output ends, which is not among the first ``known``; None where it goes on."""
        for length in range(known + 1, len(output) + 1):
            if output[length - 1] in self.tokens:
                return length
            if self.strings and any(string in self.decode(output[:length]) for string in self.strings):
                return length
        return None


NEVER = Ending()
