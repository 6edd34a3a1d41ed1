"""The cube loader: which factor blocks a cube needs, and which the cube buffer lacks.

RTL: `rtl.factors.cube_loader`.
"""

import numpy as np

from nerf.contract.config import WINDOW
from nerf.contract.scene_image import PAIRS
from rtnerf.base.compiled import compiled
from sim.parts.activity import BUSY, FACTORS, IDLE, MEMORY, NEVER, OUTPUT

CANDIDATES = 6
"""Blocks that a pair may need: 2 x 2 plane tiles and 2 line blocks; one is examined a cycle."""
TOTAL = len(PAIRS) * CANDIDATES
SQUARE = WINDOW**2
LINE_PLACES = len(PAIRS) * SQUARE
PLACES = LINE_PLACES + len(PAIRS) * WINDOW
"""Slots of all windows: those of the planes, pair by pair, then those of the lines."""
CUBES = 8
"""Cubes that a loader holds: announced, loaded ahead, and the one that is read."""

AXES_OF_PAIR = np.array(PAIRS)

REST, EXAMINE, REQUEST = range(3)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "appearance", "groups", "phase", "until", "candidate", "missing")]
    + [(name, np.int64) for name in ("taken", "examined", "accepted", "finished", "there", "offering")]
    + [(name, np.int64) for name in ("group", "index", "place")]
    + [("cubes", np.int64, (CUBES, 3)), ("blocks", np.int64, (CUBES,)), ("held", np.int64, (PLACES,))]
)
"""``until``: cycle in which the next missing ``candidate`` is examined, or else the last; ``taken``, ``examined``,
``accepted``, ``finished``: cubes that were announced, that were examined, whose tokens were accepted, that are not read
any more; ``blocks``: requested for each of the ``cubes``; ``there``: blocks that are there, without those of accepted
tokens; ``index``, ``place``: of the candidate; ``held``: index of the block in each slot, or -1."""


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
    cube = state.cubes[state.examined % CUBES]
    if which < 4:
        first, second = cube[first_axis] + (which & 1), cube[second_axis] + (which >> 1)
        exists = first < scene.cubes[first_axis] and second < scene.cubes[second_axis]
        state.place = SQUARE * pair + WINDOW * (second % WINDOW) + first % WINDOW
        state.index = second * scene.cubes[first_axis] + first
    else:
        block = cube[line_axis] + (which & 1) >> 2
        exists = 16 * block < scene.grid[line_axis]
        state.place = LINE_PLACES + WINDOW * pair + block % WINDOW
        state.index = block
    return exists and state.held[state.place] != state.index


@compiled
def _uses(cube, place: int) -> bool:
    """Return whether a slot may be read for a cube."""
    if place >= LINE_PLACES:
        pair, slot = (place - LINE_PLACES) // WINDOW, place % WINDOW
        along = cube[AXES_OF_PAIR[pair, 2]]
        return slot == (along >> 2) % WINDOW or slot == (along + 1 >> 2) % WINDOW
    pair, slot = place // SQUARE, place % SQUARE
    first, second = cube[AXES_OF_PAIR[pair, 0]], cube[AXES_OF_PAIR[pair, 1]]
    return (slot % WINDOW - first) % WINDOW < 2 and (slot // WINDOW - second) % WINDOW < 2


@compiled
def _in_use(state, finished: int) -> bool:
    """Return whether the slot of the missing candidate may be read for a cube that is waiting or being read."""
    used = False
    for number in range(finished, state.examined):
        used |= _uses(state.cubes[number % CUBES], state.place)
    return used


@compiled
def _go_on(now: int, state, scene, candidate: int) -> None:
    """Look ahead, from a candidate on: those that are not missing take a cycle each and depend on nothing else."""
    if candidate == TOTAL:
        state.examined += 1
        state.phase = REST
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
def _put_request(state, o_request) -> None:
    """Ask for the present component group of the missing candidate."""
    line = state.place >= LINE_PLACES
    o_request.line = line
    o_request.pair = state.candidate // CANDIDATES
    o_request.slot = state.place % (WINDOW if line else SQUARE)
    o_request.group = state.group
    o_request.index = state.index * state.groups + state.group
    o_request.valid = 1


@compiled
def step(now: int, state, i, o, finished, o_request, vector, scene) -> int:
    """Examine the candidates of the cubes, request the missing blocks, and offer a token when a cube's are all there.

    ``vector``: what the decoder writes in this cycle; the last vector of a block says that the block is there.
    """
    phase = state.phase
    done = vector.valid != 0 and vector.block_last != 0 and vector.appearance == state.appearance
    were_taken, were_finished = state.taken, state.finished
    changed = done or finished.set != 0
    wake = NEVER

    # ---- Cubes that come, are accepted and are read no more ----
    state.there += done
    if finished.set:
        finished.set = 0
        state.finished += 1
    if state.offering and not o.valid:
        state.offering = 0
        state.there -= state.blocks[state.accepted % CUBES]
        state.accepted += 1
        changed = True
    if i.valid and were_taken - were_finished != CUBES:
        i.valid = 0
        cube = state.cubes[were_taken % CUBES]
        cube[0], cube[1], cube[2] = i.x, i.y, i.z
        state.taken += 1
        changed = True

    # ---- The examination ----
    state.activity = BUSY
    if phase == REST:
        if state.examined != were_taken:
            state.blocks[state.examined % CUBES] = 0
            _go_on(now, state, scene, 0)
            changed = True
        elif state.examined == state.accepted:
            state.activity = IDLE
        else:
            state.activity = OUTPUT if state.offering else FACTORS
    elif phase == EXAMINE:
        if now < state.until:
            wake = state.until
        elif not state.missing:
            _go_on(now, state, scene, state.candidate + 1)
            changed = True
        elif not _in_use(state, were_finished):
            state.held[state.place] = state.index
            state.group = 0
            state.phase = REQUEST
            _put_request(state, o_request)
            changed = True
        else:
            state.activity = OUTPUT
    elif o_request.valid:
        state.activity = MEMORY
    else:
        state.blocks[state.examined % CUBES] += 1
        state.group += 1
        changed = True
        if state.group < state.groups:
            _put_request(state, o_request)
        else:
            _go_on(now, state, scene, state.candidate + 1)

    # ---- The token ----
    number = state.accepted % CUBES
    if not state.offering and state.accepted != state.examined and state.there >= state.blocks[number]:
        o.x, o.y, o.z = state.cubes[number, 0], state.cubes[number, 1], state.cubes[number, 2]
        o.valid = 1
        state.offering = 1
        changed = True
    return now + 1 if changed else wake
