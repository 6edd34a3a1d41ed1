"""Adam, in one pass over memory: gradients of several workers and the L1 penalty are added on the way.

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015. PyTorch's fused one copies tensors whose
channels come last, there and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from rtnerf.base.compiled import compiled

DECAY = (0.9, 0.99)
"""Of the two moments, in a step."""

_EPSILON = 1e-8
_PASS = 1 << 18  # Elements that a worker takes at a time.


class Adam:
    """The moments of tensors, which :meth:`update` changes in place.

    Parameters: ``tensors``, each dense in memory in any order of its axes. Members: ``step``, updates done;
    ``moments``, the first and the second of each tensor, laid out as it is.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]):
        self.tensors = list(tensors)
        self.moments = [(torch.zeros_like(tensor), torch.zeros_like(tensor)) for tensor in self.tensors]
        self.step = 0

    @torch.no_grad()
    def update(
        self,
        gradients: Sequence[Sequence[torch.Tensor]],
        rates: Sequence[float],
        sparsity: Sequence[float],
        spread: Callable = map,
    ) -> None:
        """Take a step.

        Parameters: ``gradients``, of each worker one a tensor, to be added up; of each tensor the learning rate, and
        the derivative of the L1 penalty by the magnitude of its elements. ``spread``, a ``map`` that may do several
        parts at the same time.
        """
        self.step += 1
        first, second = (1 - decay**self.step for decay in DECAY)
        parts = []
        for number, (tensor, moments) in enumerate(zip(self.tensors, self.moments, strict=True)):
            given = [worker[number] for worker in gradients]
            rate, penalty = rates[number] / first, sparsity[number]
            if tensor.device.type != "cpu":
                _update_anywhere(tensor, sum(given), *moments, rate, math.sqrt(second), penalty)
                continue
            laid = [one if one.stride() == tensor.stride() else torch.empty_like(tensor).copy_(one) for one in given]
            flat = [one.detach().as_strided((one.numel(),), (1,)).numpy() for one in (tensor, *moments, *laid)]
            constants = [np.float32(value) for value in (rate, 1 / math.sqrt(second), penalty)]
            for start in range(0, tensor.numel(), _PASS):
                cut = [one[start : start + _PASS] for one in flat]
                parts.append((*cut[:3], tuple(cut[3:]), *constants))
        for _ in spread(_update, *zip(*parts, strict=True)) if parts else ():
            pass


def _update_anywhere(tensor, gradient, first, second, rate, scale, penalty) -> None:
    gradient = gradient + penalty * tensor.sign() if penalty else gradient
    first.lerp_(gradient, 1 - DECAY[0])
    second.mul_(DECAY[1]).addcmul_(gradient, gradient, value=1 - DECAY[1])
    tensor.addcdiv_(first, second.sqrt().div_(scale).add_(_EPSILON), value=-rate)


_KEPT_ONE, _KEPT_TWO = (np.float32(decay) for decay in DECAY)
_NEW_ONE, _NEW_TWO = (np.float32(1 - decay) for decay in DECAY)
_LEAST = np.float32(_EPSILON)


@compiled(nogil=True, fastmath={"contract"}, error_model="numpy")
def _update(values, first, second, gradients, rate, scale, penalty):
    gradient = gradients[0]
    for worker in range(1, len(gradients)):
        other = gradients[worker]
        for n in range(len(values)):
            gradient[n] += other[n]
    for n in range(len(values)):
        given = gradient[n] + penalty * np.sign(values[n])
        one = _KEPT_ONE * first[n] + _NEW_ONE * given
        two = _KEPT_TWO * second[n] + _NEW_TWO * given * given
        first[n], second[n] = one, two
        values[n] -= rate * one / (np.sqrt(two) * scale + _LEAST)
