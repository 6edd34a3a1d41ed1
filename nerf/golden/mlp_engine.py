"""Basis and MLP: from the appearance products to a colour."""

from dataclasses import dataclass

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import (
    ACTIVATION,
    ALPHA_ENTRIES,
    PHASE_SHIFT,
    PLAIN_COLOUR,
    SIGMOID_ENTRIES,
    SINE_ENTRIES,
    SINE_FRACTION,
    round_shift,
    saturate,
    sigmoid_table,
    sine_table,
)
from nerf.contract.network import COLOURS, MODULATED, MONOMIALS
from nerf.contract.scene_image import ENTRY, Scene, unpack_network


@dataclass(frozen=True)
class Network:
    """The quantised layers.

    Parameters
    ----------
    weights : four int64 arrays (outputs, inputs)
    bias, multiplier, shift : four int64 arrays (outputs,)
    phase_multiplier, sine_shift : int
    bands : (int, int)
        Frequencies of features and view direction.
    plain : bool
        Whether the colours are.
    """

    weights: tuple[np.ndarray, ...]
    bias: tuple[np.ndarray, ...]
    multiplier: tuple[np.ndarray, ...]
    shift: tuple[np.ndarray, ...]
    phase_multiplier: int
    sine_shift: int
    bands: tuple[int, int]
    plain: bool


def alpha_table(scene: Scene) -> np.ndarray:
    """Return the scene's alpha table, int64 (1024, 2): value and difference to the next."""
    words = np.frombuffer(scene.data, "<u4", 2 * ALPHA_ENTRIES, scene.tables_offset)
    return words.reshape(-1, 2).astype(np.int64)


def load_network(scene: Scene, config: AcceleratorConfig) -> Network:
    """Read the network of a scene image made for the configuration."""
    weights, packed = unpack_network(config.stages, scene.data[scene.tables_offset + 8 * ALPHA_ENTRIES :])
    entries = np.concatenate(packed).view(ENTRY)
    bias, multiplier, shift = (entries[name].astype(np.int64) for name in ENTRY.names or ())
    cuts = np.cumsum([layer.outputs for layer in config.network.layers])[:-1]
    return Network(
        tuple(one.astype(np.int64) for one in weights),
        tuple(np.split(bias, cuts)),
        tuple(np.split(multiplier, cuts)),
        tuple(np.split(shift, cuts)),
        scene.phase_multiplier,
        scene.sine_shift,
        (config.feature_bands, config.view_bands),
        config.colours == "plain",
    )


def layer(network: Network, index: int, inputs: np.ndarray) -> np.ndarray:
    """Multiply, add the bias and requantise: int64 (n, inputs) to (n, outputs), before any limit.

    The product runs in float64, which is exact here: every partial sum stays far below 2**53.
    """
    total = (inputs.astype(np.float64) @ network.weights[index].T.astype(np.float64)).astype(np.int64)
    return requantise(total, network.bias[index], network.multiplier[index], network.shift[index])


def requantise(total: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return sums of products with their biases in the scale of what follows, rounded; ``shift``: 1 or more."""
    return ((total + bias) * multiplier + (1 << shift - 1)) >> shift


def network_input(network: Network, features: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return the inputs of the first MLP layer: features, direction, sines and cosines of both, modulated features.

    Parameters
    ----------
    features : int64 array (n, features)
        Format ACTIVATION in the scene's input scale.
    direction : int64 array (n, 3)
        View direction with ``SINE_FRACTION`` fraction bits.
    """
    short = direction >> network.sine_shift
    encoded = [_encode(network, *one) for one in zip((features, short), network.bands, strict=True)]
    modulated = [_modulate(features, direction)] if network.plain else []
    return np.concatenate([features, short, *encoded, *modulated], axis=1)


def _modulate(features: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Features times monomials of the direction: (n, at least `MODULATED`), (n, 3) -> (n, `MODULATED`)."""
    factors = np.concatenate([np.full((len(direction), 1), 1 << SINE_FRACTION), direction], axis=1)
    first, second = np.array(MONOMIALS).T
    monomials = factors[:, first] * factors[:, second] >> SINE_FRACTION
    products = features[:, :MODULATED].reshape(-1, COLOURS, len(MONOMIALS)) * monomials[:, None]
    return saturate(round_shift(products, SINE_FRACTION), ACTIVATION).reshape(-1, MODULATED)


def _encode(network: Network, values: np.ndarray, bands: int) -> np.ndarray:
    """Sines, then cosines, of values times 1, 2, 4 and so on: (n, channels) -> (n, 2 * bands * channels)."""
    turns = [
        sine(values[:, :, None], network.phase_multiplier, np.arange(bands), ahead, network.sine_shift)
        for ahead in (0, SINE_ENTRIES // 4)
    ]
    return np.concatenate([one.reshape(len(values), bands * values.shape[1]) for one in turns], axis=1)


def sine(value: np.ndarray, multiplier: int, band: np.ndarray, ahead: int, shift: int) -> np.ndarray:
    """Return the sine of values times ``2**band``, ``ahead`` entries of the table on, with ``shift`` bits less."""
    phase = (value * multiplier >> PHASE_SHIFT - band) + ahead
    return sine_table()[phase % SINE_ENTRIES] >> shift


def shade(network: Network, products: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return colours, int64 (n, 3) with ``COLOUR_BITS`` fraction bits, plain ones in the format PLAIN_COLOUR.

    Parameters
    ----------
    products : int64 array (n, products of a sample)
        Appearance products, rounded to integers.
    direction : int64 array (n, 3)
    """
    features = saturate(layer(network, 0, products), ACTIVATION)
    hidden = network_input(network, features, direction)
    for index in (1, 2):
        hidden = np.clip(layer(network, index, hidden), 0, ACTIVATION.high)
    colours = layer(network, 3, hidden)
    if network.plain:
        return saturate(colours, PLAIN_COLOUR)
    return sigmoid(colours)


def sigmoid(value: np.ndarray) -> np.ndarray:
    """Return the sigmoid of outputs of the last layer by table, with ``COLOUR_BITS`` fraction bits."""
    half = SIGMOID_ENTRIES // 2
    return sigmoid_table()[np.clip(value, -half, half - 1) + half]
