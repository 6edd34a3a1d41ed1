"""Record reader: waits for the mask windows of the cubes, some cubes ahead of their use.

RTL: `rtl.samples.record_reader`.

The window itself is looked up by the rank of the cube where it is used.
"""

import numpy as np

from nerf.contract.config import POWERS, AcceleratorConfig
from nerf.contract.scene_image import BEAT, PAGE, RECORD_BYTES
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import NEVER
from sim.parts.clients import Reader
from sim.parts.streams import RECTANGLE

CLIENT = Reader.RECORDS
BEATS = RECORD_BYTES // BEAT
AHEAD_LIMIT = POWERS["record_queue"][1]

IDLES, WAITS, REQUESTS, REQUESTS_SECOND, LAST = range(5)
"""Phases of a request; `WAITS`: for a place in the queue."""

_COUNTS = ("record_queue", "phase", "address", "held", "first", "beats", "whole", "window_valid", "windows_held")
STATE = np.dtype(
    [(name, np.int64) for name in _COUNTS]
    + [("taken", RECTANGLE), ("queue", RECTANGLE, (AHEAD_LIMIT,)), ("o", RECTANGLE)]
)
"""``record_queue``: depth of the queues of rectangles and of windows, the place at the output included; ``taken``: the
rectangle whose record is being asked for; ``held``, ``first``: of the ``queue`` behind ``o``; ``beats``: of the record
that is being read; ``whole``: its last one came in the cycle before; ``window_valid``: the record of a cube is at the
output of its queue, ``windows_held`` are behind it."""


def new(config: AcceleratorConfig) -> np.void:
    """Return an idle reader."""
    state = np.zeros(1, STATE)[0]
    state["record_queue"] = config.record_queue
    return state


@merged
def offers(state) -> bool:
    """Return whether ``o`` is ready for use."""
    return state.o.valid and (state.o.last or state.window_valid)


@merged
def use_up(state) -> None:
    """Make room for the next cube."""
    state.o.valid = 0
    if not state.o.last:
        state.window_valid = 0


@merged
def waits(state) -> bool:
    """Return whether a record is on its way."""
    return state.phase != IDLES or state.held or state.o.valid


@merged
def step(now: int, state, scene, scene_base: int, i, request, beat) -> int:
    """Ask for the records of some rectangles ahead; ``last`` passes without one."""
    has_room = state.held != state.record_queue - 1
    moved = _move_queues(state)
    if beat.valid and beat.client == CLIENT:
        beat.valid = 0
        state.beats += 1
        if state.beats == BEATS:
            state.beats = 0
            state.whole = 1
        moved = True

    phase = state.phase
    if phase == IDLES:
        if i.valid:
            copy(i, state.taken)
            i.valid = 0
            state.phase = LAST if i.last else WAITS
            state.address = scene_base + scene.records_offset + RECORD_BYTES * i.rank
            moved = True
    elif phase == LAST:
        if has_room:
            _put_in(state)
            moved = True
    elif phase != WAITS and not request.valid:
        moved = True
        if phase == REQUESTS and _crosses_page(state.address):
            request.address = state.address + BEAT
            request.valid = 1
            state.phase = REQUESTS_SECOND
        else:
            _put_in(state)
    if state.phase == WAITS and state.held != state.record_queue - 1:
        request.address = state.address
        request.last_beat = 0 if _crosses_page(state.address) else BEATS - 1
        request.valid = 1
        state.phase = REQUESTS
        moved = True
    return now + 1 if moved else NEVER


@merged
def _move_queues(state) -> bool:
    """Hand on what the queues hold, and take in a record; return whether anything has changed."""
    moved = False
    if state.held and not state.o.valid:
        copy(state.queue[state.first], state.o)
        state.o.valid = 1
        state.first = (state.first + 1) & AHEAD_LIMIT - 1
        state.held -= 1
        moved = True
    if state.windows_held and not state.window_valid:
        state.window_valid = 1
        state.windows_held -= 1
        moved = True
    if state.whole:
        state.windows_held += 1
        state.whole = 0
        moved = True
    return moved


@merged
def _put_in(state) -> None:
    """Put the rectangle into the queue."""
    copy(state.taken, state.queue[(state.first + state.held) & AHEAD_LIMIT - 1])
    state.held += 1
    state.phase = IDLES


@merged
def copy(source, target) -> None:
    """Copy a rectangle, ``valid`` apart."""
    target.x, target.y, target.z, target.rank, target.last = source.x, source.y, source.z, source.rank, source.last
    target.first_x, target.first_y = source.first_x, source.first_y
    target.last_x, target.last_y, target.tile = source.last_x, source.last_y, source.tile


@compiled
def _crosses_page(address: int) -> bool:
    return address % PAGE == PAGE - BEAT
