"""How a model is spread over machines, and in which formats it is kept and computed."""

from dataclasses import dataclass, replace

from rtnerf.base.errors import require
from specdec.cost.architecture import Architecture
from specdec.cost.blocks import Experts
from specdec.cost.formats import BYTES, Formats
from specdec.cost.hardware import Hardware

MOST_MACHINES = 4096


@dataclass(frozen=True)
class Deployment:
    """Machines and formats.

    Members
    -------
    tensor : int
        Machines that share every matrix (tensor parallelism).
    experts : int
        Machines over which experts are spread whole (expert parallelism); a multiple of ``tensor``. Beyond it, the
        attention of the model is there ``experts / tensor`` times and the requests are shared out.
    weights, kv, activations : str or None
        Formats in place of those in which the model is published.

    Raises
    ------
    InputError
        If a number is out of range or a format unknown.
    """

    tensor: int = 1
    experts: int = 1
    weights: str | None = None
    kv: str | None = None
    activations: str | None = None

    def __post_init__(self) -> None:
        for name, count in {"tensor-parallel": self.tensor, "expert-parallel": self.experts}.items():
            require(1 <= count <= MOST_MACHINES, name, f"from 1 to {MOST_MACHINES}", count)
        multiple = self.experts == 1 or self.experts % self.tensor == 0
        require(multiple, "expert-parallel", f"1 or a multiple of the {self.tensor} of tensor-parallel", self.experts)
        Formats().changed(self.weights, self.kv, self.activations)

    @property
    def machines(self) -> int:
        """All of them."""
        return max(self.tensor, self.experts)

    @property
    def replicas(self) -> int:
        """How often the attention of the model is there."""
        return self.machines // self.tensor

    def formats(self, model: Architecture) -> Formats:
        """Return the formats of a model."""
        return model.stored.changed(self.weights, self.kv, self.activations)

    @property
    def of_draft(self) -> "Deployment":
        """The same machines for a draft, in the formats in which it is published."""
        return replace(self, weights=None, kv=None, activations=None)

    def check_spread(self, target: Architecture) -> None:
        """Refuse to spread the experts of a target that has none; its draft may have none."""
        sparse = any(isinstance(block, Experts) for block, _ in target.blocks)
        require(sparse or self.experts == 1, "expert-parallel", "1 for a model without experts", self.experts)

    def check(self, model: Architecture, hardware: Hardware) -> None:
        """Refuse what the model or the machine cannot do.

        Raises
        ------
        InputError
        """
        most = min((block.experts for block, _ in model.blocks if isinstance(block, Experts)), default=self.experts)
        require(self.experts <= most, "expert-parallel", f"at most the {most} experts", self.experts)
        require(self.tensor <= model.width, "tensor-parallel", f"at most the width {model.width}", self.tensor)
        if self.activations is not None:
            known = ", ".join(filter(hardware.computes, BYTES))
            fits = hardware.computes(self.activations)
            require(fits, "activations", f"one that the hardware multiplies ({known})", self.activations)


ALONE = Deployment()
"""One machine, the published formats."""
