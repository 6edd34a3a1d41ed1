"""The whole accelerator: every block, wired, cycle by cycle. RTL: `rtl.accelerator`.

A block is stepped only in cycles in which something can change for it: when it or a block that it shares a stream with
has changed in this cycle or the one before, or when the cycle has come that its last step named. In all other cycles
it would do what it did before; cycles without any such block are not simulated at all.
"""

from rtnerf.base.compiled import compiled, inlined
from sim.clock import TRACE_LENGTH, begin, record, rouse, settle, settle_client
from sim.control import frame_controller, scene_loader, tile_scheduler
from sim.factors import block_fetch, cube_loader, cube_sequencer, hybrid_decoder, interpolator, tree_server
from sim.frame import SCENE_BASE, take_tile
from sim.memory import memory, read_master, write_master
from sim.parts import queue
from sim.samples import cube_list, occupancy_walker, projector, ray_setup, sample_generator, uniform_sampler
from sim.shading import appearance, compositor, density, mlp_engine, product_buffer, tile_buffer
from sim.wiring import (
    APPEARANCE,
    APPEARANCE_INTERPOLATOR,
    APPEARANCE_LOADER,
    BLOCK_FETCH,
    CLIENTS,
    COMPOSITOR,
    CUBE_LIST,
    CUBE_SEQUENCER,
    DENSITY,
    DENSITY_INTERPOLATOR,
    DENSITY_LOADER,
    DENSITY_SAMPLES,
    FRAME_CONTROLLER,
    HYBRID_DECODER,
    MEMORY,
    MLP_ENGINE,
    OCCUPANCY_WALKER,
    PRODUCT_BUFFER,
    PROJECTOR,
    RAY_SETUP,
    READ_MASTER,
    SAMPLE_GENERATOR,
    SCENE_LOADER,
    TILE_BUFFER,
    TILE_SCHEDULER,
    TREE_CLIENTS,
    TREE_REQUESTERS,
    TREE_SERVER,
    UNIFORM_SAMPLER,
    VISIBLE_SAMPLES,
    WRITE_MASTER,
)


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
        settle(clock, now, MEMORY, wake, b.memory.activity)
    if clock.todo >> READ_MASTER & 1:
        wake = read_master.step(now, b.read_master, w.read_requests, w.burst)
        settle(clock, now, READ_MASTER, wake, b.read_master.activity)
        if wake == now + 1:
            rouse(clock, CLIENTS[b.read_master.last])
    if clock.todo >> WRITE_MASTER & 1:
        before = w.pixels.valid
        wake = write_master.step(now, b.write_master, w.pixels, w.list_writes, w.write_address, w.write_data, w.answer)
        record(trace, now, 14, before, w.pixels)
        settle(clock, now, WRITE_MASTER, wake, b.write_master.activity)
    if clock.todo >> TREE_SERVER & 1:
        asked = b.tree_server.in_flight
        wake = tree_server.step(now, b.tree_server, w.tree_requests, w.tree_responses)
        settle(clock, now, TREE_SERVER, wake, b.tree_server.activity)
        if b.tree_server.in_flight != asked:
            rouse(clock, TREE_REQUESTERS[b.tree_server.last])


@inlined
def _step_colours(now: int, b, w, frame, clock, trace) -> None:
    """From pixels back to visible samples."""
    if clock.todo >> TILE_BUFFER & 1:
        before = w.coloured.valid
        wake = tile_buffer.step(now, b.tile_buffer, w.put_out_tile, w.coloured, w.pixels, w.tile_done)
        record(trace, now, 13, before, w.coloured)
        settle(clock, now, TILE_BUFFER, wake, b.tile_buffer.activity)
    if clock.todo >> MLP_ENGINE & 1:
        before = w.shade_jobs.valid
        wake = mlp_engine.step(now, b.mlp_engine, w.shade_jobs, w.products, w.coloured)
        record(trace, now, 12, before, w.shade_jobs)
        settle(clock, now, MLP_ENGINE, wake, b.mlp_engine.activity)
    if clock.todo >> APPEARANCE & 1:
        wake = appearance.step(now, b.appearance, w.shaded, w.shade_jobs)
        settle(clock, now, APPEARANCE, wake, b.appearance.activity)
    if frame.deferred and clock.todo >> PRODUCT_BUFFER & 1:
        wake = product_buffer.step(
            now, b.product_buffer, w.visible_interpolated, w.interpolated_products, w.shaded, w.products
        )
        settle(clock, now, PRODUCT_BUFFER, wake, b.product_buffer.activity)
    if clock.todo >> APPEARANCE_INTERPOLATOR & 1:
        before = w.appearance_cubes.valid
        wake = interpolator.step(
            now, b.appearance_interpolator, w.queued_visible, w.appearance_cubes, w.appearance_finished,
            w.visible_interpolated, w.interpolated_products,
        )  # fmt: skip
        record(trace, now, 5, before, w.appearance_cubes)
        settle(clock, now, APPEARANCE_INTERPOLATOR, wake, b.appearance_interpolator.activity)
    if clock.todo >> VISIBLE_SAMPLES & 1:
        wake = queue.step(now, b.visible_samples, w.sequenced, w.queued_visible)
        settle(clock, now, VISIBLE_SAMPLES, wake, b.visible_samples.activity)


@inlined
def _step_samples(now: int, b, w, frame, clock, trace) -> None:
    """From visible samples back to samples."""
    if clock.todo >> CUBE_SEQUENCER & 1:
        before = w.visible.valid
        wake = cube_sequencer.step(now, b.cube_sequencer, w.visible, w.sequenced, w.visible_cubes)
        record(trace, now, 11, before, w.visible)
        settle(clock, now, CUBE_SEQUENCER, wake, b.cube_sequencer.activity)
    if clock.todo >> COMPOSITOR & 1:
        before = w.opaque.valid
        wake = compositor.step(
            now, b.compositor, frame.camera, w.opaque, w.visible, frame.transmittance, frame.terminated_from
        )
        record(trace, now, 10, before, w.opaque)
        settle(clock, now, COMPOSITOR, wake, b.compositor.activity)
    if clock.todo >> DENSITY & 1:
        wake = density.step(
            now, b.density, w.interpolated_samples, w.tree_responses[0], frame.scene, w.opaque,
            frame.planes, frame.lines, frame.alpha_table,
        )  # fmt: skip
        settle(clock, now, DENSITY, wake, b.density.activity)
    if clock.todo >> DENSITY_INTERPOLATOR & 1:
        before = w.density_cubes.valid
        wake = interpolator.step(
            now, b.density_interpolator, w.queued_samples, w.density_cubes, w.density_finished,
            w.interpolated_samples, w.tree_requests[0],
        )  # fmt: skip
        record(trace, now, 4, before, w.density_cubes)
        settle(clock, now, DENSITY_INTERPOLATOR, wake, b.density_interpolator.activity)
    if clock.todo >> DENSITY_SAMPLES & 1:
        before = w.samples.valid
        wake = queue.step(now, b.density_samples, w.samples, w.queued_samples)
        record(trace, now, 9, before, w.samples)
        settle(clock, now, DENSITY_SAMPLES, wake, b.density_samples.activity)


@inlined
def _step_factors(now: int, b, w, frame, clock, trace) -> None:
    """From decoded vectors back to the blocks that are wanted."""
    if clock.todo >> HYBRID_DECODER & 1:
        before = w.jobs.valid
        wake = hybrid_decoder.step(
            now, b.hybrid_decoder, w.jobs, w.payload, w.tree_requests[1], w.tree_responses[1], frame.image
        )
        record(trace, now, 6, before, w.jobs)
        settle(clock, now, HYBRID_DECODER, wake, b.hybrid_decoder.activity)
    if clock.todo >> BLOCK_FETCH & 1:
        beat = w.beat.valid
        before, before_appearance = w.density_requests.valid, w.appearance_requests.valid
        wake = block_fetch.step(
            now, b.block_fetch, w.density_requests, w.appearance_requests, frame.scene, w.read_requests[3],
            w.read_requests[4], w.beat, w.jobs, w.payload, frame.image,
        )  # fmt: skip
        record(trace, now, 7, before, w.density_requests)
        record(trace, now, 8, before_appearance, w.appearance_requests)
        settle_client(clock, now, BLOCK_FETCH, wake, b.block_fetch.activity, w.read_requests[3], beat, w.beat)
        if w.read_requests[4].valid:
            clock.following |= 1 << READ_MASTER
    if clock.todo >> APPEARANCE_LOADER & 1:
        wake = cube_loader.step(
            now, b.appearance_loader, w.visible_cubes, w.appearance_cubes, w.appearance_finished,
            w.appearance_requests, w.vector, frame.scene,
        )  # fmt: skip
        settle(clock, now, APPEARANCE_LOADER, wake, b.appearance_loader.activity)
    if clock.todo >> DENSITY_LOADER & 1:
        wake = cube_loader.step(
            now, b.density_loader, w.sampled_cubes, w.density_cubes, w.density_finished, w.density_requests,
            w.vector, frame.scene,
        )  # fmt: skip
        settle(clock, now, DENSITY_LOADER, wake, b.density_loader.activity)


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
        record(trace, now, 3, before, w.rectangles)
        settle_client(clock, now, SAMPLE_GENERATOR, wake, b.sample_generator.activity, w.read_requests[2], beat, w.beat)
    if clock.todo >> CUBE_LIST & 1 and not frame.uniform:
        beat = w.beat.valid
        before = w.footprints.valid
        wake = cube_list.step(
            now, b.cube_list, w.footprints, w.list_writes, listed, w.walk, w.walk_tile, w.read_requests[5], w.beat,
            w.rectangles, w.walked, frame.lists,
        )  # fmt: skip
        record(trace, now, 2, before, w.footprints)
        settle_client(clock, now, CUBE_LIST, wake, b.cube_list.activity, w.read_requests[5], beat, w.beat)
    if clock.todo >> PROJECTOR & 1:
        before = w.visits.valid
        wake = projector.step(now, b.projector, frame.camera, w.visits, w.footprints)
        record(trace, now, 1, before, w.visits)
        settle(clock, now, PROJECTOR, wake, b.projector.activity)
    if frame.uniform and clock.todo >> UNIFORM_SAMPLER & 1:
        wake = uniform_sampler.step(
            now, b.uniform_sampler, w.walk, w.walk_tile, w.sampled_cubes, w.samples, w.walked, frame
        )
        settle(clock, now, UNIFORM_SAMPLER, wake, b.uniform_sampler.activity)


@inlined
def _step_frame(now: int, b, w, frame, bus_idle: bool, clock, trace) -> None:
    """Rays, scene, the cubes that are visited, and the sequence of tiles."""
    if clock.todo >> RAY_SETUP & 1:
        if w.set_up.set:
            take_tile(frame, w.set_up_tile, b.ray_setup.tile_size)
        if w.rays.valid:
            compositor.initialise(frame.transmittance, frame.terminated_from, w.rays.pixel, w.rays.live)
            w.rays.valid = 0
            record(trace, now, 0, 1, w.rays)
        wake = ray_setup.step(now, b.ray_setup, w.set_up, w.set_up_tile, w.rays, w.rays_ready, frame.tile_live)
        settle(clock, now, RAY_SETUP, wake, b.ray_setup.activity)
    if clock.todo >> SCENE_LOADER & 1:
        beat = w.beat.valid
        wake = scene_loader.step(
            now, b.scene_loader, w.load, frame.scene, SCENE_BASE, w.read_requests[0], w.beat, w.loaded
        )
        settle_client(clock, now, SCENE_LOADER, wake, b.scene_loader.activity, w.read_requests[0], beat, w.beat)
    if clock.todo >> FRAME_CONTROLLER & 1:
        wake = frame_controller.step(
            now, b.frame_controller, w.start, w.load, w.render, w.loaded, w.rendered, bus_idle, w.finished
        )
        w.walk_cubes.set = w.render.set and not frame.uniform
        settle(clock, now, FRAME_CONTROLLER, wake, b.frame_controller.activity)
    if clock.todo >> OCCUPANCY_WALKER & 1:
        beat = w.beat.valid
        wake = occupancy_walker.step(
            now, b.occupancy_walker, w.walk_cubes, frame.scene, frame.camera, SCENE_BASE, w.read_requests[1], w.beat,
            w.tree_requests[2], w.tree_responses[2], w.visits, frame.image,
        )  # fmt: skip
        settle_client(clock, now, OCCUPANCY_WALKER, wake, b.occupancy_walker.activity, w.read_requests[1], beat, w.beat)
    if clock.todo >> TILE_SCHEDULER & 1:
        wake = tile_scheduler.step(
            now, b.tile_scheduler, w.render, frame.camera, w.set_up_tile, w.walk_tile, w.put_out_tile, w.set_up,
            w.walk, w.rays_ready, w.walked, w.tile_done, w.rendered,
        )  # fmt: skip
        settle(clock, now, TILE_SCHEDULER, wake, b.tile_scheduler.activity)


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
        begin(clock, now)
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
