"""The cycles of basis and network, sample by sample. RTL: `rtl.mlp_engine`.

Colours change no cycle and are not computed. An input row is issued every cycle unless its activation is not there
yet: a product vector that has not come, or, when all outputs of a layer come from one pass, the first output of that
layer. All outputs follow one a cycle, so no other row ever waits.
"""

import numpy as np

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.scene_image import LAYERS
from sim.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.compiled import compiled

VECTORS = LAYERS[0][0] // COMPONENTS
"""Product vectors of a sample; each feeds as many rows of the basis as it has components."""
TURNAROUND = 11
"""Cycles without a row between two layers when the outputs of the first come from one pass: rows to outputs."""
LAST_ROWS = LAYERS[-1][0]
COLOUR_CYCLES = 15
"""From the last row of the last layer to the colour at the output."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "activity",
            "wake",
            "basis_repeats",
            "hidden",
            "vectors",
            "pixel",
            "weight",
            "in_basis",
            "next_vector",
            "vectors_from",
            "last_layer_from",
            "free_from",
            "colour_at",
            "finishing",
            "offered",
        )
    ]
)
"""Of the configuration: ``basis_repeats``: cycles of the basis' passes behind the first; ``hidden``: from the end of
the basis to the last layer's first row.

``vectors``: taken for the sample in the basis, or for the next; ``in_basis``: the job waits for vectors;
``next_vector``: cycle in which the first row of the next vector is due; ``vectors_from``: cycle from which the next
sample's vectors are taken; ``last_layer_from``: in which the last layer's first row is due; ``free_from``: from which a
job is taken; ``colour_at``: at whose end the colour is put out; ``finishing``: the output register is taken;
``offered``: and offered.
"""


def new(cfg: AcceleratorConfig) -> np.void:
    """Return an engine without a job."""
    state = np.zeros(1, STATE)[0]
    passes = [-(-outputs // cfg.mlp_lanes) for _, outputs in LAYERS]
    rows = [inputs * count for (inputs, _), count in zip(LAYERS, passes, strict=True)]
    state["basis_repeats"] = rows[0] - LAYERS[0][0]
    state["hidden"] = sum(rows[1:-1]) + TURNAROUND * passes[:-1].count(1)
    for name in ("vectors_from", "last_layer_from", "colour_at"):
        state[name] = NEVER
    return state


@compiled
def step(now: int, state, i_job, i_products, o) -> int:
    """Take a vector, take a job, begin the last layer, put a colour out; all other times follow from these."""
    accepted = state.offered and not o.valid
    if (
        now < state.wake
        and not accepted
        and not (i_products.valid and state.vectors != VECTORS)
        and not (i_job.valid and now >= state.free_from)
    ):
        return state.wake
    finishing = state.finishing
    _set_activity(now, state, i_job)
    moved = False

    if now >= state.vectors_from:
        state.vectors = 0
        state.vectors_from = NEVER
    if i_products.valid and state.vectors != VECTORS:
        i_products.valid = 0
        state.vectors += 1
        moved = True
        if state.in_basis:
            state.next_vector = max(state.next_vector, now + 1) + COMPONENTS
            if state.vectors == VECTORS:
                _leave_basis(state)

    if i_job.valid and now >= state.free_from and not (i_job.last and finishing):
        i_job.valid = 0
        moved = True
        if i_job.last:
            o.last = 1
            o.valid = 1
            state.finishing = 1
            state.offered = 1
        else:
            state.pixel, state.weight = i_job.pixel, i_job.weight
            state.free_from = NEVER
            state.in_basis = 1
            state.next_vector = now + 1 + COMPONENTS * state.vectors
            if state.vectors == VECTORS:
                _leave_basis(state)

    if now >= state.last_layer_from and not finishing:
        o.pixel, o.weight, o.last = state.pixel, state.weight, 0
        state.finishing = 1
        state.last_layer_from = NEVER
        state.free_from = now + LAST_ROWS
        state.colour_at = now + LAST_ROWS - 1 + COLOUR_CYCLES - 1
    if now >= state.colour_at:
        o.valid = 1
        state.offered = 1
        state.colour_at = NEVER
        moved = True
    if accepted:
        state.offered = 0
        state.finishing = 0
        moved = True

    state.wake = now + 1 if moved else _next_event(now, state)
    return state.wake


@compiled
def _leave_basis(state) -> None:
    """All vectors of the job are there: its times follow, up to the last layer."""
    state.in_basis = 0
    state.vectors_from = state.next_vector + state.basis_repeats
    state.last_layer_from = state.vectors_from + state.hidden


@compiled
def _set_activity(now: int, state, i_job) -> None:
    """Judge the cycle by what stands at its beginning."""
    if now < state.free_from:
        if state.in_basis and now >= state.next_vector:
            state.activity = IDLE
        elif now >= state.last_layer_from and state.finishing:
            state.activity = OUTPUT
        else:
            state.activity = BUSY
    elif state.finishing and not state.offered:
        state.activity = BUSY
    elif i_job.valid:
        state.activity = OUTPUT if i_job.last and state.finishing else BUSY
    else:
        state.activity = IDLE


@compiled
def _next_event(now: int, state) -> int:
    """Return the next of the times that lie ahead."""
    wake = min(state.vectors_from, state.colour_at)
    if state.in_basis and state.next_vector > now:
        wake = min(wake, state.next_vector)
    if state.free_from > now:
        wake = min(wake, state.free_from)
    if state.last_layer_from > now or not state.finishing:
        wake = min(wake, state.last_layer_from)
    return wake
