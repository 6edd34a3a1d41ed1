"""What a machine has to hold: weights, draft, keys and values; and what would fit where this does not."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rtnerf.base.errors import InputError
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Experts
from specdec.cost.deployment import Deployment
from specdec.cost.formats import BYTES, Formats
from specdec.cost.hardware import HARDWARE, Hardware

USABLE = 0.9
"""Share of a machine's memory that engines use unless told otherwise (vLLM's gpu-memory-utilization)."""

MOST_MACHINES = 64
"""That are suggested."""

LARGEST_BATCH = 1 << 20


@dataclass(frozen=True)
class Memory:
    """Bytes on each machine, in GB.

    Members
    -------
    weights, draft : float
        Of the target and the draft.
    cache : float
        Keys, values and states of the requests, of both.
    usable : float
        What the machine has for them.
    """

    weights: float
    draft: float
    cache: float
    usable: float

    @property
    def fits(self) -> bool:
        """Whether all of it does."""
        return self.weights + self.draft + self.cache <= self.usable

    def record(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        return {**asdict(self), "fits": self.fits}


@dataclass(frozen=True)
class Setting:
    """A target and its draft on machines.

    Members
    -------
    target : Architecture
    hardware : Hardware
    deployment : Deployment
    draft : Architecture or None
    own_formats : bool
        Whether the draft is kept in the target's formats.
    """

    target: Architecture
    hardware: Hardware
    deployment: Deployment
    draft: Architecture | None = None
    own_formats: bool = False

    def memory(self, batch: int, context: int) -> Memory:
        """Return what each machine holds with so many requests of so many tokens."""
        of_draft = self.deployment if self.own_formats else self.deployment.of_draft
        weights, held = _held(self.target, self.deployment, context)
        draft, held_of_draft = (0.0, 0.0) if self.draft is None else _held(self.draft, of_draft, context)
        requests = -(-batch // self.deployment.replicas)
        return Memory(weights, draft, requests * (held + held_of_draft), USABLE * self.hardware.capacity)

    def largest_batch(self, context: int) -> int:
        """Return the most requests of so many tokens that fit; 0 if none does."""
        one = self.memory(self.deployment.replicas, context)
        left = one.usable - one.weights - one.draft
        if left < one.cache or left <= 0:
            return 0
        return min(int(left / one.cache) * self.deployment.replicas if one.cache else LARGEST_BATCH, LARGEST_BATCH)

    def what_fits(self, batch: int, context: int) -> Iterator[str]:
        """Yield changes, one each, with which so many requests of so many tokens fit."""
        largest = self.largest_batch(context)
        if largest:
            yield f"at most {largest} requests"
        tensor = self.deployment.tensor * 2
        while tensor <= MOST_MACHINES:
            experts = tensor if self.deployment.experts > 1 else 1
            if self._fits(batch, context, deployment=replace(self.deployment, tensor=tensor, experts=experts)):
                yield f"tensor-parallel {tensor}"
                break
            tensor *= 2
        for format_name in ("fp8", "int4"):
            smaller = BYTES[format_name] < BYTES[self.deployment.formats(self.target).feed]
            if smaller and self._fits(batch, context, deployment=replace(self.deployment, weights=format_name)):
                yield f"weights {format_name}"
                break
        wide = BYTES[self.deployment.formats(self.target).cache] > BYTES["fp8"]
        if wide and self._fits(batch, context, deployment=replace(self.deployment, kv="fp8")):
            yield "kv fp8"
        larger = sorted((one.capacity, name) for name, one in HARDWARE.items() if one.capacity > self.hardware.capacity)
        found = next((name for _, name in larger if self._fits(batch, context, hardware=HARDWARE[name])), None)
        if found is not None:
            yield f"hardware {found}"

    def _fits(self, batch: int, context: int, **changes: Any) -> bool:
        setting = replace(self, **changes)
        try:
            setting.deployment.check(setting.target, setting.hardware)
        except InputError:
            return False
        return setting.memory(batch, context).fits


def _held(model: Architecture, deployment: Deployment, context: int) -> tuple[float, float]:
    """Return GB of weights on a machine, and of one request's cache."""
    formats: Formats = deployment.formats(model)
    weights = BYTES["bf16"] * (model.head + model.embedding) / deployment.tensor
    held = 0.0
    for block, count in model.blocks:
        spread = deployment.machines if isinstance(block, Experts) else deployment.tensor
        weights += count * block.weights * BYTES[formats.mixing if block.mixes else formats.feed] / spread
        shares = min(deployment.tensor, block.shares)
        held += count * block.cached * block.held(context) * BYTES[formats.cache] / shares
        held += count * block.state * BYTES["bf16"] / deployment.tensor
    return weights / 1e9, held / 1e9
