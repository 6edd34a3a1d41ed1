"""The cube loader: which factor blocks a cube needs, and which the cube buffer lacks. RTL: `rtl.cube_loader`."""

import numpy as np

from nerf.contract.scene_image import PAIRS
from sim.activity import BUSY, FACTORS, IDLE, MEMORY, NEVER, OUTPUT
from sim.compiled import compiled

CANDIDATES = 6
"""Blocks that a pair may need: 2 x 2 plane tiles and 2 line blocks; one is examined a cycle."""
TOTAL = len(PAIRS) * CANDIDATES
PLACES = 64
"""Slots of all windows: 16 plane tiles a pair, then 4 line blocks a pair."""
LINE_PLACES = 48

AXES_OF_PAIR = np.array(PAIRS)

EXAMINE, REQUEST, OFFER, REST = range(4)

STATE = np.dtype(
    [
        (name, np.int64)
        for name in ("activity", "appearance", "groups", "phase", "until", "candidate", "left", "missing")
    ]
    + [(name, np.int64) for name in ("reading", "offered", "asking", "group", "index", "place")]
    + [("cube", np.int64, (3,)), ("in_use", np.int64, (3,)), ("held", np.int64, (PLACES,))]
)
"""``until``: cycle in which the next missing ``candidate`` is examined, or else the last; ``left``: requested blocks
that are not there yet; ``index``, ``place``: of the candidate; ``held``: index of the block in each slot, or -1."""


def new(appearance: bool) -> np.void:
    """Return a loader at rest with an empty window, for density (1 component group) or appearance (3)."""
    state = np.zeros(1, STATE)[0]
    state["appearance"], state["groups"] = appearance, 3 if appearance else 1
    state["phase"] = REST
    state["held"] = -1
    return state


@compiled
def _examine(state, scene, candidate: int) -> bool:
    """Find slot and index of one of the 18 blocks; return whether it exists and is not in the buffer."""
    pair, which = candidate // CANDIDATES, candidate % CANDIDATES
    first_axis, second_axis, line_axis = AXES_OF_PAIR[pair, 0], AXES_OF_PAIR[pair, 1], AXES_OF_PAIR[pair, 2]
    if which < 4:
        first, second = state.cube[first_axis] + (which & 1), state.cube[second_axis] + (which >> 1)
        exists = first < scene.cubes[first_axis] and second < scene.cubes[second_axis]
        state.place = 16 * pair + 4 * (second & 3) + (first & 3)
        state.index = second * scene.cubes[first_axis] + first
    else:
        block = state.cube[line_axis] + (which & 1) >> 2
        exists = 16 * block < scene.grid[line_axis]
        state.place = LINE_PLACES + 4 * pair + (block & 3)
        state.index = block
    return exists and state.held[state.place] != state.index


@compiled
def _in_use(state) -> bool:
    """Return whether the slot of the missing candidate may be read for the cube in use."""
    place = state.place
    if place >= LINE_PLACES:
        along = state.in_use[AXES_OF_PAIR[(place - LINE_PLACES) // 4, 2]]
        return place & 3 == along >> 2 & 3 or place & 3 == along + 1 >> 2 & 3
    first, second = state.in_use[AXES_OF_PAIR[place // 16, 0]], state.in_use[AXES_OF_PAIR[place // 16, 1]]
    return (place & 3) - first & 2 == 0 and (place >> 2 & 3) - second & 2 == 0


@compiled
def _go_on(now: int, state, scene, candidate: int) -> None:
    """Look ahead, from a candidate on: those that are not missing take a cycle each and depend on nothing else."""
    if candidate == TOTAL:
        state.phase = OFFER
        return
    state.phase = EXAMINE
    state.until = now + 1
    missing = _examine(state, scene, candidate)
    while not missing and candidate != TOTAL - 1:
        candidate += 1
        state.until += 1
        missing = _examine(state, scene, candidate)
    state.candidate = candidate
    state.missing = missing


@compiled
def _take_cube(now: int, state, i, scene) -> None:
    """Take the next cube, if there is one."""
    state.phase = REST
    if i.valid:
        i.valid = 0
        state.cube[0], state.cube[1], state.cube[2] = i.x, i.y, i.z
        _go_on(now, state, scene, 0)


@compiled
def _put_request(state, o_request) -> None:
    """Ask for the present component group of the missing candidate."""
    line = state.place >= LINE_PLACES
    o_request.line = line
    o_request.pair = state.candidate // CANDIDATES
    o_request.slot = state.place & (3 if line else 15)
    o_request.group = state.group
    o_request.index = state.index * state.groups + state.group
    o_request.valid = 1
    state.asking = 1


@compiled
def step(now: int, state, i, o, finished, o_request, vector, scene) -> int:
    """Examine the candidates of a cube, request the missing blocks, and offer the token when all are there.

    ``vector``: what the decoder writes in this cycle; the last vector of a block says that the block is there.
    """
    phase = state.phase
    done = vector.valid != 0 and vector.block_last != 0 and vector.appearance == state.appearance
    changed = done or finished.set != 0
    if phase == REST and not (i.valid or changed):
        state.activity = IDLE
        return NEVER
    reading = state.reading != 0
    if finished.set:
        finished.set = 0
        state.reading = 0
    state.left -= done
    state.activity = BUSY
    if phase == REST:
        _take_cube(now, state, i, scene)
        changed = True
    elif phase == EXAMINE:
        if now < state.until:
            return now + 1 if changed else state.until
        if not state.missing:
            _go_on(now, state, scene, state.candidate + 1)
            changed = True
        elif not (reading and _in_use(state)):
            state.held[state.place] = state.index
            state.group = 0
            state.phase = REQUEST
            _put_request(state, o_request)
            changed = True
        else:
            state.activity = OUTPUT
    elif phase == REQUEST:
        if o_request.valid:
            state.activity = MEMORY
        else:
            state.left += 1
            state.group += 1
            changed = True
            if state.group < state.groups:
                _put_request(state, o_request)
            else:
                _go_on(now, state, scene, state.candidate + 1)
    elif not state.offered:
        state.activity = FACTORS
    elif o.valid:
        state.activity = OUTPUT
    else:
        state.offered = 0
        state.in_use[0], state.in_use[1], state.in_use[2] = state.cube[0], state.cube[1], state.cube[2]
        state.reading = 1
        _take_cube(now, state, i, scene)
        changed = True
    if state.phase == OFFER and not state.offered and state.left == 0:
        o.x, o.y, o.z = state.cube[0], state.cube[1], state.cube[2]
        o.valid = 1
        state.offered = 1
        changed = True
    return now + 1 if changed else NEVER
