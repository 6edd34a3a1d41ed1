"""The layers of the network, and how the lanes of the MLP engine share them."""

from dataclasses import dataclass
from typing import NamedTuple

LAYERS = ((144, 27), (150, 128), (128, 128), (128, 3))
"""Inputs and outputs of the basis and the three MLP layers."""
TURNAROUND = 11
"""Cycles without an input between two layers on the same lanes when one pass has all outputs of the first."""


class Pass(NamedTuple):
    """A pass of a stage: it takes an input a cycle and accumulates outputs of a layer, one a lane.

    Parameters
    ----------
    layer : int
    first : int
        Of its outputs among the layer's.
    inputs, outputs : int
    cycles : int
        From its first input to that of what follows it.
    """

    layer: int
    first: int
    inputs: int
    outputs: int
    cycles: int


@dataclass(frozen=True)
class Stage:
    """Layers that the same lanes of a sample compute one after the other.

    Parameters
    ----------
    layers : tuple of int
        Which of `LAYERS`.
    lanes : int
        Outputs that accumulate in parallel.
    """

    layers: tuple[int, ...]
    lanes: int

    @property
    def passes(self) -> list[Pass]:
        """In the order of the tables."""
        found = []
        for layer in self.layers:
            inputs, outputs = LAYERS[layer]
            pause = TURNAROUND if outputs <= self.lanes and layer != self.layers[-1] else 0
            for first in range(0, outputs, self.lanes):
                found.append(Pass(layer, first, inputs, min(outputs - first, self.lanes), inputs + pause))
        return found

    @property
    def outputs(self) -> int:
        """Outputs of all layers."""
        return sum(one.outputs for one in self.passes)

    @property
    def rows(self) -> int:
        """Inputs of all passes: each takes a row of weights."""
        return sum(one.inputs for one in self.passes)

    @property
    def cycles(self) -> int:
        """Cycles from a batch's first input to that of the batch behind it."""
        return sum(one.cycles for one in self.passes)


def stages(mlp_lanes: int) -> tuple[Stage, Stage, Stage]:
    """Return basis, hidden layers and last layer, the first and the third with the fewest lanes that keep up."""
    hidden = Stage((1, 2), mlp_lanes)
    basis, last = (Stage((layer,), _fewest_lanes(layer, hidden.cycles)) for layer in (0, 3))
    return basis, hidden, last


def _fewest_lanes(layer: int, cycles: int) -> int:
    inputs, outputs = LAYERS[layer]
    return -(-outputs // (cycles // inputs))
