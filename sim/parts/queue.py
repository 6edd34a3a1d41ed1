"""A first-in first-out queue of samples. RTL: `rtl.parts.queue`."""

import numpy as np

from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.streams import SAMPLE, copy_sample

DEPTH_LIMIT = 8192

STATE = np.dtype(
    [
        ("activity", np.int64),
        ("depth", np.int64),
        ("held", np.int64),
        ("first", np.int64),
        ("samples", SAMPLE, (DEPTH_LIMIT,)),
    ]
)
"""``depth``: payloads that fit, the one at the output included; ``held``: those behind it."""


def new(depth: int) -> np.void:
    """Return an empty queue."""
    state = np.zeros(1, STATE)[0]
    state["depth"] = depth
    return state


@merged
def step(now: int, state, i, o) -> int:
    """Hand on and take in, a payload each a cycle; 2 cycles through an empty queue."""
    has_room = state.held != state.depth - 1
    moved = False
    if state.held and not o.valid:
        copy_sample(state.samples[state.first], o)
        o.valid = 1
        state.first = (state.first + 1) & DEPTH_LIMIT - 1
        state.held -= 1
        moved = True
    if i.valid and has_room:
        copy_sample(i, state.samples[(state.first + state.held) & DEPTH_LIMIT - 1])
        i.valid = 0
        state.held += 1
        moved = True
    state.activity = BUSY if moved else OUTPUT if o.valid and state.held else IDLE
    return now + 1 if moved else NEVER
