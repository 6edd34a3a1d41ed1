"""The write master: finished pixels to the frame in memory, in bursts, and whole beats.

RTL: `rtl.memory.write_master`.
"""

import numpy as np

from nerf.contract.config import POWERS, AcceleratorConfig
from nerf.contract.memory import PIXEL_BYTES
from nerf.contract.scene_image import BEAT
from rtnerf.base.compiled import merged
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER

BURST = 16
"""Beats of the longest burst: it stays in a block of so many aligned beats."""
HELD_LIMIT = POWERS["write_bursts"][1]
UNANSWERED_LIMIT = 15
RESTS, BEGINS, COLLECTS = range(3)
"""Between two rows of pixels; where a row begins is found; its pixels are taken."""
PIXELS_OF_BEAT = BEAT // PIXEL_BYTES

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "write_bursts", "frame_base", "width", "unanswered")]
    + [(name, np.int64) for name in ("phase", "collecting", "collected", "written", "writing", "at")]
    + [(name, np.int64, (HELD_LIMIT,)) for name in ("first", "last")]
)
"""``write_bursts``: that may be held; ``width``: of the window, in pixels; ``phase``: of a row of pixels;
``collecting``: pixels of a burst that is not whole; ``collected``, ``written``: bursts so far; ``first``, ``last``:
places of the pixels of those that are held, which are addresses in units of a pixel; ``at``: the next of the burst that
is being written, if ``writing``."""


def new(config: AcceleratorConfig, frame_base: int, width: int) -> np.void:
    """Return a master at rest, for a frame at a byte address."""
    state = np.zeros(1, STATE)[0]
    state["write_bursts"] = config.write_bursts
    state["frame_base"], state["width"] = frame_base, width
    return state


@merged
def step(now: int, state, i, beats, address, data, answer) -> int:
    """Collect a pixel, or a beat, and write a burst that is whole; 2 cycles to the bus."""
    held = state.collected - state.written
    begins = held and not (state.writing or address.valid) and state.unanswered != UNANSWERED_LIMIT
    moved = begins
    if answer.valid:
        answer.valid = 0
        state.unanswered -= 1
        moved = True
    if state.writing and not data.valid:
        if data.last:
            state.writing = 0
            state.written += 1
        else:
            _offer_beat(state, data)
        moved = True
    if begins:
        state.at = state.first[state.written & HELD_LIMIT - 1]
        address.address = PIXEL_BYTES * state.at & -BEAT
        address.valid = 1
        state.unanswered += 1
        state.writing = 1
        _offer_beat(state, data)
    room = held != state.write_bursts
    if state.phase == RESTS:
        if beats.valid:
            if room:
                _collect_beat(state, beats)
                moved = True
        elif i.valid:
            state.phase = BEGINS
            moved = True
    elif state.phase == BEGINS:
        state.phase = COLLECTS
        moved = True
    elif i.valid and room:
        _collect_pixel(state, i)
        moved = True
    state.activity = BUSY if moved else MEMORY if state.unanswered else IDLE
    return now + 1 if moved else NEVER


@merged
def _offer_beat(state, data) -> None:
    """Put up the next beat of a burst, or the half of it that is enabled."""
    last = state.last[state.written & HELD_LIMIT - 1]
    end = min(state.at | PIXELS_OF_BEAT - 1, last)
    data.bytes = PIXEL_BYTES * (end + 1 - state.at)
    data.last = end == last
    data.valid = 1
    state.at = end + 1


@merged
def _collect_beat(state, beats) -> None:
    """Take a beat: it is a burst."""
    place = state.collected & HELD_LIMIT - 1
    beats.valid = 0
    state.first[place] = beats.address // PIXEL_BYTES
    state.last[place] = state.first[place] + PIXELS_OF_BEAT - 1
    state.collected += 1


@merged
def _collect_pixel(state, i) -> None:
    """Take a pixel: a burst is whole with the row of the tile or with its block."""
    place = state.collected & HELD_LIMIT - 1
    i.valid = 0
    if state.collecting:
        state.last[place] += 1
    else:
        state.first[place] = state.frame_base // PIXEL_BYTES + i.y * state.width + i.x
        state.last[place] = state.first[place]
    whole = i.ends_row or (state.last[place] + 1) % (BURST * PIXELS_OF_BEAT) == 0
    state.collecting = not whole
    state.collected += whole
    if i.ends_row:
        state.phase = RESTS


@merged
def idle(state) -> bool:
    """Return whether everything accepted has been written and answered."""
    return state.collected == state.written and not state.collecting and state.unanswered == 0
