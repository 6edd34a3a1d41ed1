"""Milliseconds of all products of a pass of the shipped target, by rows: by PyTorch and by `specdec.models.few_rows`.

Run ``python -m benchmarks.few_rows`` from the checkout. Prints JSON: medians. All weights of a pass take turns, so they
come from the same cache as in one.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from specdec.models.few_rows import MOST, product
from specdec.models.network import Linear
from specdec.models.pretrained import load

_REPEATS = 100


def milliseconds(
    multiply: Callable[[Tensor, Tensor], Tensor], inputs: Sequence[Tensor], weights: Sequence[Tensor]
) -> float:
    """Return the median time of a round of products."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        for x, weight in zip(inputs, weights, strict=True):
            multiply(x, weight)
        times.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(times), 3)


def main() -> None:
    """Run, print."""
    torch.set_num_threads(1)
    target = load("target")
    weights = [module.weight for module in target.modules() if isinstance(module, Linear)]
    weights.append(target.unembedding.T.contiguous())
    rows = {}
    with torch.no_grad():
        for count in range(1, MOST + 1):
            inputs = [torch.randn(count, len(weight)) for weight in weights]
            product(inputs[0], weights[0])  # Compiles.
            rows[count] = {
                "library_ms": milliseconds(torch.matmul, inputs, weights),
                "few_rows_ms": milliseconds(product, inputs, weights),
            }
    json.dump(
        {"command": "python -m benchmarks.few_rows", "torch": torch.__version__, "rows": rows}, sys.stdout, indent=1
    )
    print()


if __name__ == "__main__":
    main()
