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
from rtnerf.base.compiled import compiled

_SINES = sine_table()
_BATCH = 512
"""Samples whose activations stay in the cache."""


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
    total = inputs.astype(np.float64) @ network.weights[index].T.astype(np.float64)
    out = np.empty(total.shape, np.int64)
    _requantise(total, network.bias[index], network.multiplier[index], network.shift[index], out)
    return out


@compiled
def _requantise(
    total: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, out: np.ndarray
) -> None:
    for n in range(total.shape[0]):
        for c in range(total.shape[1]):
            out[n, c] = requantise(int(total[n, c]), bias[c], multiplier[c], shift[c])


@compiled
def requantise(total: int, bias: int, multiplier: int, shift: int) -> int:
    """Return a sum of products with its bias in the scale of what follows, rounded; ``shift``: 1 or more."""
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
    out = np.empty((len(values), 2, values.shape[1], bands), np.int64)
    _sines(values, network.phase_multiplier, network.sine_shift, out)
    return out.reshape(len(values), -1)


@compiled
def _sines(values: np.ndarray, multiplier: int, shift: int, out: np.ndarray) -> None:
    """Fill (n, sine or cosine, channels, bands)."""
    for n in range(values.shape[0]):
        for channel in range(values.shape[1]):
            for band in range(out.shape[3]):
                for quarter in range(2):
                    ahead = quarter * (SINE_ENTRIES // 4)
                    out[n, quarter, channel, band] = sine(values[n, channel], multiplier, band, ahead, shift)


@compiled
def sine(value: int, multiplier: int, band: int, ahead: int, shift: int) -> int:
    """Return the sine of a value times ``2**band``, ``ahead`` entries of the table on, with ``shift`` bits less."""
    phase = (value * multiplier >> PHASE_SHIFT - band) + ahead
    return _SINES[phase % SINE_ENTRIES] >> shift


def shade(network: Network, products: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return colours, int64 (n, 3) with ``COLOUR_BITS`` fraction bits, plain ones in the format PLAIN_COLOUR.

    Parameters
    ----------
    products : int64 array (n, products of a sample)
        Appearance products, rounded to integers.
    direction : int64 array (n, 3)
    """
    colours = np.empty((len(products), COLOURS), np.int64)
    for start in range(0, len(products), _BATCH):
        part = slice(start, start + _BATCH)
        colours[part] = _shade(network, products[part], direction[part])
    return colours


def _shade(network: Network, products: np.ndarray, direction: np.ndarray) -> np.ndarray:
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
