"""What a simulation found: times of every request, and the figures that sum them up."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from specdec.serving.workload import MILLISECOND, SECOND

PERCENTILES = (50, 90, 99)
"""Of the latencies."""


@dataclass(frozen=True)
class Outcome:
    """What happened to the requests, in the order of their arrival; times in nanoseconds.

    Members
    -------
    arrival, first, finish : ndarray of shape (requests,), int64
        When a request came, when its first token was there, and when its last.
    output : ndarray of shape (requests,), int64
        Tokens that were asked for.
    by_rung : ndarray of shape (rungs,), int64
        Decoding steps of requests on each rung of the controller's ladder: a step with a batch of 8 counts 8.
    nodes : ndarray of shape (rungs,), int64
        As in `Ladder`.
    busy : int
        Time in which the server worked.
    preemptions : int
        Requests that lost their cache for want of memory, and computed it again.
    peak : int
        Most blocks of the cache held.
    """

    arrival: np.ndarray
    first: np.ndarray
    finish: np.ndarray
    output: np.ndarray
    by_rung: np.ndarray
    nodes: np.ndarray
    busy: int
    preemptions: int
    peak: int

    def summary(self) -> dict[str, Any]:
        """Return the figures, as JSON can hold them.

        ``latency_ms`` is from arrival to the last token, ``first_token_ms`` to the first, ``token_ms`` the latency over
        the tokens. ``goodput_tokens_per_s`` counts the tokens that users get, ``throughput_tokens_per_s`` all that the
        target verifies. ``drafted`` is the mean number of tokens drafted in a request's step.
        """
        seconds = (self.finish.max() - self.arrival[0]) / SECOND
        latency = self.finish - self.arrival
        request_steps = self.by_rung.sum()
        verified = int(self.by_rung @ self.nodes)
        return {
            "requests": len(self.finish),
            "seconds": float(seconds),
            "requests_per_s": float(len(self.finish) / seconds),
            "goodput_tokens_per_s": float(self.output.sum() / seconds),
            "throughput_tokens_per_s": float((verified + len(self.finish)) / seconds),
            "latency_ms": _distribution(latency / MILLISECOND),
            "first_token_ms": _distribution((self.first - self.arrival) / MILLISECOND),
            "token_ms": _distribution(latency / self.output / MILLISECOND),
            "drafted": float(verified / request_steps - 1) if request_steps else 0.0,
            "steps_by_verified_tokens": dict(zip(map(str, self.nodes.tolist()), self.by_rung.tolist(), strict=True)),
            "requests_in_system": float(latency.sum() / SECOND / seconds),
            "utilisation": float(self.busy / SECOND / seconds),
            "preemptions": int(self.preemptions),
            "peak_cache_blocks": int(self.peak),
        }


def _distribution(values: np.ndarray) -> dict[str, float]:
    """Return the mean, percentiles and greatest of values."""
    percentiles = np.percentile(values, PERCENTILES)
    return {
        "mean": float(values.mean()),
        **{f"p{percent}": float(value) for percent, value in zip(PERCENTILES, percentiles, strict=True)},
        "max": float(values.max()),
    }
