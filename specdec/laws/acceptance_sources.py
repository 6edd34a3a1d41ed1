"""Acceptance by position from what people have: counts, traces, rates, acceptance lengths, logs and metrics of engines.

All end as acceptance lengths by drafted tokens, of which a law is made. A shorter chain is taken to be accepted as the
beginning of a longer one. A rate *of all steps* by position counts steps in which the token and all before it were
accepted, as vLLM's per-position acceptance rate does.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from rtnerf.base.errors import InputError, require
from specdec.laws.acceptance_length import MOST_DRAFTED, AcceptanceLaw, believe, expect, fit

LARGEST = 64 << 20
"""Bytes of a log."""

ENOUGH = 4
"""Lengths from which two numbers are fitted; fewer are weighed against what drafters are known to do."""


@dataclass(frozen=True)
class Acceptance:
    """What was found.

    Members
    -------
    quantity : str
        What the source says, in its own words.
    steps : int or None
        Steps that it is of, where they were counted.
    lengths : dict of int to float
        Acceptance lengths by drafted tokens, the bonus included.
    ranks : list of list of float or None
        Acceptance by depth and rank where branches were measured.
    """

    quantity: str
    steps: int | None
    lengths: Mapping[int, float]
    ranks: list[list[float]] | None = None

    @property
    def law(self) -> AcceptanceLaw:
        """The law of two numbers."""
        return fit(self.lengths) if len(self.lengths) >= ENOUGH else expect(self.lengths)

    def rates(self, depths: int) -> list[float]:
        """Return the rate of acceptance at each depth, where the walk comes to it: as measured, then by the law."""
        law = self.law
        found = (law.first * law.decay ** np.arange(depths)).clip(0, 1).tolist()
        reached = [1.0]
        for depth in range(1, depths + 1):
            if depth not in self.lengths or (depth > 1 and depth - 1 not in self.lengths):
                break
            reached.append(min(max(self.lengths[depth] - self.lengths.get(depth - 1, 1.0), 0.0), reached[-1]))
            found[depth - 1] = reached[-1] / reached[-2] if reached[-2] > 0 else 0.0
        return [float(rate) for rate in found]


def read(path: Path, drafted: int | None = None) -> Acceptance:
    """Read a file of any of the forms of `OF_JSON` and `OF_TEXT`.

    Parameters
    ----------
    drafted : int, optional
        Tokens of the chain, where the source does not tell.

    Raises
    ------
    InputError
        If the file cannot be read or is of no form, or does not tell the tokens of the chain and ``drafted`` neither.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        require(len(content) <= LARGEST, "source", f"a file of at most {LARGEST >> 20} MiB", path)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"source must be a readable file, not {path} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"source must be a text, not {path}") from None
    for form in OF_TEXT:
        found = form(text, drafted)
        if found is not None:
            return found
    for form in OF_JSON:
        found = form(_value(text), drafted)
        if found is not None:
            return found
    rule = "counts, traces, rates or lengths in JSON, or a log or metrics of vLLM, SGLang or TensorRT-LLM"
    raise InputError(f"source must be {rule}, not {path}")


def of_reached(quantity: str, reached: Sequence[float], steps: int | None = None) -> Acceptance:
    """Return acceptance from the share of steps that come to each position."""
    fits = all(isfinite(one) and 0 <= one <= 1 for one in reached) and all(np.diff(reached) <= 1e-3)
    require(0 < len(reached) <= MOST_DRAFTED, "positions", f"from 1 to {MOST_DRAFTED}", len(reached))
    require(fits, "rates by position", "from 0 to 1 and not rising: of all steps", [*reached][:8])
    lengths = 1 + np.cumsum(reached)
    return Acceptance(quantity, steps, {place + 1: float(length) for place, length in enumerate(lengths)})


def of_mean(quantity: str, length: float, drafted: int | None, steps: int | None = None) -> Acceptance:
    """Return acceptance from a mean acceptance length alone."""
    require(drafted is not None, "drafted", f"given: {quantity} does not tell it", "missing")
    assert drafted is not None
    fits = isfinite(length) and 1 <= length <= drafted + 1.005
    require(fits, "acceptance length", f"from 1 to {drafted + 1}, with {drafted} drafted", f"{length:g}")
    return Acceptance(quantity, steps, {drafted: min(length, drafted + 1.0)})


# ---- Values in JSON ----


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _numbers(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value is a list of numbers; floats can hold them unless only whole ones are wanted."""
    if not isinstance(value, list) or not value or not all(type(one) in kinds for one in value):
        return False
    return float not in kinds or all(-LARGEST < one < LARGEST for one in value)


def _counts(value: Any, drafted: int | None) -> Acceptance | None:
    """Accepted tokens of each step, without the bonus: whole numbers."""
    if not _numbers(value, (int,)):
        return None
    wrong = next((one for one in value if not 0 <= one <= MOST_DRAFTED), None)
    require(wrong is None, "counts", f"from 0 to {MOST_DRAFTED}", str(wrong)[:40])
    most = max(drafted or 1, *value)
    reached = [float(np.mean(np.array(value) >= place)) for place in range(1, most + 1)]
    return of_reached("accepted tokens by step", reached, len(value))


def _traces(value: Any, drafted: int | None) -> Acceptance | None:
    """Whether each drafted token was right, step by step: lists of 0 and 1; what follows the first 0 does not count."""
    if not isinstance(value, list) or not value or not all(_numbers(one, (int, bool)) for one in value):
        return None
    require(all(one in (0, 1) for step in value for one in step), "traces", "lists of 0 and 1", "other numbers")
    counts = [next((place for place, right in enumerate(step) if not right), len(step)) for step in value]
    found = _counts(counts, max(map(len, value)))
    return found and Acceptance("right tokens by position and step", found.steps, found.lengths)


def _reached(value: Any, drafted: int | None) -> Acceptance | None:
    """Shares of all steps by position: numbers, as vLLM's synthetic_acceptance_rates."""
    return (
        of_reached("rate of all steps by position", list(map(float, value))) if _numbers(value, (int, float)) else None
    )


def _ranked(value: Any, drafted: int | None) -> Acceptance | None:
    """Acceptance by depth and rank, where the walk comes to it: lists of numbers, as `predict` takes them."""
    if not isinstance(value, list) or not value or not all(_numbers(one, (int, float)) for one in value):
        return None
    fits = all(isfinite(one) and 0 <= one <= 1 for row in value for one in row) and all(
        sum(row) <= 1.01 for row in value
    )
    require(fits, "acceptance by depth and rank", "from 0 to 1, together at most 1 a depth", "more")
    found = of_reached("acceptance by depth and rank", np.cumprod([row[0] for row in value]).tolist())
    return Acceptance(found.quantity, None, found.lengths, [list(map(float, row)) for row in value])


def _lengths(value: Any, drafted: int | None) -> Acceptance | None:
    """Acceptance lengths by drafted tokens: ``{"1": 1.8, "2": 2.4}``."""
    if not isinstance(value, Mapping) or not value or not all(key.isdecimal() and len(key) < 4 for key in value):
        return None
    require(_numbers([*value.values()], (int, float)), "acceptance lengths", "numbers", "other values")
    found = Acceptance(
        "acceptance length by drafted tokens", None, {int(key): float(one) for key, one in value.items()}
    )
    believe(found.lengths)  # Refuses what is out of range or no drafter's.
    return found


def _tensorrt(value: Any, drafted: int | None) -> Acceptance | None:
    """Iteration statistics of TensorRT-LLM, with their ``specDecodingStats``."""
    steps = value if isinstance(value, list) else [value]
    stats = [one.get("specDecodingStats") for one in steps if isinstance(one, Mapping)]
    names = ("numDraftTokens", "numAcceptedTokens", "numRequestsWithDraftTokens")
    used = [one for one in stats if isinstance(one, Mapping) and all(_is_count(one.get(name)) for name in names)]
    if not used:
        return None
    tokens, accepted, requests = (sum(one[name] for one in used) for name in names)
    require(
        0 <= accepted <= tokens and requests > 0, "specDecodingStats", "of accepted at most drafted tokens", accepted
    )
    per_step = round(tokens / requests)
    exact = per_step * requests == tokens
    quantity = "TensorRT-LLM's numAcceptedTokens / numRequestsWithDraftTokens + 1"
    return of_mean(quantity, 1 + accepted / requests, per_step if exact else drafted, requests)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 50


# ---- Logs and metrics ----


def _vllm_log(text: str, drafted: int | None) -> Acceptance | None:
    """Lines "SpecDecoding metrics" of vLLM, weighed by their drafts."""
    pattern = r"Drafted: (\d{1,15}) tokens, Per-position acceptance rate: ([\d., ]+?)(?:, [A-Z]|\s*$)"
    found = [(int(tokens), _floats(rates)) for tokens, rates in re.findall(pattern, text, re.M)]
    if not found:
        return None
    most = max(len(rates) for _, rates in found)
    drafts = np.array([tokens / len(rates) for tokens, rates in found])
    rates = np.array([np.pad(rates, (0, most - len(rates))) for _, rates in found])
    require(drafts.sum() > 0, "SpecDecoding metrics", "of drafted tokens", "none")
    reached = (drafts @ rates / drafts.sum()).tolist()
    return of_reached("vLLM's per-position acceptance rate (of all drafts)", reached, round(drafts.sum()))


def _vllm_metrics(text: str, drafted: int | None) -> Acceptance | None:
    """Counters of vLLM for Prometheus, summed over engines."""
    drafts = _counter(text, r"vllm:spec_decode_num_drafts(?:_total)?(?:\{[^}\n]*\})?")
    places: dict[int, float] = {}
    pattern = r'^vllm:spec_decode_num_accepted_tokens_per_pos(?:_total)?\{[^}\n]*position="(\d{1,3})"[^}\n]*\}\s+(\S+)'
    for place, value in re.findall(pattern, text, re.M):
        places[int(place)] = places.get(int(place), 0.0) + _float(value)
    if not drafts or not places:
        return None
    reached = [places.get(place, 0.0) / drafts for place in range(max(places) + 1)]
    return of_reached(
        "vLLM's spec_decode_num_accepted_tokens_per_pos over spec_decode_num_drafts", reached, round(drafts)
    )


def _sglang(text: str, drafted: int | None) -> Acceptance | None:
    """Lines "accept len" of SGLang, each one alike, or its gauge."""
    lengths = [_float(one) for one in re.findall(r"accept len: ([\d.]+)", text)]
    if lengths:
        return of_mean("SGLang's accept len (bonus included)", float(np.mean(lengths)), drafted)
    gauges = [_float(one) for one in re.findall(r"^sglang:spec_accept_length(?:\{[^}\n]*\})?\s+(\S+)", text, re.M)]
    steps = [_float(one) for one in re.findall(r"^sglang:spec_num_steps(?:\{[^}\n]*\})?\s+(\S+)", text, re.M)]
    if not gauges:
        return None
    known = int(steps[0]) if steps and isfinite(steps[0]) and 1 <= steps[0] <= MOST_DRAFTED else drafted
    return of_mean("sglang:spec_accept_length (bonus included)", float(np.mean(gauges)), known)


def _tensorrt_lines(text: str, drafted: int | None) -> Acceptance | None:
    """The same statistics as lines of JSON."""
    lines = [_value(line) for line in text.splitlines() if "specDecodingStats" in line]
    return _tensorrt([one for one in lines if isinstance(one, Mapping)], drafted) if len(lines) > 1 else None


def _counter(text: str, name: str) -> float:
    return float(sum(_float(value) for value in re.findall(rf"^{name}\s+(\S+)", text, re.M)))


def _floats(text: str) -> list[float]:
    return [_float(word) for word in text.split(",") if word.strip()]


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    require(isfinite(value), "numbers of the source", "numbers", text[:40])
    return value


Form = Callable[[Any, int | None], Acceptance | None]

OF_TEXT: tuple[Form, ...] = (_vllm_log, _vllm_metrics, _sglang, _tensorrt_lines)
OF_JSON: tuple[Form, ...] = (_counts, _traces, _reached, _ranked, _lengths, _tensorrt)
