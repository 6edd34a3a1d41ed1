"""The whole accelerator: every block, wired, cycle by cycle. RTL: `rtl.accelerator`.

A block is stepped only in cycles in which something can change for it: when the block at the other end of one of its
wires has put something up or taken it, when its own last step has changed something, or when the cycle has come that
this step named. In all other cycles it would do what it did before; cycles without any such block are not simulated at
all.
"""

import numpy as np

from rtnerf.base.compiled import compiled, inlined
from sim.clock import TRACE_LENGTH, begin, end_window, settle, tell
from sim.control import frame_controller, scene_loader, tile_scheduler
from sim.factors import block_fetch, cube_loader, cube_sequencer, hybrid_decoder, interpolator, tree_server
from sim.frame import SCENE_BASE, take_tile
from sim.memory import memory, read_master, write_master
from sim.parts import queue
from sim.parts.clients import Reader, TreeUser
from sim.samples import cube_list, occupancy_walker, projector, ray_setup, sample_generator, uniform_sampler
from sim.samples.marches import has_room
from sim.shading import appearance, compositor, density, mlp_engine, product_buffer, serialiser, tile_buffer
from sim.wiring import LOADERS, Block


@inlined
def _offer(now: int, b, w, words, clock) -> None:
    """First phase of a cycle: what is put up without a step, and who is to look at it."""
    if clock.todo >> Block.MEMORY & 1:
        memory.offer(now, b.memory, w.beat, w.answer)
        tell(clock, words, Block.MEMORY)
    if clock.todo >> Block.TREE_SERVER & 1:
        tree_server.offer_all(now, b.tree_server, w.tree_responses)
        tell(clock, words, Block.TREE_SERVER)
    if clock.todo >> Block.HYBRID_DECODER & 1:
        hybrid_decoder.offer(now, b.hybrid_decoder, w.vector)
        # A loader counts blocks, not vectors.
        if w.vector.valid and w.vector.block_last:
            clock.todo |= 1 << LOADERS[w.vector.appearance]
    if clock.todo >> Block.OCCUPANCY_WALKER & 1:
        occupancy_walker.offer(now, b.occupancy_walker, w.tree_responses[TreeUser.WALKER], w.visits)
        tell(clock, words, Block.OCCUPANCY_WALKER)
    if clock.todo >> Block.CUBE_SEQUENCER & 1:
        cube_sequencer.offer(now, b.cube_sequencer, w.visible, w.sequenced, w.visible_cubes)
        tell(clock, words, Block.CUBE_SEQUENCER)


@inlined
def _step_bus(now: int, b, w, words, clock) -> None:
    """Memory, the bus masters and the tree: they decide on what is asked for when the cycle begins."""
    if clock.todo >> Block.MEMORY & 1:
        wake = memory.step(now, b.memory, w.burst, w.write_address, w.write_data, w.answer)
        settle(clock, words, Block.MEMORY, wake, b.memory.activity)
    if clock.todo >> Block.READ_MASTER & 1:
        wake = read_master.step(now, b.read_master, w.read_requests, w.burst)
        settle(clock, words, Block.READ_MASTER, wake, b.read_master.activity)
    if clock.todo >> Block.WRITE_MASTER & 1:
        wake = write_master.step(now, b.write_master, w.pixels, w.list_writes, w.write_address, w.write_data, w.answer)
        settle(clock, words, Block.WRITE_MASTER, wake, b.write_master.activity)
        # The cube list waits until everything is written.
        if write_master.idle(b.write_master):
            clock.following |= 1 << Block.CUBE_LIST
    if clock.todo >> Block.TREE_SERVER & 1:
        wake = tree_server.step(now, b.tree_server, w.tree_requests, w.tree_responses)
        settle(clock, words, Block.TREE_SERVER, wake, b.tree_server.activity)


@inlined
def _step_colours(now: int, b, w, words, frame, clock) -> None:
    """From pixels back to visible samples."""
    if clock.todo >> Block.TILE_BUFFER & 1:
        wake = tile_buffer.step(now, b.tile_buffer, w.put_out_tile, w.blank_tile, w.coloured, w.pixels, w.tile_done)
        settle(clock, words, Block.TILE_BUFFER, wake, b.tile_buffer.activity)
    if clock.todo >> Block.MLP_ENGINE & 1:
        wake = mlp_engine.step(now, b.mlp_engine, w.shade_jobs, w.products, w.coloured)
        settle(clock, words, Block.MLP_ENGINE, wake, b.mlp_engine.activity)
    if clock.todo >> Block.APPEARANCE & 1:
        wake = appearance.step(now, b.appearance, w.shaded, w.shade_jobs)
        settle(clock, words, Block.APPEARANCE, wake, b.appearance.activity)
    if frame.deferred and clock.todo >> Block.PRODUCT_BUFFER & 1:
        wake = product_buffer.step(
            now, b.product_buffer, w.visible_interpolated, w.interpolated_products, w.shaded, w.products
        )
        settle(clock, words, Block.PRODUCT_BUFFER, wake, b.product_buffer.activity)
    if clock.todo >> Block.APPEARANCE_INTERPOLATOR & 1:
        wake = interpolator.step(
            now, b.appearance_interpolator, w.queued_visible, w.appearance_cubes, w.appearance_finished,
            w.visible_interpolated if frame.deferred else w.shaded,
            w.interpolated_products if frame.deferred else w.products,
        )  # fmt: skip
        settle(clock, words, Block.APPEARANCE_INTERPOLATOR, wake, b.appearance_interpolator.activity)
    if clock.todo >> Block.VISIBLE_SAMPLES & 1:
        wake = queue.step(now, b.visible_samples, w.sequenced, w.queued_visible)
        settle(clock, words, Block.VISIBLE_SAMPLES, wake, b.visible_samples.activity)


@inlined
def _step_samples(now: int, b, w, words, frame, clock) -> None:
    """From visible samples back to samples."""
    if clock.todo >> Block.CUBE_SEQUENCER & 1:
        wake = cube_sequencer.step(now, b.cube_sequencer, w.visible, w.sequenced, w.visible_cubes)
        settle(clock, words, Block.CUBE_SEQUENCER, wake, b.cube_sequencer.activity)
    if frame.pairs and clock.todo >> Block.SERIALISER & 1:
        wake = serialiser.step(now, b.serialiser, w.composited, w.visible)
        settle(clock, words, Block.SERIALISER, wake, b.serialiser.activity)
    if clock.todo >> Block.COMPOSITOR & 1:
        wake = compositor.step(
            now, b.compositor, frame.camera, w.opaque, w.composited if frame.pairs else w.visible,
            frame.transmittance, frame.terminated_from,
        )  # fmt: skip
        settle(clock, words, Block.COMPOSITOR, wake, b.compositor.activity)
    if clock.todo >> Block.DENSITY & 1:
        wake = density.step(
            now, b.density, w.interpolated_samples, w.density_vectors, w.tree_requests[TreeUser.DENSITY],
            w.tree_responses[TreeUser.DENSITY], w.opaque,
        )  # fmt: skip
        settle(clock, words, Block.DENSITY, wake, b.density.activity)
    if clock.todo >> Block.DENSITY_INTERPOLATOR & 1:
        wake = interpolator.step(
            now, b.density_interpolator, w.queued_samples, w.density_cubes, w.density_finished,
            w.interpolated_samples, w.density_vectors,
        )  # fmt: skip
        settle(clock, words, Block.DENSITY_INTERPOLATOR, wake, b.density_interpolator.activity)
    if clock.todo >> Block.DENSITY_SAMPLES & 1:
        wake = queue.step(now, b.density_samples, w.samples, w.queued_samples)
        settle(clock, words, Block.DENSITY_SAMPLES, wake, b.density_samples.activity)


@inlined
def _step_factors(now: int, b, w, words, frame, clock) -> None:
    """From decoded vectors back to the blocks that are wanted."""
    if clock.todo >> Block.HYBRID_DECODER & 1:
        wake = hybrid_decoder.step(
            now, b.hybrid_decoder, w.jobs, w.payload, w.tree_requests[TreeUser.DECODER],
            w.tree_responses[TreeUser.DECODER], frame.image,
        )  # fmt: skip
        settle(clock, words, Block.HYBRID_DECODER, wake, b.hybrid_decoder.activity)
    if clock.todo >> Block.BLOCK_FETCH & 1:
        wake = block_fetch.step(
            now, b.block_fetch, w.density_requests, w.appearance_requests, frame.scene,
            w.read_requests[Reader.BLOCK_HEADERS], w.read_requests[Reader.BLOCK_PAYLOADS], w.beat, w.jobs, w.payload,
            frame.image,
        )  # fmt: skip
        settle(clock, words, Block.BLOCK_FETCH, wake, b.block_fetch.activity)
    if clock.todo >> Block.APPEARANCE_LOADER & 1:
        wake = cube_loader.step(
            now, b.appearance_loader, w.visible_cubes, w.appearance_cubes, w.appearance_finished,
            w.appearance_requests, w.vector, frame.scene,
        )  # fmt: skip
        settle(clock, words, Block.APPEARANCE_LOADER, wake, b.appearance_loader.activity)
    if clock.todo >> Block.DENSITY_LOADER & 1:
        wake = cube_loader.step(
            now, b.density_loader, w.sampled_cubes, w.density_cubes, w.density_finished, w.density_requests,
            w.vector, frame.scene,
        )  # fmt: skip
        settle(clock, words, Block.DENSITY_LOADER, wake, b.density_loader.activity)


@inlined
def _step_cubes(now: int, b, w, words, frame, all_written: bool, clock) -> None:
    """From samples back to the cubes that are projected."""
    if clock.todo >> Block.SAMPLE_GENERATOR & 1 and not frame.uniform:
        wake = sample_generator.step(
            now, b.sample_generator, frame.scene, SCENE_BASE, w.rectangles, w.read_requests[Reader.RECORDS], w.beat,
            w.sampled_cubes, w.samples, frame.rays_from, frame.terminated_from, frame.tiles, frame.marches,
        )  # fmt: skip
        settle(clock, words, Block.SAMPLE_GENERATOR, wake, b.sample_generator.activity)
    if clock.todo >> Block.CUBE_LIST & 1 and not frame.uniform:
        wake = cube_list.step(
            now, b.cube_list, w.footprints, w.list_writes, all_written, w.listed, w.walk, w.walk_tile,
            w.read_requests[Reader.CUBE_LIST], w.beat, w.rectangles, w.walked, frame.lists,
        )  # fmt: skip
        settle(clock, words, Block.CUBE_LIST, wake, b.cube_list.activity)
    if clock.todo >> Block.PROJECTOR & 1:
        wake = projector.step(now, b.projector, frame.camera, w.visits, w.footprints)
        settle(clock, words, Block.PROJECTOR, wake, b.projector.activity)
    if frame.uniform and clock.todo >> Block.UNIFORM_SAMPLER & 1:
        wake = uniform_sampler.step(
            now, b.uniform_sampler, w.walk, w.walk_tile, w.sampled_cubes, w.samples, w.walked, frame
        )
        settle(clock, words, Block.UNIFORM_SAMPLER, wake, b.uniform_sampler.activity)


@inlined
def _step_frame(now: int, b, w, words, frame, bus_idle: bool, clock) -> None:
    """Rays, scene, the cubes that are visited, and the sequence of tiles."""
    if clock.todo >> Block.RAY_SETUP & 1:
        if w.set_up.set:
            take_tile(frame, w.set_up_tile, b.ray_setup.tile_size)
        if w.rays.valid:
            compositor.initialise(frame.transmittance, frame.terminated_from, w.rays.pixel, w.rays.live)
            w.rays.valid = 0
            tell(clock, words, Block.RAY_SETUP)
        wake = ray_setup.step(now, b.ray_setup, w.set_up, w.set_up_tile, w.rays, w.rays_ready, frame.tile_live)
        settle(clock, words, Block.RAY_SETUP, wake, b.ray_setup.activity)
    if clock.todo >> Block.SCENE_LOADER & 1:
        wake = scene_loader.step(
            now, b.scene_loader, w.load, frame.scene, SCENE_BASE, w.read_requests[Reader.TABLES], w.beat, w.loaded
        )
        settle(clock, words, Block.SCENE_LOADER, wake, b.scene_loader.activity)
    if clock.todo >> Block.FRAME_CONTROLLER & 1:
        wake = frame_controller.step(
            now, b.frame_controller, w.start, w.load, w.render, w.loaded, w.rendered, bus_idle, w.finished
        )
        if frame.uniform:
            w.listed.set, w.render.set = w.render.set, 0
        settle(clock, words, Block.FRAME_CONTROLLER, wake, b.frame_controller.activity)
    if clock.todo >> Block.OCCUPANCY_WALKER & 1:
        wake = occupancy_walker.step(
            now, b.occupancy_walker, w.render, frame.scene, frame.camera, SCENE_BASE,
            w.read_requests[Reader.ROWS], w.beat, w.tree_requests[TreeUser.WALKER], w.tree_responses[TreeUser.WALKER],
            w.visits, frame.image,
        )  # fmt: skip
        settle(clock, words, Block.OCCUPANCY_WALKER, wake, b.occupancy_walker.activity)
    if clock.todo >> Block.TILE_SCHEDULER & 1:
        # The samples of a tile wait for its rays.
        if w.rays_ready.set:
            clock.following |= 1 << Block.SAMPLE_GENERATOR
        wake = tile_scheduler.step(
            now, b.tile_scheduler, w.listed, frame.camera, frame.lists, w.set_up_tile, w.walk_tile, w.put_out_tile,
            w.blank_tile, w.set_up, w.walk, w.rays_ready, w.walked, w.tile_done, w.rendered,
            frame.rays_from,
        )  # fmt: skip
        settle(clock, words, Block.TILE_SCHEDULER, wake, b.tile_scheduler.activity)


@compiled
def run(now: int, end: int, blocks, wires, frame, clock) -> int:
    """Simulate from a cycle on; return the cycle to go on from.

    Stops when the frame has ended (the strobe ``finished`` is set: in the cycle before the one returned), at the cycle
    ``end``, or when the trace is full or the marches have no more room.

    Parameters
    ----------
    blocks : BLOCKS
    wires : array of one WIRES
    frame : Frame
    clock : CLOCK
    """
    b, w, words = blocks, wires[0], wires.view(np.int64)
    while now < end and not w.finished.set and clock.trace.count < TRACE_LENGTH and has_room(frame.marches):
        begin(clock, now)
        _offer(now, b, w, words, clock)
        written = write_master.idle(b.write_master)
        all_written = written and not w.list_writes.valid
        bus_idle = written and read_master.idle(b.read_master, b.memory, w.burst)
        _step_bus(now, b, w, words, clock)
        _step_colours(now, b, w, words, frame, clock)
        _step_samples(now, b, w, words, frame, clock)
        _step_factors(now, b, w, words, frame, clock)
        _step_cubes(now, b, w, words, frame, all_written, clock)
        _step_frame(now, b, w, words, frame, bus_idle, clock)
        if clock.following:
            now += 1
        else:
            now = max(now + 1, min(clock.earliest, end))
    return now


@compiled
def run_windows(now: int, end: int, blocks, wires, frame, clock, windows, most: int) -> int:
    """`run`, and note what the blocks do in each window (``windows``: WINDOWS); stop, too, when ``most`` have ended."""
    while most and now < end and not wires[0].finished.set:
        window_end = windows.length * (windows.count + 1)
        now = run(now, min(window_end, end), blocks, wires, frame, clock)
        if now == window_end or wires[0].finished.set:
            end_window(windows, clock, now)
            most -= 1
        elif now < end:
            break
    return now
