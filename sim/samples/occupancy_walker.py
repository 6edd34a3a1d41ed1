"""Occupancy walker: the live cubes of the scene, front to back. RTL: `rtl.samples.occupancy_walker`.

One part requests rows of cubes ahead, the other walks them with the shared tree, 16 cubes at a time.
"""

import numpy as np

from nerf.contract.config import COMPONENTS, POWERS, AcceleratorConfig
from nerf.contract.scene_image import BEAT, RANK_BITS, ROW_BITS
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, MEMORY, NEVER, OUTPUT, TREE
from sim.parts.clients import Reader
from sim.parts.streams import PREFIX, SEARCH

CLIENT = Reader.ROWS
CHUNKS = ROW_BITS // COMPONENTS
"""Parts of a row that the tree takes at once."""
AHEAD_LIMIT = POWERS["row_queue"][1]
RANK_AT, RANK_BYTES = ROW_BITS // 8, RANK_BITS // 8
"""Bytes of a row entry: where the rank begins, and how many it takes."""

ROW, CHUNK, COUNT, COUNTED, SEARCHES, VISITS, LAST = range(7)
"""Phases of the walk."""

PLACE = np.dtype([("y", np.int64), ("z", np.int64), ("last", np.int64)])
"""Where a requested row lies; ``last``: it is the last one of the walk."""
_REQUESTS = ("requesting", "place_y", "place_z", "falls_y", "falls_z")
_QUEUES = ("place_valid", "places_held", "places_first", "entry_valid", "entry", "entries_held", "entries_first")
_WALK = ("phase", "at_y", "at_z", "last", "upward_rank", "downward_rank", "counted", "falls", "chunk", "k")

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "row_queue", *_REQUESTS, *_QUEUES, *_WALK)]
    + [("place", PLACE), ("places", PLACE, (AHEAD_LIMIT,)), ("entries", np.int64, (AHEAD_LIMIT,))]
    + [(name, np.int64, (CHUNKS,)) for name in ("upward", "downward", "counts")]
)
"""``row_queue``: depth of both queues, the place at the output included; ``place_y`` to ``falls_z``: the row to be
requested next, and whether each axis is in its downward part; ``place``, ``entry``: what stands at the outputs of the
queues ``places`` and ``entries`` (addresses of beats), which hold the rest; ``at_y`` to ``k``: the row being walked."""


def new(config: AcceleratorConfig) -> np.void:
    """Return an idle walker."""
    state = np.zeros(1, STATE)[0]
    state["row_queue"] = config.row_queue
    return state


@merged
def offer(now: int, state, response, o) -> None:
    """Offer the cube that the tree has found."""
    if state.phase == VISITS and response.valid:
        o.x = COMPONENTS * state.chunk + response.index
        o.y, o.z, o.last = state.at_y, state.at_z, 0
        o.rank = state.downward_rank if state.falls else state.upward_rank
        o.valid = 1


@merged
def step(
    now: int, state, start, scene, view, scene_base: int, request, beat, tree_request, response, o, image
) -> int:  # fmt: skip
    """Visit the live cubes; ``image``: the scene image's bytes."""
    if state.phase == ROW and not (start.set or state.requesting or state.place_valid or state.places_held):
        state.activity = IDLE
        return NEVER

    places_have_room = state.places_held != state.row_queue - 1
    entries_have_room = state.entries_held != state.row_queue - 1
    walked = _walk(state, scene, view, scene_base, tree_request, response, o, image)
    moved = _advance_queues(state)
    if beat.valid and beat.client == CLIENT and entries_have_room:
        beat.valid = 0
        state.entries[(state.entries_first + state.entries_held) & AHEAD_LIMIT - 1] = beat.address
        state.entries_held += 1
        moved = True
    if state.requesting:
        if places_have_room and not request.valid:
            _request_row(state, scene, view, scene_base, request)
            moved = True
    elif start.set:
        state.requesting = 1
        state.place_y, state.falls_y = _first(view.start_cube[1], scene.cubes[1])
        state.place_z, state.falls_z = _first(view.start_cube[2], scene.cubes[2])
        moved = True
    start.set = 0

    if walked:
        state.activity = BUSY
    elif state.phase == ROW:
        state.activity = MEMORY
    elif state.phase == LAST or (state.phase == VISITS and response.valid):
        state.activity = OUTPUT
    else:
        state.activity = TREE
    return now + 1 if moved or walked else NEVER


@compiled
def _request_row(state, scene, view, scene_base: int, request) -> None:
    """Request a row, note its place, and go on to the next one: y innermost."""
    request.address = scene_base + scene.rows_offset + BEAT * (state.place_z * scene.cubes[1] + state.place_y)
    request.last_beat = 0
    request.valid = 1
    place = state.places[(state.places_first + state.places_held) & AHEAD_LIMIT - 1]
    state.places_held += 1
    place.y, place.z, place.last = state.place_y, state.place_z, 0
    if not _is_last(state.place_y, state.falls_y, view.start_cube[1], scene.cubes[1]):
        state.place_y, state.falls_y = _next(state.place_y, state.falls_y, view.start_cube[1], scene.cubes[1])
        return
    if _is_last(state.place_z, state.falls_z, view.start_cube[2], scene.cubes[2]):
        place.last = 1
        state.requesting = 0
        return
    state.place_y, state.falls_y = _first(view.start_cube[1], scene.cubes[1])
    state.place_z, state.falls_z = _next(state.place_z, state.falls_z, view.start_cube[2], scene.cubes[2])


@compiled
def _first(start: int, count: int) -> tuple[int, int]:
    """Return the first place of the order along an axis, and whether the order has a downward part only."""
    if start >= count:
        return count - 1, 1
    return max(start, 0), 0


@merged
def _next(place: int, falls: int, start: int, count: int) -> tuple[int, int]:
    """Return the place behind another one, and whether it belongs to the downward part."""
    if falls:
        return place - 1, 1
    if place + 1 == count:
        return start - 1, 1
    return place + 1, 0


@compiled
def _is_last(place: int, falls: int, start: int, count: int) -> bool:
    return place == 0 if falls else place + 1 == count and start <= 0


@compiled
def _advance_queues(state) -> bool:
    """Fill the outputs of both queues from what they hold."""
    moved = False
    if state.places_held and not state.place_valid:
        place = state.places[state.places_first]
        state.place.y, state.place.z, state.place.last = place.y, place.z, place.last
        state.place_valid = 1
        state.places_first = (state.places_first + 1) & AHEAD_LIMIT - 1
        state.places_held -= 1
        moved = True
    if state.entries_held and not state.entry_valid:
        state.entry = state.entries[state.entries_first]
        state.entry_valid = 1
        state.entries_first = (state.entries_first + 1) & AHEAD_LIMIT - 1
        state.entries_held -= 1
        moved = True
    return moved


@compiled
def _walk(state, scene, view, scene_base: int, tree_request, response, o, image) -> bool:
    """Do a cycle of the walk through a row; return whether anything has changed."""
    phase = state.phase
    if phase == ROW:
        if not state.entry_valid:
            return False
        _take_row(state, view, state.entry - scene_base, image)
    elif phase == CHUNK:
        _choose_chunk(state, tree_request, o)
    elif phase in (COUNT, SEARCHES):
        if tree_request.valid:
            return False
        state.phase = COUNTED if phase == COUNT else VISITS
    elif phase == COUNTED:
        if not response.valid:
            return False
        response.valid = 0
        state.counts[state.chunk] = response.total
        state.counted |= 1 << state.chunk
        state.upward_rank += response.total
        state.downward_rank += response.total
        state.phase = CHUNK
    elif phase == VISITS:
        # The response is the offer, so it is there until the cube is taken.
        if not response.valid or o.valid:
            return False
        response.valid = 0
        _go_on_in_chunk(state, response.total, tree_request)
    else:
        if o.valid:
            return False
        state.phase = ROW
    return True


@compiled
def _take_row(state, view, at: int, image) -> None:
    """Split a row into its upward and its downward part; ``at``: its first byte in the image."""
    state.entry_valid = 0
    state.place_valid = 0
    state.at_y, state.at_z, state.last = state.place.y, state.place.z, state.place.last
    state.counted = 0
    anything = np.int64(0)
    for chunk in range(CHUNKS):
        bits = np.int64(image[at + 2 * chunk]) | np.int64(image[at + 2 * chunk + 1]) << 8
        below = min(max(view.start_cube[0] - COMPONENTS * chunk, 0), COMPONENTS)
        state.downward[chunk] = bits & (1 << below) - 1
        state.upward[chunk] = bits >> below << below
        anything |= bits
    rank = np.int64(0)
    for byte in range(RANK_BYTES):
        rank |= np.int64(image[at + RANK_AT + byte]) << 8 * byte
    state.upward_rank, state.downward_rank = rank, rank - 1
    if anything or state.last:
        state.phase = CHUNK


@compiled
def _choose_chunk(state, tree_request, o) -> None:
    """Count the downward part chunk by chunk; then search the upward part, upwards, and the downward one, downwards."""
    for chunk in range(CHUNKS):
        if state.downward[chunk] and not state.counted >> chunk & 1:
            state.falls, state.chunk = 1, chunk
            tree_request.mode, tree_request.bits = PREFIX, state.downward[chunk]
            tree_request.valid = 1
            state.phase = COUNT
            return
    for chunk in range(CHUNKS):
        if state.upward[chunk]:
            state.falls, state.chunk, state.k = 0, chunk, 0
            _search(state, tree_request)
            return
    for chunk in range(CHUNKS - 1, -1, -1):
        if state.downward[chunk]:
            state.falls, state.chunk, state.k = 1, chunk, state.counts[chunk] - 1
            _search(state, tree_request)
            return
    state.phase = ROW
    if state.last:
        o.valid, o.last = 1, 1
        state.phase = LAST


@compiled
def _search(state, tree_request) -> None:
    """Ask the tree for the k-th cube of the chunk."""
    tree_request.mode, tree_request.k = SEARCH, state.k
    tree_request.bits = state.downward[state.chunk] if state.falls else state.upward[state.chunk]
    tree_request.valid = 1
    state.phase = SEARCHES


@compiled
def _go_on_in_chunk(state, total: int, tree_request) -> None:
    """Ask for the next cube of the chunk, or be done with it; ``total``: its cubes."""
    if state.falls:
        state.k -= 1
        state.downward_rank -= 1
        if state.k < 0:
            state.downward[state.chunk] = 0
            state.phase = CHUNK
            return
    else:
        state.k += 1
        state.upward_rank += 1
        if state.k == total:
            state.upward[state.chunk] = 0
            state.phase = CHUNK
            return
    _search(state, tree_request)
