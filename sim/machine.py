"""The whole accelerator: every block, wired, cycle by cycle. RTL: `rtl.accelerator`.

A block is stepped only in cycles in which something can change for it: when it or a block that it shares a stream with
has changed in this cycle or the one before, or when the cycle has come that its last step named. In all other cycles
it would do what it did before; cycles without any such block are not simulated at all.
"""

from typing import Any, NamedTuple

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import Regions, rows_of_tiles
from nerf.contract.registers import View
from nerf.golden.frame import DecodedScene
from nerf.golden.ray_setup import set_up
from rtnerf.base.compiled import compiled, inlined
from sim.control import frame_controller, registers, scene_loader, tile_scheduler
from sim.factors import block_fetch, cube_loader, cube_sequencer, hybrid_decoder, interpolator, tree_server
from sim.memory import memory, read_master, write_master
from sim.parts import queue, streams
from sim.parts.activity import NAMES, NEVER
from sim.samples import cube_list, occupancy_walker, projector, ray_setup, sample_generator, uniform_sampler
from sim.shading import appearance, compositor, density, mlp_engine, product_buffer, tile_buffer

PROBES = (
    "rays", "visits", "footprints", "rectangles", "density_cubes", "appearance_cubes", "jobs", "density_requests",
    "appearance_requests", "samples", "opaque", "visible", "shade_jobs", "coloured", "pixels",
)  # fmt: skip
"""Streams whose transfers are recorded, as `rtl.accelerator.probes`."""
TRACE_LENGTH = 1 << 16
TRACE = np.dtype(
    [
        ("recording", np.int64),
        ("count", np.int64),
        ("entries", np.int64, (TRACE_LENGTH + len(PROBES), 2)),
    ]
)
"""``entries``: cycle and stream of each transfer, in order of time."""


class Blocks(NamedTuple):
    """The blocks' states, in the order in which they step: consumers before producers."""

    memory: Any
    read_master: Any
    write_master: Any
    tree_server: Any
    tile_buffer: Any
    mlp_engine: Any
    appearance: Any
    product_buffer: Any
    appearance_interpolator: Any
    visible_samples: Any
    cube_sequencer: Any
    compositor: Any
    density: Any
    density_interpolator: Any
    density_samples: Any
    hybrid_decoder: Any
    block_fetch: Any
    appearance_loader: Any
    density_loader: Any
    sample_generator: Any
    cube_list: Any
    projector: Any
    ray_setup: Any
    scene_loader: Any
    frame_controller: Any
    occupancy_walker: Any
    tile_scheduler: Any
    uniform_sampler: Any


(
    MEMORY, READ_MASTER, WRITE_MASTER, TREE_SERVER, TILE_BUFFER, MLP_ENGINE, APPEARANCE, PRODUCT_BUFFER,
    APPEARANCE_INTERPOLATOR, VISIBLE_SAMPLES, CUBE_SEQUENCER, COMPOSITOR, DENSITY, DENSITY_INTERPOLATOR,
    DENSITY_SAMPLES, HYBRID_DECODER, BLOCK_FETCH, APPEARANCE_LOADER, DENSITY_LOADER, SAMPLE_GENERATOR, CUBE_LIST,
    PROJECTOR, RAY_SETUP, SCENE_LOADER, FRAME_CONTROLLER, OCCUPANCY_WALKER, TILE_SCHEDULER, UNIFORM_SAMPLER,
) = range(len(Blocks._fields))  # fmt: skip

CLIENTS = (SCENE_LOADER, OCCUPANCY_WALKER, SAMPLE_GENERATOR, BLOCK_FETCH, BLOCK_FETCH, CUBE_LIST)
"""Blocks behind the clients of the read master, by number."""
TREE_REQUESTERS = (DENSITY_INTERPOLATOR, HYBRID_DECODER, OCCUPANCY_WALKER)
TREE_CLIENTS = (DENSITY, HYBRID_DECODER, OCCUPANCY_WALKER)
"""Blocks that ask the tree, and that take its responses, by number of the client."""

_CONNECTED = {
    MEMORY: (READ_MASTER, WRITE_MASTER),
    TREE_SERVER: (DENSITY, DENSITY_INTERPOLATOR, HYBRID_DECODER, OCCUPANCY_WALKER),
    TILE_BUFFER: (WRITE_MASTER, MLP_ENGINE, TILE_SCHEDULER),
    APPEARANCE: (MLP_ENGINE, APPEARANCE_INTERPOLATOR, PRODUCT_BUFFER),
    PRODUCT_BUFFER: (MLP_ENGINE, APPEARANCE_INTERPOLATOR),
    APPEARANCE_INTERPOLATOR: (MLP_ENGINE, VISIBLE_SAMPLES, APPEARANCE_LOADER),
    CUBE_SEQUENCER: (VISIBLE_SAMPLES, COMPOSITOR, APPEARANCE_LOADER),
    DENSITY: (COMPOSITOR, DENSITY_INTERPOLATOR),
    DENSITY_INTERPOLATOR: (DENSITY_SAMPLES, DENSITY_LOADER),
    BLOCK_FETCH: (HYBRID_DECODER, APPEARANCE_LOADER, DENSITY_LOADER),
    SAMPLE_GENERATOR: (DENSITY_SAMPLES, DENSITY_LOADER, CUBE_LIST),
    CUBE_LIST: (WRITE_MASTER, PROJECTOR, TILE_SCHEDULER),
    UNIFORM_SAMPLER: (DENSITY_SAMPLES, DENSITY_LOADER, TILE_SCHEDULER),
    OCCUPANCY_WALKER: (PROJECTOR, FRAME_CONTROLLER),
    TILE_SCHEDULER: (RAY_SETUP, FRAME_CONTROLLER),
    SCENE_LOADER: (FRAME_CONTROLLER,),
}
"""Blocks that share a stream or a strobe; what concerns one client of memory or tree is told to that one alone."""
NEIGHBOURS = np.zeros(len(Blocks._fields), np.int64)
for _one, _others in _CONNECTED.items():
    for _other in _others:
        NEIGHBOURS[_one] |= 1 << _other
        NEIGHBOURS[_other] |= 1 << _one
# Its grants and responses concern one client each.
NEIGHBOURS[TREE_SERVER] = 0

CLOCK = np.dtype(
    [(name, np.int64) for name in ("todo", "following", "earliest", "steps")]
    + [(name, np.int64, (len(Blocks._fields),)) for name in ("wake", "doing", "since")]
    + [("spent", np.int64, (len(Blocks._fields), len(NAMES)))]
)
"""``todo``, ``following``: blocks to be stepped in this cycle and in the next, as bits; ``wake``: cycle that each
block has named, and ``earliest`` of them; ``doing``: what each block does, ``since`` which cycle; ``spent``: cycles
that it has spent on each activity before; ``steps``: cycles that were simulated."""


STROBES = (
    "start", "load", "loaded", "render", "walk_cubes", "set_up", "rays_ready", "walk", "walked", "tile_done",
    "rendered", "finished",
)  # fmt: skip


class Wires(NamedTuple):
    """The streams and strobes between the blocks."""

    burst: Any
    beat: Any
    write_address: Any
    write_data: Any
    answer: Any
    read_requests: Any
    tree_requests: Any
    tree_responses: Any
    rays: Any
    visits: Any
    footprints: Any
    list_writes: Any
    rectangles: Any
    samples: Any
    sampled_cubes: Any
    queued_samples: Any
    density_cubes: Any
    density_finished: Any
    density_requests: Any
    jobs: Any
    payload: Any
    vector: Any
    interpolated_samples: Any
    opaque: Any
    visible: Any
    sequenced: Any
    visible_cubes: Any
    queued_visible: Any
    appearance_cubes: Any
    appearance_finished: Any
    appearance_requests: Any
    visible_interpolated: Any
    interpolated_products: Any
    shaded: Any
    products: Any
    shade_jobs: Any
    coloured: Any
    pixels: Any
    set_up_tile: Any
    walk_tile: Any
    put_out_tile: Any
    start: Any
    load: Any
    loaded: Any
    render: Any
    walk_cubes: Any
    set_up: Any
    rays_ready: Any
    walk: Any
    walked: Any
    tile_done: Any
    rendered: Any
    finished: Any


class Frame(NamedTuple):
    """What stands still during a frame, and arrays by pixel."""

    scene: Any
    camera: Any
    image: np.ndarray
    lists: Any
    """Of cubes, in memory."""
    uniform: bool
    """Rays are sampled uniformly, not cube by cube; modelled only."""
    deferred: bool
    """Shading is."""
    rank: np.ndarray
    windows: np.ndarray
    bases: np.ndarray
    planes: tuple[np.ndarray, ...]
    lines: tuple[np.ndarray, ...]
    alpha_table: np.ndarray
    rays: np.ndarray
    """First sample, step and inverse step of all window pixels, int64 (pixels, 3, 3)."""
    live: np.ndarray
    tile_position: np.ndarray
    """These and the following by pixel: (parity of its tile * tile + row) * tile + column."""
    tile_step: np.ndarray
    tile_inverse: np.ndarray
    tile_live: np.ndarray
    transmittance: np.ndarray
    terminated_from: np.ndarray


SCENE_BASE = 0
"""Address of the scene image in memory."""
AFTER_RESET = 2
"""Cycle of a frame in which the blocks begin: it starts in cycle 0, and they are reset in the next."""


def new_blocks(config: AcceleratorConfig, memory_state: np.void, regions: Regions, view: View) -> Blocks:
    """Return all blocks as they are when a frame starts."""
    return Blocks(
        memory=memory_state,
        read_master=read_master.new(),
        write_master=write_master.new(regions.frame_base, view.window_width),
        tree_server=tree_server.new(),
        tile_buffer=tile_buffer.new(),
        mlp_engine=mlp_engine.new(config),
        appearance=appearance.new(),
        product_buffer=product_buffer.new(config),
        appearance_interpolator=interpolator.new(3),
        visible_samples=queue.new(config.sample_queue),
        cube_sequencer=cube_sequencer.new(),
        compositor=compositor.new(),
        density=density.new(),
        density_interpolator=interpolator.new(1),
        density_samples=queue.new(config.sample_queue),
        hybrid_decoder=hybrid_decoder.new(),
        block_fetch=block_fetch.new(config),
        appearance_loader=cube_loader.new(True),
        density_loader=cube_loader.new(False),
        sample_generator=sample_generator.new(config),
        cube_list=cube_list.new(regions.list_base, config.tile, AFTER_RESET),
        projector=projector.new(),
        ray_setup=ray_setup.new(config),
        scene_loader=scene_loader.new(),
        frame_controller=frame_controller.new(),
        occupancy_walker=occupancy_walker.new(),
        tile_scheduler=tile_scheduler.new(config.tile),
        uniform_sampler=uniform_sampler.new(config.tile),
    )


def new_wires(shading: str) -> Wires:
    """Return all streams and strobes at rest, but for the strobe that starts a frame.

    If shading is not deferred, nothing lies between the appearance interpolator and what follows it.
    """
    of = streams.new
    interpolated, products = of(streams.SAMPLE), of(streams.PRODUCTS)
    deferred = shading == "deferred"
    wires = Wires(
        burst=of(streams.BURST),
        beat=of(streams.READ_BEAT),
        write_address=of(streams.WRITE),
        write_data=of(streams.WRITE_DATA),
        answer=of(streams.ANSWER),
        read_requests=np.zeros(memory.CLIENTS, streams.READ_REQUEST),
        tree_requests=np.zeros(tree_server.CLIENTS, streams.TREE_REQUEST),
        tree_responses=np.zeros(tree_server.CLIENTS, streams.TREE_RESPONSE),
        rays=of(streams.RAY),
        visits=of(streams.VISIT),
        footprints=of(streams.FOOTPRINT),
        list_writes=of(streams.WRITE),
        rectangles=of(streams.RECTANGLE),
        samples=of(streams.SAMPLE),
        sampled_cubes=of(streams.CUBE),
        queued_samples=of(streams.SAMPLE),
        density_cubes=of(streams.CUBE),
        density_finished=of(streams.STROBE),
        density_requests=of(streams.BLOCK_REQUEST),
        jobs=of(streams.DECODE_JOB),
        payload=of(streams.READ_BEAT),
        vector=of(streams.VECTOR),
        interpolated_samples=of(streams.SAMPLE),
        opaque=of(streams.SAMPLE),
        visible=of(streams.SAMPLE),
        sequenced=of(streams.SAMPLE),
        visible_cubes=of(streams.CUBE),
        queued_visible=of(streams.SAMPLE),
        appearance_cubes=of(streams.CUBE),
        appearance_finished=of(streams.STROBE),
        appearance_requests=of(streams.BLOCK_REQUEST),
        visible_interpolated=interpolated,
        interpolated_products=products,
        shaded=of(streams.SAMPLE) if deferred else interpolated,
        products=of(streams.PRODUCTS) if deferred else products,
        shade_jobs=of(streams.SHADE_JOB),
        coloured=of(streams.COLOURED),
        pixels=of(streams.PIXEL),
        **{name: of(streams.TILE) for name in ("set_up_tile", "walk_tile", "put_out_tile")},
        **{name: of(streams.STROBE) for name in STROBES},
    )
    wires.start["set"] = 1
    return wires


def new_frame(decoded: DecodedScene, view: View, config: AcceleratorConfig, uniform: bool = False) -> Frame:
    """Return the constants of a frame: registers, scene, and the rays of all pixels."""
    row, column = np.divmod(np.arange(view.window_height * view.window_width, dtype=np.int64), view.window_width)
    rays = set_up(column, row, view, decoded.scene.grid)
    pixels = tile_scheduler.TILES * config.tile**2
    return Frame(
        scene=registers.scene_registers(decoded.scene),
        camera=registers.view_registers(view),
        image=np.frombuffer(decoded.scene.data, np.uint8),
        lists=cube_list.new_lists(decoded.scene.live_cubes, rows_of_tiles(view, config)),
        uniform=uniform,
        deferred=config.shading == "deferred",
        rank=decoded.rank,
        windows=decoded.windows,
        bases=decoded.bases,
        planes=decoded.density.planes,
        lines=decoded.density.lines,
        alpha_table=decoded.alpha_table,
        rays=np.stack([rays.position, rays.step, rays.inverse], axis=1),
        live=rays.live.astype(np.int64),
        tile_position=np.zeros((pixels, 3), np.int64),
        tile_step=np.zeros((pixels, 3), np.int64),
        tile_inverse=np.zeros((pixels, 3), np.int64),
        tile_live=np.zeros(pixels, np.int64),
        transmittance=np.zeros(pixels, np.int64),
        terminated_from=np.zeros(pixels, np.int64),
    )


@compiled
def _take_tile(frame, tile, size: int) -> None:
    """Copy the rays of a tile from those of the window."""
    for row in range(tile.last_y + 1):
        for column in range(tile.last_x + 1):
            pixel = (tile.y + row) * frame.camera.window_width + tile.x + column
            at = (tile.parity * size + row) * size + column
            frame.tile_live[at] = frame.live[pixel]
            for axis in range(3):
                frame.tile_position[at, axis] = frame.rays[pixel, 0, axis]
                frame.tile_step[at, axis] = frame.rays[pixel, 1, axis]
                frame.tile_inverse[at, axis] = frame.rays[pixel, 2, axis]


def new_clock() -> np.void:
    """Return a clock at cycle 0: every block is to be stepped."""
    clock = np.zeros(1, CLOCK)[0]
    clock["following"] = (1 << len(Blocks._fields)) - 1
    clock["wake"] = NEVER
    clock["earliest"] = NEVER
    return clock


@compiled
def _begin(clock, now: int) -> None:
    """Find the blocks to be stepped in a cycle."""
    clock.todo = clock.following
    clock.following = 0
    clock.steps += 1
    if clock.earliest <= now:
        clock.earliest = NEVER
        for block in range(len(clock.wake)):
            if clock.wake[block] <= now:
                clock.todo |= 1 << block
            else:
                clock.earliest = min(clock.earliest, clock.wake[block])


@compiled
def _rouse(clock, block: int) -> None:
    """Have a block stepped in this cycle, if its turn is still to come, and in the next."""
    clock.todo |= 1 << block
    clock.following |= 1 << block


@compiled
def _settle(clock, now: int, block: int, wake: int, activity: int) -> None:
    """Note the outcome of a block's step: a change concerns its neighbours, in this cycle and the next."""
    clock.wake[block] = wake
    if wake == now + 1:
        clock.todo |= NEIGHBOURS[block]
        clock.following |= NEIGHBOURS[block] | 1 << block
        clock.wake[block] = NEVER
    else:
        clock.earliest = min(clock.earliest, wake)
    if activity != clock.doing[block]:
        clock.spent[block, clock.doing[block]] += now - clock.since[block]
        clock.doing[block] = activity
        clock.since[block] = now


def settle_all(clock: np.void, now: int) -> None:
    """Add up what every block has done before a cycle."""
    for block, activity in enumerate(clock["doing"]):
        clock["spent"][block, activity] += now - clock["since"][block]
        clock["since"][block] = now


@compiled
def _record(trace, now: int, probe: int, before: int, stream) -> None:
    """Record a transfer: the stream was valid before its consumer's step, and is not any more."""
    if trace.recording and before and not stream.valid:
        trace.entries[trace.count, 0] = now
        trace.entries[trace.count, 1] = probe
        trace.count += 1


@inlined
def _offer(now: int, b, w, clock) -> None:
    """First phase of a cycle: what is put up without a step, and who is to look at it."""
    if clock.todo >> MEMORY & 1:
        waits = w.beat.valid
        memory.offer(now, b.memory, w.beat, w.answer)
        if w.beat.valid and not waits:
            clock.todo |= 1 << CLIENTS[w.beat.client]
        if w.answer.valid:
            clock.todo |= 1 << WRITE_MASTER
    if clock.todo >> TREE_SERVER & 1:
        for client in range(len(TREE_CLIENTS)):
            waits = w.tree_responses[client].valid
            tree_server.offer(now, b.tree_server, client, w.tree_responses[client])
            if w.tree_responses[client].valid and not waits:
                clock.todo |= 1 << TREE_CLIENTS[client]
    if clock.todo >> HYBRID_DECODER & 1:
        hybrid_decoder.offer(now, b.hybrid_decoder, w.vector)
        if w.vector.valid and w.vector.block_last:
            clock.todo |= 1 << (APPEARANCE_LOADER if w.vector.appearance else DENSITY_LOADER)
    if clock.todo >> OCCUPANCY_WALKER & 1:
        waits = w.visits.valid
        occupancy_walker.offer(now, b.occupancy_walker, w.tree_responses[2], w.visits)
        if w.visits.valid and not waits:
            clock.todo |= 1 << PROJECTOR
    if clock.todo >> CUBE_SEQUENCER & 1:
        waits, cube_waits = w.sequenced.valid, w.visible_cubes.valid
        cube_sequencer.offer(now, b.cube_sequencer, w.visible, w.sequenced, w.visible_cubes)
        if w.sequenced.valid and not waits:
            clock.todo |= 1 << VISIBLE_SAMPLES
        if w.visible_cubes.valid and not cube_waits:
            clock.todo |= 1 << APPEARANCE_LOADER


@inlined
def _step_bus(now: int, b, w, clock, trace) -> None:
    """Memory, the bus masters and the tree: they decide on what is asked for when the cycle begins."""
    if clock.todo >> MEMORY & 1:
        wake = memory.step(now, b.memory, w.burst, w.write_address, w.write_data, w.answer)
        _settle(clock, now, MEMORY, wake, b.memory.activity)
    if clock.todo >> READ_MASTER & 1:
        wake = read_master.step(now, b.read_master, w.read_requests, w.burst)
        _settle(clock, now, READ_MASTER, wake, b.read_master.activity)
        if wake == now + 1:
            _rouse(clock, CLIENTS[b.read_master.last])
    if clock.todo >> WRITE_MASTER & 1:
        before = w.pixels.valid
        wake = write_master.step(now, b.write_master, w.pixels, w.list_writes, w.write_address, w.write_data, w.answer)
        _record(trace, now, 14, before, w.pixels)
        _settle(clock, now, WRITE_MASTER, wake, b.write_master.activity)
    if clock.todo >> TREE_SERVER & 1:
        asked = b.tree_server.in_flight
        wake = tree_server.step(now, b.tree_server, w.tree_requests, w.tree_responses)
        _settle(clock, now, TREE_SERVER, wake, b.tree_server.activity)
        if b.tree_server.in_flight != asked:
            _rouse(clock, TREE_REQUESTERS[b.tree_server.last])


@compiled
def _settle_client(clock, now: int, block: int, wake: int, activity: int, request, beat_before: int, beat) -> None:
    """Settle a client of the read master: a request or an accepted beat concerns the bus."""
    _settle(clock, now, block, wake, activity)
    if request.valid:
        clock.following |= 1 << READ_MASTER
    if beat_before and not beat.valid:
        clock.following |= 1 << MEMORY


@inlined
def _step_colours(now: int, b, w, frame, clock, trace) -> None:
    """From pixels back to visible samples."""
    if clock.todo >> TILE_BUFFER & 1:
        before = w.coloured.valid
        wake = tile_buffer.step(now, b.tile_buffer, w.put_out_tile, w.coloured, w.pixels, w.tile_done)
        _record(trace, now, 13, before, w.coloured)
        _settle(clock, now, TILE_BUFFER, wake, b.tile_buffer.activity)
    if clock.todo >> MLP_ENGINE & 1:
        before = w.shade_jobs.valid
        wake = mlp_engine.step(now, b.mlp_engine, w.shade_jobs, w.products, w.coloured)
        _record(trace, now, 12, before, w.shade_jobs)
        _settle(clock, now, MLP_ENGINE, wake, b.mlp_engine.activity)
    if clock.todo >> APPEARANCE & 1:
        wake = appearance.step(now, b.appearance, w.shaded, w.shade_jobs)
        _settle(clock, now, APPEARANCE, wake, b.appearance.activity)
    if frame.deferred and clock.todo >> PRODUCT_BUFFER & 1:
        wake = product_buffer.step(
            now, b.product_buffer, w.visible_interpolated, w.interpolated_products, w.shaded, w.products
        )
        _settle(clock, now, PRODUCT_BUFFER, wake, b.product_buffer.activity)
    if clock.todo >> APPEARANCE_INTERPOLATOR & 1:
        before = w.appearance_cubes.valid
        wake = interpolator.step(
            now, b.appearance_interpolator, w.queued_visible, w.appearance_cubes, w.appearance_finished,
            w.visible_interpolated, w.interpolated_products,
        )  # fmt: skip
        _record(trace, now, 5, before, w.appearance_cubes)
        _settle(clock, now, APPEARANCE_INTERPOLATOR, wake, b.appearance_interpolator.activity)
    if clock.todo >> VISIBLE_SAMPLES & 1:
        wake = queue.step(now, b.visible_samples, w.sequenced, w.queued_visible)
        _settle(clock, now, VISIBLE_SAMPLES, wake, b.visible_samples.activity)


@inlined
def _step_samples(now: int, b, w, frame, clock, trace) -> None:
    """From visible samples back to samples."""
    if clock.todo >> CUBE_SEQUENCER & 1:
        before = w.visible.valid
        wake = cube_sequencer.step(now, b.cube_sequencer, w.visible, w.sequenced, w.visible_cubes)
        _record(trace, now, 11, before, w.visible)
        _settle(clock, now, CUBE_SEQUENCER, wake, b.cube_sequencer.activity)
    if clock.todo >> COMPOSITOR & 1:
        before = w.opaque.valid
        wake = compositor.step(
            now, b.compositor, frame.camera, w.opaque, w.visible, frame.transmittance, frame.terminated_from
        )
        _record(trace, now, 10, before, w.opaque)
        _settle(clock, now, COMPOSITOR, wake, b.compositor.activity)
    if clock.todo >> DENSITY & 1:
        wake = density.step(
            now, b.density, w.interpolated_samples, w.tree_responses[0], frame.scene, w.opaque,
            frame.planes, frame.lines, frame.alpha_table,
        )  # fmt: skip
        _settle(clock, now, DENSITY, wake, b.density.activity)
    if clock.todo >> DENSITY_INTERPOLATOR & 1:
        before = w.density_cubes.valid
        wake = interpolator.step(
            now, b.density_interpolator, w.queued_samples, w.density_cubes, w.density_finished,
            w.interpolated_samples, w.tree_requests[0],
        )  # fmt: skip
        _record(trace, now, 4, before, w.density_cubes)
        _settle(clock, now, DENSITY_INTERPOLATOR, wake, b.density_interpolator.activity)
    if clock.todo >> DENSITY_SAMPLES & 1:
        before = w.samples.valid
        wake = queue.step(now, b.density_samples, w.samples, w.queued_samples)
        _record(trace, now, 9, before, w.samples)
        _settle(clock, now, DENSITY_SAMPLES, wake, b.density_samples.activity)


@inlined
def _step_factors(now: int, b, w, frame, clock, trace) -> None:
    """From decoded vectors back to the blocks that are wanted."""
    if clock.todo >> HYBRID_DECODER & 1:
        before = w.jobs.valid
        wake = hybrid_decoder.step(
            now, b.hybrid_decoder, w.jobs, w.payload, w.tree_requests[1], w.tree_responses[1], frame.image
        )
        _record(trace, now, 6, before, w.jobs)
        _settle(clock, now, HYBRID_DECODER, wake, b.hybrid_decoder.activity)
    if clock.todo >> BLOCK_FETCH & 1:
        beat = w.beat.valid
        before, before_appearance = w.density_requests.valid, w.appearance_requests.valid
        wake = block_fetch.step(
            now, b.block_fetch, w.density_requests, w.appearance_requests, frame.scene, w.read_requests[3],
            w.read_requests[4], w.beat, w.jobs, w.payload, frame.image,
        )  # fmt: skip
        _record(trace, now, 7, before, w.density_requests)
        _record(trace, now, 8, before_appearance, w.appearance_requests)
        _settle_client(clock, now, BLOCK_FETCH, wake, b.block_fetch.activity, w.read_requests[3], beat, w.beat)
        if w.read_requests[4].valid:
            clock.following |= 1 << READ_MASTER
    if clock.todo >> APPEARANCE_LOADER & 1:
        wake = cube_loader.step(
            now, b.appearance_loader, w.visible_cubes, w.appearance_cubes, w.appearance_finished,
            w.appearance_requests, w.vector, frame.scene,
        )  # fmt: skip
        _settle(clock, now, APPEARANCE_LOADER, wake, b.appearance_loader.activity)
    if clock.todo >> DENSITY_LOADER & 1:
        wake = cube_loader.step(
            now, b.density_loader, w.sampled_cubes, w.density_cubes, w.density_finished, w.density_requests,
            w.vector, frame.scene,
        )  # fmt: skip
        _settle(clock, now, DENSITY_LOADER, wake, b.density_loader.activity)


@inlined
def _step_cubes(now: int, b, w, frame, listed: bool, clock, trace) -> None:
    """From samples back to the cubes that are projected."""
    if clock.todo >> SAMPLE_GENERATOR & 1:
        beat = w.beat.valid
        before = w.rectangles.valid
        wake = sample_generator.step(
            now, b.sample_generator, frame.scene, frame.camera, SCENE_BASE, w.rectangles, w.read_requests[2],
            w.beat, w.sampled_cubes, w.samples, frame.tile_position, frame.tile_step, frame.tile_inverse,
            frame.terminated_from, frame.windows, frame.bases,
        )  # fmt: skip
        _record(trace, now, 3, before, w.rectangles)
        _settle_client(
            clock, now, SAMPLE_GENERATOR, wake, b.sample_generator.activity, w.read_requests[2], beat, w.beat
        )
    if clock.todo >> CUBE_LIST & 1 and not frame.uniform:
        beat = w.beat.valid
        before = w.footprints.valid
        wake = cube_list.step(
            now, b.cube_list, w.footprints, w.list_writes, listed, w.walk, w.walk_tile, w.read_requests[5], w.beat,
            w.rectangles, w.walked, frame.lists,
        )  # fmt: skip
        _record(trace, now, 2, before, w.footprints)
        _settle_client(clock, now, CUBE_LIST, wake, b.cube_list.activity, w.read_requests[5], beat, w.beat)
    if clock.todo >> PROJECTOR & 1:
        before = w.visits.valid
        wake = projector.step(now, b.projector, frame.camera, w.visits, w.footprints)
        _record(trace, now, 1, before, w.visits)
        _settle(clock, now, PROJECTOR, wake, b.projector.activity)
    if frame.uniform and clock.todo >> UNIFORM_SAMPLER & 1:
        wake = uniform_sampler.step(
            now, b.uniform_sampler, w.walk, w.walk_tile, w.sampled_cubes, w.samples, w.walked, frame
        )
        _settle(clock, now, UNIFORM_SAMPLER, wake, b.uniform_sampler.activity)


@inlined
def _step_frame(now: int, b, w, frame, bus_idle: bool, clock, trace) -> None:
    """Rays, scene, the cubes that are visited, and the sequence of tiles."""
    if clock.todo >> RAY_SETUP & 1:
        if w.set_up.set:
            _take_tile(frame, w.set_up_tile, b.ray_setup.tile_size)
        if w.rays.valid:
            compositor.initialise(frame.transmittance, frame.terminated_from, w.rays.pixel, w.rays.live)
            w.rays.valid = 0
            _record(trace, now, 0, 1, w.rays)
        wake = ray_setup.step(now, b.ray_setup, w.set_up, w.set_up_tile, w.rays, w.rays_ready, frame.tile_live)
        _settle(clock, now, RAY_SETUP, wake, b.ray_setup.activity)
    if clock.todo >> SCENE_LOADER & 1:
        beat = w.beat.valid
        wake = scene_loader.step(
            now, b.scene_loader, w.load, frame.scene, SCENE_BASE, w.read_requests[0], w.beat, w.loaded
        )
        _settle_client(clock, now, SCENE_LOADER, wake, b.scene_loader.activity, w.read_requests[0], beat, w.beat)
    if clock.todo >> FRAME_CONTROLLER & 1:
        wake = frame_controller.step(
            now, b.frame_controller, w.start, w.load, w.render, w.loaded, w.rendered, bus_idle, w.finished
        )
        w.walk_cubes.set = w.render.set and not frame.uniform
        _settle(clock, now, FRAME_CONTROLLER, wake, b.frame_controller.activity)
    if clock.todo >> OCCUPANCY_WALKER & 1:
        beat = w.beat.valid
        wake = occupancy_walker.step(
            now, b.occupancy_walker, w.walk_cubes, frame.scene, frame.camera, SCENE_BASE, w.read_requests[1], w.beat,
            w.tree_requests[2], w.tree_responses[2], w.visits, frame.image,
        )  # fmt: skip
        _settle_client(
            clock, now, OCCUPANCY_WALKER, wake, b.occupancy_walker.activity, w.read_requests[1], beat, w.beat
        )
    if clock.todo >> TILE_SCHEDULER & 1:
        wake = tile_scheduler.step(
            now, b.tile_scheduler, w.render, frame.camera, w.set_up_tile, w.walk_tile, w.put_out_tile, w.set_up,
            w.walk, w.rays_ready, w.walked, w.tile_done, w.rendered,
        )  # fmt: skip
        _settle(clock, now, TILE_SCHEDULER, wake, b.tile_scheduler.activity)


@compiled
def run(now: int, end: int, blocks, wires, frame, clock, trace) -> int:
    """Simulate from a cycle on; return the cycle to go on from.

    Stops when the frame has ended (the strobe ``finished`` is set: in the cycle before the one returned), at the cycle
    ``end`` or when the trace is full.

    Parameters
    ----------
    blocks : Blocks
    wires : Wires
    frame : Frame
    clock : CLOCK
    trace : TRACE
    """
    b, w = blocks, wires
    while now < end and not w.finished.set and trace.count < TRACE_LENGTH:
        _begin(clock, now)
        _offer(now, b, w, clock)
        written = write_master.idle(b.write_master)
        listed = written and not w.list_writes.valid
        bus_idle = written and read_master.idle(b.memory, w.burst)
        _step_bus(now, b, w, clock, trace)
        _step_colours(now, b, w, frame, clock, trace)
        _step_samples(now, b, w, frame, clock, trace)
        _step_factors(now, b, w, frame, clock, trace)
        _step_cubes(now, b, w, frame, listed, clock, trace)
        _step_frame(now, b, w, frame, bus_idle, clock, trace)
        if clock.following:
            now += 1
        else:
            now = max(now + 1, min(clock.earliest, end))
    return now
