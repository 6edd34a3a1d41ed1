"""A model's colours as a network in the room that the hardware has, so that it computes the same.

A network smaller than that gets zeros. Colours that are features, or spherical harmonics of them, become weights that
pass them on: harmonics are sums of the monomials of the direction that the hardware has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from nerf.contract.formats import WEIGHT
from nerf.contract.network import AXES, COLOURS, MODULATED, MONOMIALS, NetworkSize
from nerf.model import HARMONICS, TensorfModel, encode_frequencies, harmonics


@dataclass(frozen=True, eq=False)
class Network:
    """Basis and MLP in floats.

    Parameters
    ----------
    size : NetworkSize
    basis : tensor (features, products)
    mlp : three pairs (weight (outputs, inputs), bias (outputs,))
    """

    size: NetworkSize
    basis: torch.Tensor
    mlp: list[tuple[torch.Tensor, torch.Tensor]]

    def inputs(self, feature: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """Inputs of the first layer of the MLP, (n, inputs), of features (n, features) and unit directions (n, 3)."""
        parts = [feature, direction]
        parts += [encode_frequencies(feature, self.size.feature_bands)]
        parts += [encode_frequencies(direction, self.size.view_bands)]
        if self.size.plain:
            modulated = feature[:, :MODULATED].reshape(-1, COLOURS, len(MONOMIALS)) * monomials(direction)[:, None]
            parts.append(modulated.flatten(1))
        return torch.cat(parts, dim=1)


def fitted(model: TensorfModel, size: NetworkSize) -> Network:
    """Return a network of this size that makes a model's colours.

    Parameters
    ----------
    model : TensorfModel
        Whose network is no larger, and whose colours are plain if those of the size are (`nerf.encode` sees to it).
    size : NetworkSize
        The components do not matter.
    """
    return _plain(model, size) if size.plain else _widened(model, size)


# ---- Networks ----


def _widened(model: TensorfModel, size: NetworkSize) -> Network:
    own = model.network
    features, hidden = size.features - own.features, size.hidden - own.hidden
    (first, first_bias), (second, second_bias), (last, last_bias) = model.mlp
    return Network(
        size,
        pad(model.basis, [0, 0, 0, features]),
        [
            (pad(_inputs(first, own, size), [0, 0, 0, hidden]), pad(first_bias, [0, hidden])),
            (pad(second, [0, hidden, 0, hidden]), pad(second_bias, [0, hidden])),
            (pad(last, [0, hidden]), last_bias),
        ],
    )


def _inputs(weight: torch.Tensor, own: NetworkSize, size: NetworkSize) -> torch.Tensor:
    """Move the columns of the first layer to where a larger network has these inputs."""
    encodings = [(own.features, own.feature_bands), (AXES, own.view_bands)]
    plain = [own.features, AXES]
    parts = weight.split([*plain, *(2 * channels * bands for channels, bands in encodings)], dim=1)
    more = [
        (size.features - own.features, size.feature_bands - own.feature_bands),
        (0, size.view_bands - own.view_bands),
    ]
    moved = [pad(parts[0], [0, more[0][0]]), parts[1]]
    for part, (channels, bands), (further, higher) in zip(parts[2:], encodings, more, strict=True):
        # Sines, then cosines; all bands of a channel side by side.
        moved.append(pad(part.reshape(len(part), 2, channels, bands), [0, higher, 0, further]).flatten(1))
    return torch.cat(moved, dim=1)


# ---- Plain colours ----


def monomials(direction: torch.Tensor) -> torch.Tensor:
    """The `MONOMIALS` of unit directions (n, 3): (n, 9)."""
    factors = torch.cat([torch.ones_like(direction[:, :1]), direction], dim=1)
    first, second = torch.tensor(MONOMIALS).T
    return factors[:, first] * factors[:, second]


def _of_harmonics() -> torch.Tensor:
    """The matrix (monomials, harmonics) that makes harmonics of the monomials of unit directions, float64."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(64, AXES, generator=generator, dtype=torch.float64)
    direction = direction / direction.norm(dim=1, keepdim=True)
    return torch.linalg.lstsq(monomials(direction), harmonics(direction)).solution


def _plain(model: TensorfModel, size: NetworkSize) -> Network:
    """The network that passes sums of its inputs on: of features times monomials, or of features alone."""
    basis = model.basis.double()
    if model.colour == "harmonics":
        start, offset = size.layers[1].inputs - MODULATED, 0.5
        summands = torch.arange(start, start + MODULATED).view(COLOURS, len(MONOMIALS))
        basis = (_of_harmonics() @ basis.view(COLOURS, HARMONICS, -1)).flatten(0, 1)
    else:
        # 8 bits are few for a colour: what rounding leaves of a row of the basis is a row of its own.
        scale = basis.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / WEIGHT.high
        rounded = (basis / scale).round() * scale
        offset, summands = 0.0, torch.arange(2 * COLOURS).view(2, COLOURS).T
        basis = torch.cat([rounded, basis - rounded])
    first, first_bias = torch.zeros(size.hidden, size.layers[1].inputs), torch.zeros(size.hidden)
    last = torch.zeros(COLOURS, size.hidden)
    # Hidden activations are not below 0, nor are colours of harmonics; what others have there is passed on inverted.
    for number, sign in enumerate((1, -1) if model.colour == "features" else (1,)):
        rows = torch.arange(COLOURS) + number * COLOURS
        first[rows[:, None], summands] = float(sign)
        first_bias[rows] = sign * offset
        last[torch.arange(COLOURS), rows] = float(sign)
    return Network(
        size,
        pad(basis.float(), [0, 0, 0, size.features - len(basis)]),
        [(first, first_bias), (torch.eye(size.hidden), torch.zeros(size.hidden)), (last, torch.zeros(COLOURS))],
    )
