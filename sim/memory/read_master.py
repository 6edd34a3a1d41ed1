"""The read master: the clients' bursts onto one bus. RTL: `rtl.memory.read_master`.

Beats go from the memory to the clients directly: the master adds no cycle to them.
"""

import numpy as np

from nerf.contract.scene_image import BEAT
from rtnerf.base.compiled import merged
from sim.memory.memory import CLIENTS
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER
from sim.parts.streams import READ_REQUEST

NOBODY = -1

STATE = np.dtype(
    [("activity", np.int64), ("last", np.int64), ("waiting", np.int64), ("requests", READ_REQUEST, (CLIENTS,))]
)
"""``last``: the client served last; ``requests``: that were taken, ``waiting`` of them valid."""


def new() -> np.void:
    """Return a master that has served nobody."""
    state = np.zeros(1, STATE)[0]
    state["last"] = CLIENTS - 1
    return state


@merged
def step(now: int, state, requests, burst) -> int:
    """Grant one of the requests that wait in turn, and take a client's if it has none; 2 cycles to the bus."""
    granted = NOBODY
    if not burst.valid and state.waiting:
        for distance in range(CLIENTS, 0, -1):
            client = (state.last + distance) % CLIENTS
            if state.requests[client].valid:
                granted = client
        request = state.requests[granted]
        burst.client = granted
        burst.address = request.address & -BEAT
        burst.last_beat = request.last_beat
        burst.valid = 1
        state.last = granted
    moved = granted != NOBODY
    for client in range(CLIENTS):
        if requests[client].valid and not state.requests[client].valid:
            state.requests[client].address = requests[client].address
            state.requests[client].last_beat = requests[client].last_beat
            state.requests[client].valid = 1
            requests[client].valid = 0
            state.waiting += 1
            moved = True
    if granted != NOBODY:
        state.requests[granted].valid = 0
        state.waiting -= 1
    state.activity = BUSY if moved else MEMORY if state.waiting else IDLE
    return now + 1 if moved else NEVER


@merged
def idle(state, memory, burst) -> bool:
    """Return whether no request waits and no burst is on the bus or with the memory; before the steps of a cycle."""
    return not (state.waiting or memory.waiting or burst.valid)
