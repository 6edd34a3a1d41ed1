"""The write master: whole beats, and finished pixels to the frame in memory. RTL: `rtl.write_master`."""

import numpy as np

from nerf.contract.memory import PIXEL_BYTES
from nerf.contract.scene_image import BEAT
from sim.activity import BUSY, IDLE, MEMORY, NEVER
from sim.compiled import compiled

UNANSWERED_LIMIT = 15

STATE = np.dtype([(name, np.int64) for name in ("activity", "frame_base", "width", "unanswered")])
"""``width``: of the window, in pixels."""


def new(frame_base: int, width: int) -> np.void:
    """Return a master at rest, for a frame at a byte address."""
    state = np.zeros(1, STATE)[0]
    state["frame_base"], state["width"] = frame_base, width
    return state


@compiled
def step(now: int, state, i, beats, address, data, answer) -> int:
    """Turn a beat, or else a pixel, into a burst of one beat; 1 cycle to the bus."""
    free = not (address.valid or data.valid) and state.unanswered != UNANSWERED_LIMIT
    moved = False
    if answer.valid:
        answer.valid = 0
        state.unanswered -= 1
        moved = True
    if free and (beats.valid or i.valid):
        if beats.valid:
            beats.valid = 0
            address.address, data.bytes = beats.address, BEAT
        else:
            i.valid = 0
            address.address = state.frame_base + PIXEL_BYTES * (i.y * state.width + i.x) & -BEAT
            data.bytes = PIXEL_BYTES
        address.valid = 1
        data.valid = 1
        state.unanswered += 1
        moved = True
    state.activity = BUSY if moved else MEMORY if state.unanswered else IDLE
    return now + 1 if moved else NEVER


@compiled
def idle(state) -> bool:
    """Return whether everything accepted has been written and answered."""
    return state.unanswered == 0
