"""Run one block of the simulator under the very stalls that `cosim.unit.run` puts on its hardware twin."""

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def fields(record: np.void) -> tuple[int, ...]:
    """Return the payload of a stream record; of a sample that is no pair what it has alone."""
    names = [name for name in record.dtype.names if name != "valid"]
    if "paired" in names and not record["paired"]:
        del names[names.index("paired") :]
    return tuple(int(record[name]) for name in names)


def put(record: np.void, payload: Sequence[int] | int) -> None:
    """Offer a payload, its fields in the order of the record, as `fields` returns them."""
    names = [name for name in record.dtype.names if name != "valid"]
    values = [payload] if isinstance(payload, int) else list(payload)
    if "paired" in names and len(values) < len(names):
        del names[names.index("paired") + 1 :]
        values.append(0)
    for name, value in zip(names, values, strict=True):
        record[name] = value
    record["valid"] = 1


def replay(
    step: Callable[[int], int],
    inputs: Mapping[str, tuple[np.void, Sequence]],
    outputs: Mapping[str, tuple[np.void, int | None]],
    stalls: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
    offer: Callable[[int], None] | None = None,
    watchdog: int = 100_000,
    skip: bool = False,
    settle: int = 20,
) -> tuple[dict[str, list[int]], dict[str, list[tuple[int, ...]]]]:
    """Return (per stream the cycle of each transfer, per output stream its payloads), as `cosim.unit.run` does.

    Parameters
    ----------
    step : function of the cycle
        Steps the block (or blocks, consumers first), returns the cycle of its next own change.
    inputs : dict
        Per input stream: its record and the payloads to offer. Names as in the hardware bench: they seed the stalls.
    outputs : dict
        Per output stream: its record and how many payloads to wait for; None: not waited for, not counted.
    offer : function of the cycle, optional
        The first phase of a cycle.
    skip : bool
        Call the block only when it has asked for it or one of its streams has changed, as the simulator may.
    """
    cycles: dict[str, list[int]] = {name: [] for name in (*inputs, *outputs)}
    payloads: dict[str, list[tuple[int, ...]]] = {name: [] for name in outputs}
    chances = {name: random.Random(f"{seed} {name}") for name in cycles}
    waiting = {name: list(given) for name, (_, given) in inputs.items()}
    wake, now, end = 0, 0, None
    while end is None or now < end:
        changed = False
        for name, (record, _) in inputs.items():
            if not record["valid"] and waiting[name] and chances[name].random() < stalls[0]:
                put(record, waiting[name].pop(0))
                changed = True
        ready = {name: chances[name].random() < stalls[1] for name in outputs}
        if offer is not None:
            offer(now)
        for name, (record, _) in outputs.items():
            if record["valid"] and ready[name]:
                cycles[name].append(now)
                payloads[name].append(fields(record))
                record["valid"] = 0
                changed = True
        offered = [name for name, (record, _) in inputs.items() if record["valid"]]
        if not skip or changed or now >= wake:
            wake = step(now)
            assert wake > now, "a step must name a later cycle"
        for name in offered:
            if not inputs[name][0]["valid"]:
                cycles[name].append(now)
        now += 1
        if end is None and all(len(payloads[name]) >= (count or 0) for name, (_, count) in outputs.items()):
            end = now + settle
        assert now <= watchdog, f"watchdog: { {name: len(got) for name, got in payloads.items()} }"
    for name, (_, count) in outputs.items():
        assert count is None or len(payloads[name]) == count, f"{name}: surplus payloads"
    return cycles, payloads
