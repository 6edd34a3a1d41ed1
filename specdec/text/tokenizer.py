"""Tokenizers: texts to token ids and back. Both lose nothing: decoding gives the text that was encoded."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from rtnerf.base.errors import InputError
from specdec.laws.language_model import Tokens


class Tokenizer(ABC):
    """A bijection between texts and some token sequences.

    Members
    -------
    vocabulary : int
        Token ids are 0, 1, ..., vocabulary - 1.
    """

    vocabulary: int

    @property
    @abstractmethod
    def pieces(self) -> Mapping[str, int]:
        """The token of every piece of text: what two models must share."""

    @abstractmethod
    def encode(self, text: str) -> Tokens:
        """Return the tokens of a text."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; bytes that are no UTF-8 become U+FFFD."""


class ByteTokenizer(Tokenizer):
    """The bytes of UTF-8."""

    vocabulary = 256
    pieces: Mapping[str, int] = {f"byte {value}": value for value in range(256)}

    def encode(self, text: str) -> Tokens:
        """Return the bytes."""
        return tuple(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes."""
        return bytes(tokens).decode(errors="replace")


class BpeTokenizer(Tokenizer):
    """Byte-pair encoding on bytes, by the library ``tokenizers``: every text can be encoded.

    Source: Sennrich et al. 2016 (arXiv 1508.07909), on bytes as in GPT-2.

    Parameters
    ----------
    description : str
        The tokenizer as JSON, in the library's format.

    Raises
    ------
    InputError
        If it is not that.
    """

    def __init__(self, description: str):
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(description)
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise InputError(f"tokenizer must be a description in JSON, not one with: {error}") from None
        self.vocabulary = self._tokenizer.get_vocab_size()

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> "BpeTokenizer":
        """Merge the most frequent pairs of the texts until the vocabulary is full; repeatable."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    @property
    def pieces(self) -> dict[str, int]:
        """The vocabulary."""
        return self._tokenizer.get_vocab()

    @property
    def description(self) -> str:
        """The tokenizer as compact JSON."""
        return json.dumps(json.loads(self._tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a text."""
        return tuple(self._tokenizer.encode(text).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self._tokenizer.decode(list(tokens))
