"""The time of a pass from first principles: bytes and operations of a model, bandwidth and peak of a machine.

A pass reads the weights once and each request's cache, and computes two operations a weight and token. Reading takes
``r``, computing ``c``; as the layers of a model are bound now by one and now by the other, the pass takes
``sqrt(r**2 + c**2)``, between the larger and the sum. Matrix units compute whole tiles of tokens.

What a machine reaches of its data sheet is fitted once, to one published series (Llama-2-7B on an A100, vidur), and
checked on the other machines and models by `specdec.evidence.report`.
"""

from dataclasses import dataclass

from rtnerf.base.errors import require
from specdec.cost.pass_time import PassTime

BYTES = 2
"""Of a weight, a key or a value: half precision."""

TILES = (16, 32, 64, 128)
"""Tokens of a matrix unit's tile: the smallest that holds the tokens, or a multiple of the largest."""


@dataclass(frozen=True)
class Hardware:
    """A machine, by its data sheet.

    Members
    -------
    bandwidth : float
        Of its memory, GB/s.
    peak : float
        Dense half-precision operations, Tflop/s.
    bandwidth_reached, peak_reached : float
        Shares that passes reach; the defaults are fitted, see the module.
    """

    bandwidth: float
    peak: float
    bandwidth_reached: float = 0.70
    peak_reached: float = 0.67


HARDWARE = {
    "a100-40g": Hardware(1555, 312),
    "a100-80g": Hardware(2039, 312),
    "h100": Hardware(3350, 989),
    "h200": Hardware(4800, 989),
    "a40": Hardware(696, 149.7),
    "a6000": Hardware(768, 154.8),
    "l40": Hardware(864, 181),
    "rtx-3090": Hardware(936, 71),
    "rtx-4090": Hardware(1008, 165.2),
    "v100": Hardware(900, 125),
}
"""Machines by name; NVIDIA's data sheets, SXM forms of A100 to H200 and V100."""


@dataclass(frozen=True)
class Architecture:
    """A decoder's sizes.

    Members
    -------
    layers, width, hidden : int
        Layers, features of a row, features of the gated feed-forward.
    heads, key_heads : int
        Query heads and key-value heads of an attention layer.
    vocabulary : int
        Rows of the output layer.
    attention : float
        Share of the layers that are attention with feed-forward; the others are state-space layers of inner width
        ``2 * width``, without feed-forward.
    state : int
        State features of a state-space layer.
    """

    layers: int
    width: int
    hidden: int
    heads: int
    key_heads: int
    vocabulary: int
    attention: float = 1.0
    state: int = 0

    @property
    def body(self) -> float:
        """Weights that a pass multiplies by, without the output layer's."""
        head = self.width // self.heads if self.heads else 0
        attention = 2 * self.width**2 + 2 * self.width * head * self.key_heads + 3 * self.width * self.hidden
        scan = 6 * self.width**2 + 2 * self.width * self.state
        return self.layers * (self.attention * attention + (1 - self.attention) * scan)

    @property
    def head(self) -> int:
        """Weights of the output layer."""
        return self.vocabulary * self.width

    @property
    def cache_bytes(self) -> float:
        """Bytes of keys and values of one token."""
        head = self.width // self.heads if self.heads else 0
        return 2 * BYTES * self.attention * self.layers * self.key_heads * head

    @property
    def state_bytes(self) -> float:
        """Bytes of one request's recurrent state, whatever its length."""
        return BYTES * (1 - self.attention) * self.layers * 2 * self.width * self.state

    def attention_operations(self, tokens: int, context: int) -> float:
        """Return the operations of one request's tokens on its context and on one another."""
        return 4 * self.attention * self.layers * self.width * tokens * (context + tokens)

    def scan_operations(self, tokens: int) -> float:
        """Return the operations of one request's tree scan: reading the state, and all pairs of nodes.

        Source: STree (arXiv 2505.14969); Mamba-2's chunk formula (arXiv 2405.21060).
        """
        inner, layers = 2 * self.width, (1 - self.attention) * self.layers
        return 2 * layers * tokens * (2 * inner * self.state + tokens * (self.state + inner))


MODELS = {
    "llama-68m": Architecture(2, 768, 3072, 12, 12, 32000),
    "llama-160m": Architecture(12, 768, 3072, 12, 12, 32000),
    "llama-2-7b": Architecture(32, 4096, 11008, 32, 32, 32000),
    "llama-2-13b": Architecture(40, 5120, 13824, 40, 40, 32000),
    "llama-2-70b": Architecture(80, 8192, 28672, 64, 8, 32000),
    "llama-3.1-8b": Architecture(32, 4096, 14336, 32, 8, 128256),
    "llama-3.1-70b": Architecture(80, 8192, 28672, 64, 8, 128256),
    "llama-3.2-1b": Architecture(16, 2048, 8192, 32, 8, 128256),
    "llama-3.2-3b": Architecture(28, 3072, 8192, 24, 8, 128256),
    "mistral-7b": Architecture(32, 4096, 14336, 32, 8, 32000),
    "qwen2.5-7b": Architecture(28, 3584, 18944, 28, 4, 152064),
    "eagle-7b": Architecture(1, 4096, 11008, 32, 32, 32000),
    "mamba2-130m": Architecture(24, 768, 0, 0, 0, 50288, attention=0, state=128),
    "mamba2-2.7b": Architecture(64, 2560, 0, 0, 0, 50288, attention=0, state=128),
}
"""Models by name, from their published configurations."""


class Roofline(PassTime):
    """Passes of a model on a machine.

    Parameters
    ----------
    architecture : Architecture
        The model.
    hardware : Hardware
        The machine.
    context : int
        Cached tokens of every request.
    vocabulary : int, optional
        Rows of the output layer that are kept, VocabTrim's k; by default all. Source: VocabTrim (arXiv 2506.22694).

    Raises
    ------
    InputError
        If the context is negative or more rows are kept than there are.
    """

    def __init__(self, architecture: Architecture, hardware: Hardware, context: int = 0, vocabulary: int | None = None):
        require(context >= 0, "context", "at least 0", context)
        rows = architecture.vocabulary if vocabulary is None else vocabulary
        require(0 < rows <= architecture.vocabulary, "vocabulary", f"in [1, {architecture.vocabulary}]", rows)
        self._model = architecture
        self._context = context
        self._head = rows * architecture.width
        self._byte_ms = 1e-6 / (hardware.bandwidth * hardware.bandwidth_reached)
        self._operation_ms = 1e-9 / (hardware.peak * hardware.peak_reached)

    def ms(self, batch: int, tokens: int) -> float:
        """Return the time of the body and of the output layer."""
        return self._body_ms(batch, tokens) + self.head_ms(batch, tokens)

    def head_ms(self, batch: int, tokens: int) -> float:
        """Return the time of the output layer."""
        return _together(*self._products(self._head, batch, tokens))

    def resource(self, batch: int, tokens: int) -> str:
        """Return the largest of reading weights, reading caches and states, and computing."""
        weights, products = self._products(self._model.body + self._head, batch, tokens)
        times = {
            "weights": weights,
            "cache": self._cache(batch),
            "compute": products + self._mixing(batch, tokens),
        }
        return max(times, key=times.__getitem__)

    def _body_ms(self, batch: int, tokens: int) -> float:
        weights, products = self._products(self._model.body, batch, tokens)
        return _together(weights + self._cache(batch), products + self._mixing(batch, tokens))

    def _products(self, weights: float, batch: int, tokens: int) -> tuple[float, float]:
        """Return the times of reading weights and of multiplying by them."""
        return weights * BYTES * self._byte_ms, 2 * weights * tiled(batch * tokens) * self._operation_ms

    def _cache(self, batch: int) -> float:
        per_request = self._context * self._model.cache_bytes + 2 * self._model.state_bytes
        return batch * per_request * self._byte_ms

    def _mixing(self, batch: int, tokens: int) -> float:
        operations = self._model.attention_operations(tokens, self._context) + self._model.scan_operations(tokens)
        return batch * operations * self._operation_ms


def tiled(tokens: int) -> int:
    """Return the tokens that a matrix unit computes for so many: tile quantisation."""
    for tile in TILES:
        if tokens <= tile:
            return tile
    return -(-tokens // TILES[-1]) * TILES[-1]


def _together(reading: float, computing: float) -> float:
    return (reading**2 + computing**2) ** 0.5


def named_pass(model: str, hardware: str, context: int = 0, vocabulary: int | None = None) -> Roofline:
    """Return the passes of one of `MODELS` on one of `HARDWARE`.

    Raises
    ------
    InputError
        If there is no such model or machine; and as `Roofline`.
    """
    require(model in MODELS, "model", f"one of {', '.join(MODELS)}", model)
    require(hardware in HARDWARE, "hardware", f"one of {', '.join(HARDWARE)}", hardware)
    return Roofline(MODELS[model], HARDWARE[hardware], context, vocabulary)
