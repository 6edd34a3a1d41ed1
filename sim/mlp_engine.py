"""When the network takes samples and puts colours out, batch by batch. RTL: `rtl.mlp_engine`.

Colours change no cycle and are not computed. From a batch's first row on, a row is issued every cycle, unless all
outputs of a layer come from one pass: then the next layer waits for the first of them. All others follow one a cycle.
"""

import numpy as np

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.scene_image import LAYERS
from sim.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.compiled import compiled

VECTORS = LAYERS[0][0] // COMPONENTS
"""Product vectors of a sample."""
TURNAROUND = 11
"""Cycles without a row between two layers when the outputs of the first come from one pass: rows to outputs."""
LAST_ROWS = LAYERS[-1][0]
COLOUR_CYCLES = 15
"""From the last row of the last layer to the first colour at the output."""
PLACES = 96
"""Of the largest configuration: jobs of a batch that is loaded, of one that is computed, of one that is put out."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "activity",
            "batch",
            "basis",
            "hidden",
            "jobs",
            "vectors",
            "taken",
            "put_out",
            "computed",
            "coloured",
            "used_at",
            "last_layer_from",
            "free_from",
            "colours_from",
            "finishing",
            "offered",
        )
    ]
    + [(name, np.int64, (PLACES,)) for name in ("pixels", "weights")]
)
"""Of the configuration: ``batch``: its samples; ``basis``: rows of the basis; ``hidden``: from the end of the basis to
the last layer's first row.

``jobs``, ``vectors``: taken for the next batch; ``taken``, ``put_out``: jobs of the frame; ``computed``: samples of
the batch behind the basis; ``coloured``: those still to be put out; ``used_at``: cycle from which the vectors of
another batch are taken; ``last_layer_from``: in which the last layer's first row is due; ``free_from``: from which a
batch can begin; ``colours_from``: at whose end the first colour is put out; ``finishing``: the output register is
taken; ``offered``: and offered; ``pixels``, ``weights``: of jobs that are not put out, in a circle.
"""


def new(cfg: AcceleratorConfig) -> np.void:
    """Return an engine without a job."""
    state = np.zeros(1, STATE)[0]
    passes = [-(-outputs // cfg.mlp_lanes) for _, outputs in LAYERS]
    rows = [inputs * count for (inputs, _), count in zip(LAYERS, passes, strict=True)]
    state["batch"] = cfg.mlp_batch
    state["basis"] = rows[0]
    state["hidden"] = sum(rows[1:-1]) + TURNAROUND * passes[:-1].count(1)
    for name in ("used_at", "last_layer_from"):
        state[name] = NEVER
    return state


@compiled
def step(now: int, state, i_job, i_products, o) -> int:
    """Load a batch, begin it, begin its last layer, put its colours out; all other times follow from these."""
    accepted = state.offered and not o.valid
    finishing = state.finishing
    if accepted:
        state.offered = 0
        state.finishing = state.coloured > 0
    if now >= state.used_at:
        state.computed = state.jobs
        state.jobs = state.vectors = 0
        state.used_at = NEVER
    marker = i_job.valid and i_job.last
    jobs = state.jobs
    whole = jobs > 0 and state.vectors == VECTORS * jobs and (jobs == state.batch or marker)
    computing = whole or now < state.free_from

    taken = _take(state, i_job, i_products, jobs)
    if marker and jobs == 0 and state.last_layer_from == NEVER and not finishing:
        i_job.valid = 0
        o.last = 1
        _offer(state, o)
        state.finishing = 1
        taken = True
    _set_activity(now, state, computing, taken, finishing, accepted)

    if whole and now >= state.free_from:
        state.used_at = now + state.basis
        state.last_layer_from = state.used_at + state.hidden
        state.free_from = NEVER
    if now >= state.last_layer_from and not finishing:
        state.finishing = 1
        state.coloured = state.computed
        state.last_layer_from = NEVER
        state.free_from = now + LAST_ROWS
        state.colours_from = now + LAST_ROWS - 1 + COLOUR_CYCLES - 1
    if state.coloured and now >= state.colours_from and not o.valid:
        place = state.put_out % PLACES
        o.pixel, o.weight, o.last = state.pixels[place], state.weights[place], 0
        _offer(state, o)
        state.put_out += 1
        state.coloured -= 1
        taken = True
    return now + 1 if taken or accepted else _next_event(now, state)


@compiled
def _offer(state, o) -> None:
    o.valid = 1
    state.offered = 1


@compiled
def _take(state, i_job, i_products, jobs: int) -> bool:
    """Take a vector for a job that is there, and a job of the batch."""
    taken = False
    if i_products.valid and state.vectors < VECTORS * jobs:
        i_products.valid = 0
        state.vectors += 1
        taken = True
    if i_job.valid and not i_job.last and jobs < state.batch:
        i_job.valid = 0
        place = state.taken % PLACES
        state.pixels[place], state.weights[place] = i_job.pixel, i_job.weight
        state.taken += 1
        state.jobs += 1
        taken = True
    return taken


@compiled
def _set_activity(now: int, state, computing: bool, taken: bool, finishing: int, accepted: bool) -> None:
    """Judge the cycle by what stands at its beginning: a batch, colours on their way, jobs or vectors that come."""
    if computing:
        state.activity = OUTPUT if now >= state.last_layer_from and finishing else BUSY
    elif finishing:
        state.activity = OUTPUT if state.offered and not accepted else BUSY
    else:
        state.activity = BUSY if taken else IDLE


@compiled
def _next_event(now: int, state) -> int:
    """Return the next of the times that lie ahead."""
    wake = state.used_at
    if state.last_layer_from > now or not state.finishing:
        wake = min(wake, state.last_layer_from)
    if state.free_from > now:
        wake = min(wake, state.free_from)
    if state.coloured and state.colours_from > now:
        wake = min(wake, state.colours_from)
    return wake
