"""Scene loader: reads the device header, then the tables, burst by burst. RTL: `rtl.control.scene_loader`.

The scenes are whole, so nothing is checked here, and what was read is known beforehand.
"""

import numpy as np

from nerf.contract.scene_image import BEAT, HEADER_WORDS
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER
from sim.parts.clients import Reader

CLIENT = Reader.TABLES
HEADER_BEATS = 4 * HEADER_WORDS // BEAT
TABLE_BURST = 16
"""Beats of a table read: it ends on a multiple of 256 bytes, so that it crosses no page."""

IDLES, REQUESTS_HEADER, READS_HEADER, CHECKS_HEADER, REQUESTS_TABLES, READS_TABLES, CHECKS_TABLES = range(7)

STATE = np.dtype([(name, np.int64) for name in ("activity", "phase", "beat")])
"""``beat``: of the tables, the next to be read."""


def new() -> np.void:
    """Return an idle loader."""
    return np.zeros(1, STATE)[0]


@merged
def step(now: int, state, start, scene, scene_base: int, request, beat, done) -> int:
    """Load the header and the tables of a scene."""
    phase = state.phase
    state.activity = BUSY
    if phase == IDLES:
        if not start.set:
            state.activity = IDLE
            return NEVER
        start.set = 0
        state.beat = 0
        _request(request, scene_base, HEADER_BEATS)
        state.phase = REQUESTS_HEADER
    elif phase in (REQUESTS_HEADER, REQUESTS_TABLES):
        if request.valid:
            state.activity = MEMORY
            return NEVER
        state.phase += 1
    elif phase in (READS_HEADER, READS_TABLES):
        if not (beat.valid and beat.client == CLIENT):
            state.activity = MEMORY
            return NEVER
        beat.valid = 0
        if phase == READS_TABLES:
            state.beat += 1
        if beat.last:
            if phase == READS_HEADER:
                state.phase = CHECKS_HEADER
            elif state.beat == scene.tables_beats:
                state.phase = CHECKS_TABLES
            else:
                _request_tables(state, scene, scene_base, request)
    elif phase == CHECKS_HEADER:
        _request_tables(state, scene, scene_base, request)
    else:
        done.set = 1
        state.phase = IDLES
    return now + 1


@compiled
def _request_tables(state, scene, scene_base: int, request) -> None:
    """Ask for the tables up to the next boundary."""
    offset = scene.tables_offset + BEAT * state.beat
    to_boundary = TABLE_BURST - offset // BEAT % TABLE_BURST
    _request(request, scene_base + offset, min(scene.tables_beats - state.beat, to_boundary))
    state.phase = REQUESTS_TABLES


@compiled
def _request(request, address: int, beats: int) -> None:
    request.address = address
    request.last_beat = beats - 1
    request.valid = 1
