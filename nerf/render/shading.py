"""Colours of many samples on a CPU, without gradients: what `nerf.model.TensorfModel.shade` computes, in less time.

View directions are encoded once a ray. Of features, sines and cosines are computed once; those of higher levels follow
by the double angle. Inputs are in an order that lets all of it be done in vectors, and the first layer's weights in the
same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from nerf.model import TensorfModel, encode_frequencies
from rtnerf.base.compiled import compiled

_TWO = np.float32(2)
_ONE = np.float32(1)
_OUTPUTS = 16
"""A product of matrices is faster with a multiple of so many outputs."""


class Shading:
    """The basis and the network of a model, for samples on given rays.

    Parameters
    ----------
    model : TensorfModel
    directions : float32 array (R, 3)
        Unit vectors.
    """

    def __init__(self, model: TensorfModel, directions: np.ndarray) -> None:
        self._model, self._directions = model, torch.from_numpy(directions)
        if model.colour != "network":
            return
        views = self._directions
        if model.view_bands:
            views = torch.cat([views, encode_frequencies(views, model.view_bands)], dim=1)
        self._views = views.numpy()
        self._features = len(model.basis)
        padded = functional.pad(model.basis, (0, 0, 0, -self._features % _OUTPUTS))
        self._basis = padded.T.contiguous()
        weight, _ = model.mlp[0]
        self._first = weight[:, _order(self._features, model.feature_bands, views.shape[1])].T.contiguous()

    def __call__(self, products: np.ndarray, ray: np.ndarray) -> np.ndarray:
        """Return the colours, float32 (n, 3), of appearance products (n, C) on rays (n,), 0..R-1."""
        model, seen = self._model, torch.from_numpy(products)
        if model.colour != "network":
            return model.shade(functional.linear(seen, model.basis), self._directions[ray]).numpy()
        feature = (seen @ self._basis)[:, : self._features].contiguous()
        inputs = torch.empty(len(ray), len(self._first))
        _encode(
            feature.numpy(), feature.sin().numpy(), feature.cos().numpy(), model.feature_bands,
            self._views, ray, inputs.numpy(),
        )  # fmt: skip
        (_, bias), *hidden, (last_weight, last_bias) = model.mlp
        values = torch.addmm(bias, inputs, self._first).relu_()
        for weight, bias in hidden:
            values = functional.linear(values, weight, bias).relu_()
        return functional.linear(values, last_weight, last_bias).sigmoid_().numpy()


def _order(features: int, bands: int, view: int) -> list[int]:
    """Return the places, among the model's inputs, of the inputs in the order of `_encode`."""
    sines = features + 3
    cosines, encoded_view = sines + features * bands, sines + 2 * features * bands
    order = list(range(features))
    for level in range(bands):
        for first in (sines, cosines):
            order += range(first + level, first + features * bands, bands)
    return [*order, *range(features, sines), *range(encoded_view, encoded_view + view - 3)]


@compiled(nogil=True)
def _encode(feature, sine, cosine, bands, views, ray, out):
    """Write a row of inputs a sample: features, their sines and cosines level by level, the ray's encoded direction."""
    features, views_at = feature.shape[1], feature.shape[1] * (1 + 2 * bands)
    for n in range(len(feature)):
        row = out[n]
        for c in range(features):
            row[c] = feature[n, c]
        if bands:
            for c in range(features):
                row[features + c] = sine[n, c]
                row[2 * features + c] = cosine[n, c]
        for level in range(1, bands):
            above = (2 * level + 1) * features
            below = above - 2 * features
            for c in range(features):
                s, k = row[below + c], row[below + features + c]
                row[above + c] = _TWO * s * k
                row[above + features + c] = _ONE - _TWO * s * s
        for c in range(views.shape[1]):
            row[views_at + c] = views[ray[n], c]
