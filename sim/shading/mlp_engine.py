"""When the network takes samples and puts colours out, batch by batch. RTL: `rtl.shading.mlp_engine`.

Colours change no cycle and are not computed. Once a batch is loaded, the cycle in which each layer begins it follows
from those of the batches before, up to the colours, which wait for their reader.
"""

import numpy as np

from nerf.contract.config import AcceleratorConfig
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT

COUNT = 4
"""Layers; also the place behind the last of them, where the colours are."""
OUTPUT_CYCLES = (9, 12, 9)
"""From a stage's last input to the cycle in which its first output can be read: basis, hidden layers, last layer."""
PRODUCT_BANKS = 2
BANKS = (2, 1, 2, 1)
"""Batches that each layer may be ahead of the next: the hidden layers share their lanes."""
BATCHES = 9
"""That can be under way."""
RING = 16
"""Batches whose times are kept, in a circle."""
PLACES = 1024
"""In a circle, for the jobs that are under way: 64 * BATCHES in the largest configuration."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "activity",
            "batch",
            "groups",
            "jobs",
            "transfers",
            "taken",
            "put_out",
            "loaded",
            "computed",
            "hidden",
            "coloured",
            "offered",
        )
    ]
    + [(name, np.int64, (COUNT,)) for name in ("cycles", "delay", "begun")]
    + [(name, np.int64, (COUNT + 1, RING)) for name in ("there_at", "free_at")]
    + [("counts", np.int64, (RING,))]
    + [(name, np.int64, (PLACES,)) for name in ("pixels", "weights")]
)
"""Of the configuration: ``batch``: its samples; ``groups``: transfers of products, a sample; per layer ``cycles``: for
a batch; ``delay``: behind them, until all outputs of its stage are there.

``jobs``, ``transfers``: taken for the next batch; ``taken``, ``put_out``: jobs of the frame; ``loaded``: batches so
far; ``begun``: of those per layer, as far as the cycle is known; ``computed``: of those, whose colours have begun;
``hidden``: of those, behind the hidden layers; per layer and batch ``there_at``: cycle from which its inputs can be
read; ``free_at``: from which they have been; ``counts``: samples of a batch; ``coloured``: those still to be put out;
``offered``: the output register is taken; ``pixels``, ``weights``: of jobs that are not put out, in a circle.
"""


def new(cfg: AcceleratorConfig) -> np.void:
    """Return an engine without a job."""
    state = np.zeros(1, STATE)[0]
    state["batch"], state["groups"] = cfg.mlp_batch, cfg.groups["appearance"]
    for stage, output_cycles in zip(cfg.stages, OUTPUT_CYCLES, strict=True):
        for one in stage.passes:
            state["cycles"][one.layer] += one.cycles
        last = stage.passes[-1]
        state["delay"][last.layer] = output_cycles + last.outputs - 1
    return state


@merged
def step(now: int, state, i_job, i_products, o) -> int:
    """Load a batch, know when each layer begins it, put its colours out."""
    moved = state.offered and not o.valid
    if moved:
        state.offered = 0
    _set_activity(now, state)
    coloured, computed = state.coloured, state.computed
    marker = i_job.valid and i_job.last
    if marker and state.taken == state.put_out and not o.valid:
        i_job.valid = 0
        o.last = o.valid = state.offered = 1
        moved = True
    jobs = state.jobs
    if jobs and state.transfers == state.groups * jobs and (jobs == state.batch or marker):
        _begin(state, now + 1)
        moved = True
    elif _take(now, state, i_job, i_products):
        moved = True
    if coloured:
        moved |= _put_out(state, o)
    elif computed < state.begun[COUNT - 1] and now >= state.there_at[COUNT, computed & RING - 1]:
        state.coloured = state.counts[computed & RING - 1]
        state.computed += 1
        state.free_at[COUNT, computed & RING - 1] = now + 1
        _schedule(state)
        moved = True
    return now + 1 if moved else _next_event(now, state, i_job)


@merged
def _take(now: int, state, i_job, i_products) -> bool:
    """Take products for a job that is there, and a job of the batch."""
    taken = False
    jobs = state.jobs
    if i_products.valid and state.transfers < state.groups * jobs:
        i_products.valid = 0
        state.transfers += 1
        taken = True
    if i_job.valid and not i_job.last and jobs < state.batch and now >= _room_from(state):
        i_job.valid = 0
        place = state.taken & PLACES - 1
        state.pixels[place], state.weights[place] = i_job.pixel, i_job.weight
        state.taken += 1
        state.jobs += 1
        taken = True
    return taken


@merged
def _room_from(state) -> int:
    """Return the cycle from which a batch can be loaded."""
    return state.free_at[0, (state.loaded - PRODUCT_BANKS) & RING - 1]


@compiled
def _begin(state, there_at: int) -> None:
    """Let the batch that is loaded pass on."""
    place = state.loaded & RING - 1
    state.counts[place] = state.jobs
    state.there_at[0, place] = there_at
    state.free_at[0, place] = NEVER
    state.loaded += 1
    state.jobs = state.transfers = 0
    _schedule(state)


@compiled
def _schedule(state) -> None:
    """Find the cycles in which layers begin batches, as far as they can be known."""
    layer = COUNT - 1
    while layer >= 0:
        layer = COUNT - 1 if _schedule_layer(state, layer) else layer - 1


@compiled
def _schedule_layer(state, layer: int) -> bool:
    """Find the cycle in which a layer begins its next batch; return whether it is known."""
    batch = state.begun[layer]
    if batch == (state.begun[layer - 1] if layer else state.loaded):
        return False
    place = batch & RING - 1
    begin = max(
        state.there_at[layer, place],
        state.free_at[layer, (batch - 1) & RING - 1],
        state.free_at[layer + 1, (batch - BANKS[layer]) & RING - 1],
    )
    if begin == NEVER:
        return False
    state.begun[layer] += 1
    state.free_at[layer, place] = begin + state.cycles[layer]
    state.there_at[layer + 1, place] = begin + state.cycles[layer] + state.delay[layer]
    state.free_at[layer + 1, place] = NEVER
    return True


@merged
def _put_out(state, o) -> bool:
    """Put a colour out, if there is room."""
    if o.valid:
        return False
    place = state.put_out & PLACES - 1
    o.pixel, o.weight, o.last = state.pixels[place], state.weights[place], 0
    o.valid = state.offered = 1
    state.put_out += 1
    state.coloured -= 1
    return True


@merged
def _hidden_times(now: int, state) -> tuple[int, int, int, int]:
    """Return when the hidden layers begin and end, one after the other, for the batch that they have or wait for."""
    while state.hidden < state.begun[2] and state.free_at[2, state.hidden & RING - 1] <= now:
        state.hidden += 1
    place = state.hidden & RING - 1
    first_end = state.free_at[1, place] if state.hidden < state.begun[1] else NEVER
    second_end = state.free_at[2, place] if state.hidden < state.begun[2] else NEVER
    return first_end - state.cycles[1], first_end, second_end - state.cycles[2], second_end


@merged
def _set_activity(now: int, state) -> None:
    """Judge the engine by the hidden layers, which hold the others up."""
    first, first_end, second, _ = _hidden_times(now, state)
    if now < first:
        state.activity = IDLE
    else:
        state.activity = BUSY if now < first_end or now >= second else OUTPUT


@merged
def _next_event(now: int, state, i_job) -> int:
    """Return the next of the times that lie ahead."""
    wake = NEVER
    for time in _hidden_times(now, state):
        if time > now:
            wake = min(wake, time)
    if i_job.valid and _room_from(state) > now:
        wake = min(wake, _room_from(state))
    computed = state.computed
    if computed < state.begun[COUNT - 1] and not state.coloured:
        wake = min(wake, state.there_at[COUNT, computed & RING - 1])
    return wake
