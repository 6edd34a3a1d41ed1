"""Number formats of weights, caches and products."""

from dataclasses import dataclass, replace

from rtnerf.base.errors import require

BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5625, "int4": 0.515625}
"""Of a value with its share of the scales: fp4 with 8 bits a 16 values (NVFP4), int4 with 16 bits a 128 values."""


@dataclass(frozen=True)
class Formats:
    """In which formats a model is kept and computed.

    Members
    -------
    mixing, feed : str
        Of the weights of attention and its like, and of feed-forward layers and experts. Embedding and output layer
        are bf16.
    cache : str
        Of keys and values.
    activations : str or None
        In which products are computed; None: in the weights' own where the machine can, else bf16.

    Raises
    ------
    InputError
        If a format is none of `BYTES`.
    """

    mixing: str = "bf16"
    feed: str = "bf16"
    cache: str = "bf16"
    activations: str | None = None

    def __post_init__(self) -> None:
        for name, value in {
            "weights": self.mixing,
            "feed-forward weights": self.feed,
            "kv": self.cache,
            "activations": self.activations or "bf16",
        }.items():
            require(value in BYTES, name, f"one of {', '.join(BYTES)}", value)

    def changed(self, weights: str | None = None, kv: str | None = None, activations: str | None = None) -> "Formats":
        """Return the formats with those given in place of these."""
        return replace(
            self,
            mixing=weights or self.mixing,
            feed=weights or self.feed,
            cache=kv or self.cache,
            activations=activations or self.activations,
        )
