"""The read master: the clients' bursts onto one bus. RTL: `rtl.memory.read_master`.

Beats go from the memory to the clients directly: the master adds no cycle to them.
"""

import numpy as np

from nerf.contract.scene_image import BEAT
from rtnerf.base.compiled import compiled
from sim.memory.memory import CLIENTS
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER

STATE = np.dtype([("activity", np.int64), ("last", np.int64)])
"""``last``: the client served last."""


def new() -> np.void:
    """Return a master that has served nobody."""
    state = np.zeros(1, STATE)[0]
    state["last"] = CLIENTS - 1
    return state


@compiled
def step(now: int, state, requests, burst) -> int:
    """Grant one of the clients' ``requests`` (`sim.parts.streams.READ_REQUEST`) in turn; 1 cycle to the bus."""
    if burst.valid:
        state.activity = MEMORY
        return NEVER
    for distance in range(1, CLIENTS + 1):
        client = (state.last + distance) % CLIENTS
        request = requests[client]
        if request.valid:
            request.valid = 0
            burst.client = client
            burst.address = request.address & -BEAT
            burst.last_beat = request.last_beat
            burst.valid = 1
            state.last = client
            state.activity = BUSY
            return now + 1
    state.activity = IDLE
    return NEVER


@compiled
def idle(memory, burst) -> bool:
    """Return whether no burst is on the bus or with the memory; asked after all other steps of a cycle."""
    return not (memory.waiting or burst.valid)
