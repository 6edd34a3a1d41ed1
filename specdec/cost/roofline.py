"""The time of a pass from first principles: bytes and operations of a model, bandwidth and peak of its machines.

A pass reads the weights that its tokens touch once and each request's cache, and computes two operations a weight and
token. Reading takes ``r``, computing ``c``; as the layers of a model are bound now by one and now by the other, the
pass takes ``sqrt(r**2 + c**2)``, between the larger and the sum. Starting the parts of a block takes a time of its own,
and blocks that are shared among machines add their results up over the links.

What a machine reaches of its data sheet is fitted once, see `specdec.cost.hardware.Hardware`, and checked on other
machines and models by `specdec.evidence.report`.
"""

from pathlib import Path

from rtnerf.base.errors import require
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Experts, tiled
from specdec.cost.deployment import ALONE, Deployment
from specdec.cost.formats import BYTES
from specdec.cost.hardware import Hardware, hardware_of
from specdec.cost.models import model_of
from specdec.cost.pass_time import PassTime


class Roofline(PassTime):
    """Passes of a model on a machine, or on several.

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
    deployment : Deployment
        How many machines, and the formats.

    Raises
    ------
    InputError
        If the context is negative, more rows are kept than there are, or model and machine do not fit the deployment.
    """

    def __init__(
        self,
        architecture: Architecture,
        hardware: Hardware,
        context: int = 0,
        vocabulary: int | None = None,
        deployment: Deployment = ALONE,
    ):
        require(context >= 0, "context", "at least 0", context)
        rows = architecture.vocabulary if vocabulary is None else vocabulary
        require(0 < rows <= architecture.vocabulary, "vocabulary", f"in [1, {architecture.vocabulary}]", rows)
        deployment.check(architecture, hardware)
        self._hardware = hardware
        self._deployment = deployment
        self._formats = deployment.formats(architecture)
        self._row = BYTES["bf16"] * architecture.width
        self._head = rows * architecture.width / deployment.tensor
        self._replicas = deployment.replicas
        self._byte_ms = 1e-6 / (hardware.bandwidth * hardware.bandwidth_reached)
        multiplied = hardware.computes(self._formats.feed)
        self._expert_byte_ms = self._byte_ms / (1.0 if multiplied else hardware.unpacked_reached)
        self._experts = [(block, count) for block, count in architecture.blocks if isinstance(block, Experts)]
        self._gather(architecture, context)
        self._known: dict[tuple[int, int], float] = {}

    def _gather(self, model: Architecture, context: int) -> None:
        """Sum what does not depend on the pass: ms by machine, request, row, token and pair of tokens."""
        tensor = self._deployment.tensor
        self._reading_ms = self._row_ms = self._request_ms = self._token_ms = self._pair_ms = 0.0
        for block, count in model.blocks:
            kept = block.cached * block.reach(context) * BYTES[self._formats.cache] / min(tensor, block.shares)
            kept += 2 * block.state * BYTES["bf16"] / tensor
            self._request_ms += count * kept * self._byte_ms
            alone, paired = block.mixing(context)
            self._token_ms += count * alone * self._operation_ms("bf16") / tensor
            self._pair_ms += count * paired * self._operation_ms("bf16") / tensor
            if not isinstance(block, Experts):
                kind = self._formats.mixing if block.mixes else self._formats.feed
                self._reading_ms += count * block.weights * BYTES[kind] * self._byte_ms / tensor
                self._row_ms += count * 2 * block.weights * self._operation_ms(kind) / tensor
        self._starting_ms = sum(count * block.starts for block, count in model.blocks) * self._hardware.block_us / 1000
        apart = sum(count for _, count in self._experts) if self._deployment.experts > 1 else 0
        self._sums = sum(count for _, count in model.blocks) - apart if tensor > 1 else 0

    def ms(self, batch: int, tokens: int) -> float:
        """Return the time of the body and of the output layer."""
        known = self._known.get((batch, tokens))
        if known is None:
            known = self._known[batch, tokens] = self.body_ms(batch, tokens) + self.head_ms(batch, tokens)
        return known

    def body_ms(self, batch: int, tokens: int) -> float:
        """Return the time of the blocks."""
        weights, products = self._weights(batch, tokens)
        requests = self._requests(batch)
        reading, computing = weights + requests * self._request_ms, products + self._mixing(requests, tokens)
        return _together(reading, computing) + self._starting_ms + self._links(requests, tokens)

    def head_ms(self, batch: int, tokens: int) -> float:
        """Return the time of the output layer."""
        return _together(*self._head_parts(batch, tokens))

    def prefill_ms(self, tokens: int) -> float:
        """Return the time of reading one prompt: tokens see what is before them, the last goes to the output layer."""
        weights, products = self._weights(1, tokens)
        computing = products + tokens * (self._token_ms + tokens * self._pair_ms / 2)
        reading = weights + self._request_ms
        return _together(reading, computing) + self._starting_ms + self._links(1, tokens) + self.head_ms(1, 1)

    def mixing_ratio(self, requests: int, tokens: int) -> float:
        """Return how much longer tokens take to be mixed with their contexts than one of each request."""
        reading = requests * self._request_ms
        return _together(reading, self._mixing(requests, tokens)) / _together(reading, self._mixing(requests, 1))

    def links_ms(self, batch: int, tokens: int) -> float:
        """Return the time of the links between machines."""
        return self._links(self._requests(batch), tokens)

    def resource(self, batch: int, tokens: int) -> str:
        """Return the largest of reading weights, reading caches and states, computing, starting, and links."""
        weights, products = self._weights(batch, tokens)
        head_weights, head_products = self._head_parts(batch, tokens)
        requests = self._requests(batch)
        times = {
            "weights": weights + head_weights,
            "cache": requests * self._request_ms,
            "compute": products + head_products + self._mixing(requests, tokens),
            "kernel starts": self._starting_ms,
            "links": self._links(requests, tokens),
        }
        return max(times, key=times.__getitem__)

    # ---- Parts, in ms on each machine ----

    def _requests(self, batch: int) -> int:
        """Return the requests that one replica of the attention has."""
        return -(-batch // self._replicas)

    def _weights(self, batch: int, tokens: int) -> tuple[float, float]:
        """Return the times of reading the blocks' weights and of multiplying by them."""
        reading, computing = self._reading_ms, self._row_ms * tiled(self._requests(batch) * tokens)
        for block, count in self._experts:
            share = count / self._deployment.machines
            reading += share * block.touched(batch * tokens) * BYTES[self._formats.feed] * self._expert_byte_ms
            computing += share * block.products(batch * tokens) * self._operation_ms(self._formats.feed)
        return reading, computing

    def _operation_ms(self, kind: str) -> float:
        computed = self._formats.activations or (kind if self._hardware.computes(kind) else "bf16")
        return 1e-9 / self._hardware.rate(computed)

    def _head_parts(self, batch: int, tokens: int) -> tuple[float, float]:
        products = 2 * self._head * tiled(self._requests(batch) * tokens) * self._operation_ms("bf16")
        return self._head * BYTES["bf16"] * self._byte_ms, products

    def _mixing(self, requests: int, tokens: int) -> float:
        return requests * tokens * (self._token_ms + tokens * self._pair_ms)

    def _links(self, requests: int, tokens: int) -> float:
        """Return the time of adding up shared blocks' results in a ring, and of sending rows to experts and back."""
        tensor, machines, sent = self._deployment.tensor, self._deployment.machines, requests * tokens * self._row
        ms = 0.0
        if self._sums:
            ms += self._sums * self._message(2 * (tensor - 1) / tensor * sent, tensor)
        if self._deployment.experts > 1:
            for block, count in self._experts:
                away = sent / tensor * block.chosen * (machines - 1) / machines
                ms += count * 2 * self._message(away, machines)
        return ms

    def _message(self, sent: float, machines: int) -> float:
        hardware = self._hardware
        rate = hardware.link if machines <= hardware.node else hardware.network
        return hardware.link_us / 1000 + sent * 1e-6 / (rate * hardware.link_reached)


def _together(reading: float, computing: float) -> float:
    return (reading**2 + computing**2) ** 0.5


def named_pass(
    model: str | Path,
    hardware: str | Path,
    context: int = 0,
    vocabulary: int | None = None,
    deployment: Deployment = ALONE,
) -> Roofline:
    """Return the passes of a named model, or that of a ``config.json``, on a named machine, or that of a TOML file.

    Raises
    ------
    InputError
        If there is no such model or machine; and as `Roofline`.
    """
    return Roofline(model_of(model), hardware_of(hardware), context, vocabulary, deployment)
