"""The layers of the network, and how the lanes of the MLP engine share them."""

from dataclasses import dataclass
from typing import NamedTuple

AXES, COLOURS = 3, 3
MONOMIALS = ((0, 0), (1, 0), (2, 0), (3, 0), (1, 2), (2, 3), (1, 3), (1, 1), (2, 2))
"""Products of two of 1, x, y, z of a view direction: what spherical harmonics up to degree 2 are sums of."""
MODULATED = COLOURS * len(MONOMIALS)
"""Features that are multiplied by a monomial each, those of red first."""
TURNAROUND = 12
"""Cycles without an input between two layers on the same lanes when one pass has all outputs of the first."""


class Layer(NamedTuple):
    """A layer of a network: its number, inputs and outputs."""

    number: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class NetworkSize:
    """Sizes of basis and MLP, as TensoRF's render module ``MLP_Fea`` has them.

    Parameters
    ----------
    features : int
        Outputs of the basis (``app_dim``).
    hidden : int
        Outputs of each of the two hidden layers (``featureC``).
    feature_bands, view_bands : int
        Frequencies with which features and view direction are encoded (``fea_pe``, ``view_pe``).
    components : int
        Appearance components of a pair (``appearance_n_comp``).
    plain : bool
        The first `MODULATED` features times their `MONOMIALS` are inputs of the MLP, too, behind all others, and its
        output is the colour, without a sigmoid.
    """

    features: int = 27
    hidden: int = 128
    feature_bands: int = 2
    view_bands: int = 2
    components: int = 48
    plain: bool = False

    @property
    def layers(self) -> tuple[Layer, Layer, Layer, Layer]:
        """Basis and the three layers of the MLP."""
        inputs = self.features * (1 + 2 * self.feature_bands) + AXES * (1 + 2 * self.view_bands)
        inputs += MODULATED * self.plain
        return (
            Layer(0, AXES * self.components, self.features),
            Layer(1, inputs, self.hidden),
            Layer(2, self.hidden, self.hidden),
            Layer(3, self.hidden, COLOURS),
        )

    @property
    def multiply_accumulates(self) -> int:
        """Of a sample."""
        return sum(layer.inputs * layer.outputs for layer in self.layers)


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
    layers : tuple of Layer
    lanes : int
        Outputs that accumulate in parallel.
    """

    layers: tuple[Layer, ...]
    lanes: int

    @property
    def passes(self) -> list[Pass]:
        """In the order of the tables."""
        found = []
        for layer in self.layers:
            number, inputs, outputs = layer
            pause = TURNAROUND if outputs <= self.lanes and layer != self.layers[-1] else 0
            for first in range(0, outputs, self.lanes):
                found.append(Pass(number, first, inputs, min(outputs - first, self.lanes), inputs + pause))
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


def hidden_stage(mlp_lanes: int, size: NetworkSize) -> Stage:
    """Return the hidden layers, on so many lanes."""
    return Stage(size.layers[1:3], mlp_lanes)


def stages(mlp_lanes: int, size: NetworkSize) -> tuple[Stage, Stage, Stage]:
    """Return basis, hidden layers and last layer, the first and the third with the fewest lanes that keep up."""
    basis, *_, last = size.layers
    between = hidden_stage(mlp_lanes, size)
    return _fewest_lanes(basis, between.cycles), between, _fewest_lanes(last, between.cycles)


def _fewest_lanes(layer: Layer, cycles: int) -> Stage:
    return Stage((layer,), -(-layer.outputs // (cycles // layer.inputs)))
