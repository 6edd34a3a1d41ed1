"""Record reader: waits for the mask window of each cube, one cube ahead of its use. RTL: `rtl.record_reader`.

The window itself is looked up by the rank of the cube where it is used.
"""

import numpy as np

from nerf.contract.scene_image import BEAT, PAGE, RECORD_BYTES
from sim.activity import BUSY, IDLE, MEMORY, NEVER, OUTPUT
from sim.compiled import compiled
from sim.streams import RECTANGLE

CLIENT = 2
"""Number at the read master."""
BEATS = RECORD_BYTES // BEAT

IDLES, REQUESTS, REQUESTS_SECOND, READS, OFFERS = range(5)

STATE = np.dtype(
    [("activity", np.int64), ("phase", np.int64), ("beats_left", np.int64), ("address", np.int64), ("o", RECTANGLE)]
)
"""``o``: the rectangle whose record has been read, to the sample generator."""


def new() -> np.void:
    """Return an idle reader."""
    return np.zeros(1, STATE)[0]


@compiled
def step(now: int, state, scene, scene_base: int, i, request, beat) -> int:
    """Read the record of one rectangle after the other; ``last`` passes without a read."""
    phase = state.phase
    if phase == IDLES:
        if not i.valid:
            state.activity = IDLE
            return NEVER
        _take(state, scene, scene_base, i, request)
        state.activity = BUSY
        return now + 1
    if phase == OFFERS:
        if state.o.valid:
            state.activity = OUTPUT
            return NEVER
        state.phase = IDLES
        state.activity = BUSY
        return now + 1

    all_read = state.beats_left == 0
    moved = False
    if beat.valid and beat.client == CLIENT:
        beat.valid = 0
        state.beats_left -= 1
        moved = True
    if phase == READS:
        if all_read:
            state.phase = OFFERS
            state.o.valid = 1
            moved = True
    elif not request.valid:
        moved = True
        state.phase = READS
        if phase == REQUESTS and _crosses_page(state.address):
            request.address = state.address + BEAT
            request.valid = 1
            state.phase = REQUESTS_SECOND
    state.activity = BUSY if moved else MEMORY
    return now + 1 if moved else NEVER


@compiled
def _take(state, scene, scene_base: int, i, request) -> None:
    """Take a rectangle, and ask for its record: in two bursts where it crosses a page."""
    i.valid = 0
    o = state.o
    o.x, o.y, o.z, o.rank, o.last = i.x, i.y, i.z, i.rank, i.last
    o.first_x, o.first_y, o.last_x, o.last_y, o.tile = i.first_x, i.first_y, i.last_x, i.last_y, i.tile
    if i.last:
        state.phase = OFFERS
        o.valid = 1
        return
    state.phase = REQUESTS
    state.beats_left = BEATS
    state.address = scene_base + scene.records_offset + RECORD_BYTES * i.rank
    request.address = state.address
    request.last_beat = 0 if _crosses_page(state.address) else BEATS - 1
    request.valid = 1


@compiled
def _crosses_page(address: int) -> bool:
    return address % PAGE == PAGE - BEAT
