"""What arrives at the server: requests that come at random, from a file, or from clients that wait for their answers.

Time is in whole nanoseconds, so that two engines can agree exactly.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtnerf.base.errors import require
from specdec.cost.tables import read_table

SECOND = 1_000_000_000
"""Nanoseconds in a second."""

MILLISECOND = 1_000_000
"""Nanoseconds in a millisecond."""

MICROSECOND = 1000
"""Nanoseconds in a microsecond."""

LATEST_S = 1e9
"""Seconds after which nothing arrives, so that nanoseconds fit in 64 bits."""

LONGEST_MEAN = 1_000_000
"""Tokens of a prompt or an output, on average."""

MOST_REQUESTS = 20_000_000
"""In a workload."""

LONGEST = 8
"""A random length is at most so many times the mean."""


@dataclass(frozen=True)
class Requests:
    """What requests are like, apart from when they come.

    Members
    -------
    prompt, output : float
        Mean tokens, at least 1; lengths are geometric, and at most `LONGEST` times the mean.
    acceptance : float
        Mean probability that the draft's first choice is accepted, in [0, 1]. A request keeps its own.
    deviation : float
        Standard deviation of the acceptance between requests, which follows a beta law; 0 for none.

    Raises
    ------
    InputError
        If a member is out of range, or no beta law has such a deviation.
    """

    prompt: float = 128
    output: float = 128
    acceptance: float = 0.7
    deviation: float = 0.1

    def __post_init__(self) -> None:
        for name in ("prompt", "output"):
            length = getattr(self, name)
            require(1 <= length <= LONGEST_MEAN, name, f"from 1 to {LONGEST_MEAN}", length)
        require(0 <= self.acceptance <= 1, "acceptance", "in [0, 1]", self.acceptance)
        widest = (self.acceptance * (1 - self.acceptance)) ** 0.5
        possible = 0 <= self.deviation < widest or self.deviation == 0
        require(possible, "deviation", f"at least 0 and below {widest:.3g}", self.deviation)

    def draw_lengths(self, mean: float, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return tokens, shape (count,)."""
        return np.minimum(rng.geometric(1 / mean, count), int(LONGEST * mean))

    def draw_acceptance(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return probabilities, shape (count,)."""
        if self.deviation == 0:
            return np.full(count, self.acceptance)
        concentration = self.acceptance * (1 - self.acceptance) / self.deviation**2 - 1
        return rng.beta(self.acceptance * concentration, (1 - self.acceptance) * concentration, count)


@dataclass(frozen=True)
class Workload:
    """Requests in the order of their arrival.

    Members
    -------
    arrival : ndarray of shape (requests,), int64
        Nanoseconds, not decreasing; all zero in a closed loop, where a request arrives when a client is free.
    prompt, output : ndarray of shape (requests,), int64
        Tokens, at least 1.
    acceptance : ndarray of shape (requests,)
        Probability that the draft's first choice is accepted, in [0, 1].
    clients : int
        0, or in a closed loop the number of clients, each of which sends a request when its last is answered.
    """

    arrival: np.ndarray
    prompt: np.ndarray
    output: np.ndarray
    acceptance: np.ndarray
    clients: int = 0

    def __len__(self) -> int:
        """Count the requests."""
        return len(self.arrival)


def poisson(rate: float, count: int, requests: Requests, seed: int) -> Workload:
    """Return requests that arrive independently, ``rate`` a second. Equal seeds give equal requests at every rate."""
    require(0 < rate < np.inf, "rate", "above 0", rate)
    _check_count(count)
    gaps = np.random.default_rng([seed, 0]).exponential(1, count)
    at_one = gaps.cumsum()
    require(at_one[-1] <= LATEST_S * rate, "rate", f"so high that all requests come within {LATEST_S:g} s", rate)
    return _random((at_one / rate * SECOND).astype(np.int64), requests, seed)


def closed_loop(clients: int, count: int, requests: Requests, seed: int) -> Workload:
    """Return requests from clients that each wait for an answer before they send the next."""
    _check_count(count)
    require(1 <= clients <= count, "clients", f"from 1 to {count}, the requests", clients)
    return _random(np.zeros(count, np.int64), requests, seed, clients)


def _check_count(count: int) -> None:
    require(1 <= count <= MOST_REQUESTS, "requests", f"from 1 to {MOST_REQUESTS}", count)


def _random(arrival: np.ndarray, requests: Requests, seed: int, clients: int = 0) -> Workload:
    count = len(arrival)
    prompt, output, acceptance = (np.random.default_rng([seed, stream]) for stream in (1, 2, 3))
    return Workload(
        arrival,
        requests.draw_lengths(requests.prompt, count, prompt),
        requests.draw_lengths(requests.output, count, output),
        requests.draw_acceptance(count, acceptance),
        clients,
    )


def read_trace(path: Path, requests: Requests, seed: int) -> Workload:
    """Read requests from a CSV file with the columns ``arrival_s``, ``prompt``, ``output`` and perhaps ``acceptance``.

    Rows may be in any order. Where no acceptance is given it is drawn as ``requests`` says.

    Raises
    ------
    InputError
        If the file cannot be read, or a value is not a number in its range.
    """
    _, rows = read_table("trace", path)
    require(bool(rows), "trace", "a CSV file with a header and requests", path)
    arrival = _column(rows, "arrival_s", 0, LATEST_S)
    order = np.argsort(arrival, kind="stable")
    if "acceptance" in rows[0]:
        acceptance = _column(rows, "acceptance", 0, 1)
    else:
        acceptance = requests.draw_acceptance(len(rows), np.random.default_rng([seed, 3]))
    return Workload(
        (arrival[order] * SECOND).astype(np.int64),
        _column(rows, "prompt", 1, 1e9)[order].astype(np.int64),
        _column(rows, "output", 1, 1e9)[order].astype(np.int64),
        acceptance[order],
    )


def _column(rows: list[dict[str, str]], name: str, low: float, high: float) -> np.ndarray:
    """Return a column as numbers, each in [low, high]."""
    values = np.empty(len(rows))
    for line, row in enumerate(rows, start=2):
        text = row.get(name)
        try:
            value = float(text or "")
        except ValueError:
            value = np.nan
        require(low <= value <= high, f"trace line {line}: {name}", f"a number from {low:g} to {high:g}", text)
        values[line - 2] = value
    return values
