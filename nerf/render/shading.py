"""Colours of many samples on a CPU, without gradients: what `nerf.model.TensorfModel.shade` computes, in less time.

View directions are encoded once a ray. Of features, sines and cosines are computed once; those of higher levels follow
by the double angle. Inputs are in an order that lets all of it be done in vectors, and the first layer's weights in the
same. Features are padded to whole vectors: a run that is too long is overwritten by the next one.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from nerf.model import TensorfModel, encode_frequencies
from nerf.render.interpolation import VECTOR
from rtnerf.base.compiled import compiled, inlined

_TWO = np.float32(2)
_ONE = np.float32(1)
_S3, _S5, _S7, _S9 = (np.float32(sign / math.factorial(n)) for n, sign in ((3, -1), (5, 1), (7, -1), (9, 1)))
_C2, _C4, _C6, _C8 = (np.float32(sign / math.factorial(n)) for n, sign in ((2, -1), (4, 1), (6, -1), (8, 1)))
"""Coefficients of the series of sine and cosine."""


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
        padded = functional.pad(model.basis, (0, 0, 0, -self._features % VECTOR))
        self._basis = padded.T.contiguous()
        weight, _ = model.mlp[0]
        self._first = weight[:, _order(self._features, model.feature_bands, views.shape[1])].T.contiguous()

    def __call__(self, products: np.ndarray, ray: np.ndarray) -> np.ndarray:
        """Return the colours, float32 (n, 3), of appearance products (n, C) on rays (n,), 0..R-1."""
        model, seen = self._model, torch.from_numpy(products)
        if model.colour != "network":
            return model.shade(functional.linear(seen, model.basis), self._directions[ray]).numpy()
        feature = seen @ self._basis
        used = len(self._first)
        inputs = torch.empty(len(ray), used + VECTOR + -used % VECTOR)
        sine, cosine = np.empty((2, feature.shape[1]), np.float32)
        _encode(
            feature.numpy(), self._features, model.feature_bands, self._views, ray, sine, cosine, inputs.numpy()
        )  # fmt: skip
        (_, bias), *hidden, (last_weight, last_bias) = model.mlp
        values = torch.addmm(bias, inputs[:, :used], self._first).relu_()
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


@inlined
def _sine_cosine(x):
    """Sine and cosine: Taylor's series of what a multiple of a right angle leaves of ``x``, at most pi / 4."""
    turns = np.floor(np.float64(x) * (2 / math.pi) + 0.5)
    rest = np.float32(np.float64(x) - turns * (math.pi / 2))
    square = rest * rest
    sine = rest * (_ONE + square * (_S3 + square * (_S5 + square * (_S7 + square * _S9))))
    cosine = _ONE + square * (_C2 + square * (_C4 + square * (_C6 + square * _C8)))
    quarter = np.int32(turns) & 3
    if quarter & 1:
        sine, cosine = cosine, -sine
    if quarter & 2:
        sine, cosine = -sine, -cosine
    return sine, cosine


@compiled(nogil=True, fastmath={"contract"})
def _encode(padded, features, bands, views, ray, sine, cosine, out):
    """Write a row of inputs a sample: features, their sines and cosines level by level, the ray's encoded direction.

    Rows of ``padded`` are whole vectors, of which ``features`` count; those of ``out`` have room for one vector more,
    ``sine`` and ``cosine`` for one row of ``padded``.
    """
    width = padded.shape[1]
    for n in range(len(padded)):
        feature, row, view = padded[n], out[n], views[ray[n]]
        for c in range(width):
            row[c] = feature[c]
        if bands:
            for c in range(width):
                sine[c], cosine[c] = _sine_cosine(feature[c])
        for level in range(bands):
            place = row[(2 * level + 1) * features :]
            for c in range(width):
                place[c] = sine[c]
            place = place[features:]
            for c in range(width):
                place[c] = cosine[c]
                sine[c], cosine[c] = _TWO * sine[c] * cosine[c], _ONE - _TWO * sine[c] * sine[c]
        place = row[(1 + 2 * bands) * features :]
        for c in range(len(view)):
            place[c] = view[c]
