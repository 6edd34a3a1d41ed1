"""The cube loader: which factor blocks a cube needs, and which the cube buffer lacks.

RTL: `rtl.factors.cube_loader`.
"""

import numpy as np

from nerf.contract.config import POWERS, WINDOWS, AcceleratorConfig
from nerf.contract.scene_image import PAIRS
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, FACTORS, IDLE, MEMORY, NEVER, OUTPUT

CANDIDATES = 6
"""Blocks that a pair may need: 2 x 2 plane tiles and 2 line blocks; one is examined a cycle."""
STEPS = 2
"""Cycles from a cube that waits to the examination of its first candidate: steps that stand still with it."""
TOTAL = len(PAIRS) * CANDIDATES
CUBES_LIMIT = POWERS["cube_queue"][1]
WINDOW_LIMIT = WINDOWS[1]
PLACES_LIMIT = len(PAIRS) * (WINDOW_LIMIT**2 + WINDOW_LIMIT)
"""Slots of all windows of the largest buffer."""

AXES_OF_PAIR = np.array(PAIRS)

REST, EXAMINE, REQUEST = range(3)

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "appearance", "groups", "phase", "until", "candidate", "missing")]
    + [(name, np.int64) for name in ("cube_queue", "window", "window_bits", "lines_at")]
    + [(name, np.int64) for name in ("taken", "examined", "accepted", "finished", "there", "offering")]
    + [(name, np.int64) for name in ("group", "index", "place")]
    + [
        ("cubes", np.int64, (CUBES_LIMIT, 3)),
        ("came", np.int64, (CUBES_LIMIT,)),
        ("blocks", np.int64, (CUBES_LIMIT,)),
        ("held", np.int64, (PLACES_LIMIT,)),
    ]
)
"""``lines_at``: the first slot of a line: those of the planes come before, pair by pair; ``until``: cycle in which the
next missing ``candidate`` is examined, or else the last; ``taken``, ``examined``, ``accepted``, ``finished``: cubes
that were announced, that were examined, whose tokens were accepted, that are not read any more; ``came``, ``blocks``:
of each of the ``cubes``, the cycle in which it was taken, and how many blocks were requested for it; ``there``: blocks
that are there, without those of accepted tokens; ``index``, ``place``: of the candidate; ``held``: index of the block
in each slot, or -1."""


def new(config: AcceleratorConfig, appearance: bool) -> np.void:
    """Return a loader at rest with an empty window, for density or appearance."""
    state = np.zeros(1, STATE)[0]
    kind = "appearance" if appearance else "density"
    state["appearance"], state["groups"] = appearance, config.groups[kind]
    state["cube_queue"] = config.cube_queue
    state["window"], state["window_bits"] = config.windows[kind], config.window_bits[kind]
    state["lines_at"] = len(PAIRS) * config.windows[kind] ** 2
    state["phase"] = REST
    state["held"] = -1
    return state


@compiled
def _examine(state, scene, candidate: int) -> bool:
    """Find slot and index of one of the 18 blocks; return whether it exists and is not in the buffer."""
    pair, which = candidate // CANDIDATES, candidate % CANDIDATES
    first_axis, second_axis, line_axis = AXES_OF_PAIR[pair, 0], AXES_OF_PAIR[pair, 1], AXES_OF_PAIR[pair, 2]
    cube = state.cubes[state.examined & CUBES_LIMIT - 1]
    if which < 4:
        first, second = cube[first_axis] + (which & 1), cube[second_axis] + (which >> 1)
        exists = first < scene.cubes[first_axis] and second < scene.cubes[second_axis]
        inside = state.window - 1
        state.place = (pair << state.window_bits | second & inside) << state.window_bits | first & inside
        state.index = second * scene.cubes[first_axis] + first
    else:
        block = cube[line_axis] + (which & 1) >> 2
        exists = 16 * block < scene.grid[line_axis]
        state.place = state.lines_at + (pair << state.window_bits) + (block & state.window - 1)
        state.index = block
    return exists and state.held[state.place] != state.index


@compiled
def _uses(state, cube, place: int) -> bool:
    """Return whether a slot may be read for a cube."""
    bits, inside = state.window_bits, state.window - 1
    if place >= state.lines_at:
        pair, slot = place - state.lines_at >> bits, place & inside
        along = cube[AXES_OF_PAIR[pair, 2]]
        return slot == along >> 2 & inside or slot == along + 1 >> 2 & inside
    pair, row = place >> 2 * bits, place >> bits
    first, second = cube[AXES_OF_PAIR[pair, 0]], cube[AXES_OF_PAIR[pair, 1]]
    return (place - first & inside) < 2 and (row - second & inside) < 2


@compiled
def _in_use(state, finished: int) -> bool:
    """Return whether the slot of the missing candidate may be read for a cube that is waiting or being read."""
    used = False
    for number in range(finished, state.examined):
        used |= _uses(state, state.cubes[number & CUBES_LIMIT - 1], state.place)
    return used


@compiled
def _go_on(now: int, state, scene, candidate: int, taken: int) -> None:
    """Go on behind a candidate; behind the last, the next of the cubes that were ``taken`` before has followed it.

    The next cube's first candidate follows at once if that cube waited when the last but one was done: then the steps
    moved for the last time before now.
    """
    if candidate != TOTAL:
        _look_ahead(state, scene, candidate, now + 1)
        return
    moved_before = state.until - 1
    state.examined += 1
    state.phase = REST
    if state.examined != taken:
        waited = state.came[state.examined & CUBES_LIMIT - 1] < moved_before
        _look_ahead(state, scene, 0, now + 1 if waited else now + STEPS)


@compiled
def _look_ahead(state, scene, candidate: int, at: int) -> None:
    """Look ahead, from a candidate on: those that are not missing take a cycle each and depend on nothing else."""
    state.phase = EXAMINE
    state.until = at
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
    line = state.place >= state.lines_at
    o_request.line = line
    o_request.pair = state.candidate // CANDIDATES
    o_request.slot = state.place & (state.window if line else state.window**2) - 1
    o_request.group = state.group
    o_request.index = state.index * state.groups + state.group
    o_request.valid = 1


@merged
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
        state.there -= state.blocks[state.accepted & CUBES_LIMIT - 1]
        state.accepted += 1
        changed = True
    if i.valid and were_taken - were_finished != state.cube_queue:
        i.valid = 0
        cube = state.cubes[were_taken & CUBES_LIMIT - 1]
        cube[0], cube[1], cube[2] = i.x, i.y, i.z
        state.came[were_taken & CUBES_LIMIT - 1] = now
        state.blocks[were_taken & CUBES_LIMIT - 1] = 0
        state.taken += 1
        changed = True

    # ---- The examination ----
    state.activity = BUSY
    if phase == REST:
        if state.examined != were_taken:
            _look_ahead(state, scene, 0, now + STEPS)
            changed = True
        elif state.examined == state.accepted:
            state.activity = IDLE
        else:
            state.activity = OUTPUT if state.offering else FACTORS
    elif phase == EXAMINE:
        if now < state.until:
            wake = state.until
        elif not state.missing:
            _go_on(now, state, scene, state.candidate + 1, were_taken)
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
        state.blocks[state.examined & CUBES_LIMIT - 1] += 1
        state.group += 1
        changed = True
        if state.group < state.groups:
            _put_request(state, o_request)
        else:
            _go_on(now, state, scene, state.candidate + 1, were_taken)

    # ---- The token ----
    number = state.accepted & CUBES_LIMIT - 1
    if not state.offering and state.accepted != state.examined and state.there >= state.blocks[number]:
        o.x, o.y, o.z = state.cubes[number, 0], state.cubes[number, 1], state.cubes[number, 2]
        o.valid = 1
        state.offering = 1
        changed = True
    return now + 1 if changed else wake
