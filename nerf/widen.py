"""A network in the room of a larger one: what it lacks are zeros, so that it computes the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import pad

from nerf.contract.network import AXES, NetworkSize
from nerf.model import TensorfModel
from rtnerf.base.errors import require


def widened(model: TensorfModel, size: NetworkSize, named: str) -> TensorfModel:
    """Return a model with a network of this size that makes the same colours.

    Parameters
    ----------
    model : TensorfModel
        Whose ``colour`` a network makes.
    size : NetworkSize
        Features, hidden outputs and bands; the components do not matter.
    named : str
        Whose size it is, for the message.

    Raises
    ------
    InputError
        The model's network is larger; the message says in what.
    """
    own = model.network
    for name in ("features", "hidden", "feature_bands", "view_bands"):
        most = getattr(size, name)
        rule = f"at most {most}, as {named} has it (--config FILE.toml may have more)"
        require(getattr(own, name) <= most, f"{name} of the network", rule, getattr(own, name))
    features, hidden = size.features - own.features, size.hidden - own.hidden
    (first, first_bias), (second, second_bias), (last, last_bias) = model.mlp
    return replace(
        model,
        basis=pad(model.basis, [0, 0, 0, features]),
        mlp=[
            (pad(_inputs(first, own, size), [0, 0, 0, hidden]), pad(first_bias, [0, hidden])),
            (pad(second, [0, hidden, 0, hidden]), pad(second_bias, [0, hidden])),
            (pad(last, [0, hidden]), last_bias),
        ],
        feature_bands=size.feature_bands,
        view_bands=size.view_bands,
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
