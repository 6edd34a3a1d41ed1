"""The wiring: all blocks, and the streams between them. RTL: `rtl.accelerator`."""

from typing import Any, NamedTuple

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import Regions
from nerf.contract.registers import View
from sim.control import frame_controller, scene_loader, tile_scheduler
from sim.factors import block_fetch, cube_loader, cube_sequencer, hybrid_decoder, interpolator, tree_server
from sim.memory import memory, read_master, write_master
from sim.parts import queue, streams
from sim.samples import cube_list, occupancy_walker, projector, ray_setup, sample_generator, uniform_sampler
from sim.shading import appearance, compositor, density, mlp_engine, product_buffer, tile_buffer


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
