"""The wiring: all blocks, and the wires between them. RTL: `rtl.accelerator`.

`Block` and `WIRING` say everything once: a block's place in the order and what makes it; what travels on a wire, who
puts it up and who takes it. The records, the probes, and who is told of what are derived from them.
"""

import itertools
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from nerf.contract.config import AcceleratorConfig
from nerf.contract.memory import Regions
from nerf.contract.registers import View
from sim.control import frame_controller, scene_loader, tile_scheduler
from sim.factors import block_fetch, cube_loader, cube_sequencer, hybrid_decoder, interpolator, tree_server
from sim.memory import memory, read_master, write_master
from sim.parts import queue, streams
from sim.parts.clients import Reader
from sim.samples import cube_list, occupancy_walker, projector, ray_setup, sample_generator, uniform_sampler
from sim.shading import appearance, compositor, density, mlp_engine, product_buffer, serialiser, tile_buffer

AFTER_RESET = 2
"""Cycle of a frame in which the blocks begin: it starts in cycle 0, and they are reset in the next."""


class Setting(NamedTuple):
    """What the blocks are made for."""

    config: AcceleratorConfig
    memory: np.void
    """The state of the memory when the frame starts."""
    regions: Regions
    view: View


class Block(IntEnum):
    """The blocks, in the order in which they step: consumers before producers. Each with what makes it."""

    state: np.dtype
    new: Callable[[Setting], np.void]

    def __new__(cls, state: np.dtype, new: Callable[[Setting], np.void]) -> "Block":
        """Number the blocks from 0."""
        block = int.__new__(cls, len(cls.__members__))
        block._value_ = len(cls.__members__)
        block.state, block.new = state, new
        return block

    MEMORY = memory.STATE, lambda its: its.memory
    READ_MASTER = read_master.STATE, lambda its: read_master.new()
    WRITE_MASTER = (
        write_master.STATE,
        lambda its: write_master.new(its.config, its.regions.frame_base, its.view.window_width),
    )
    TREE_SERVER = tree_server.STATE, lambda its: tree_server.new()
    TILE_BUFFER = tile_buffer.STATE, lambda its: tile_buffer.new()
    MLP_ENGINE = mlp_engine.STATE, lambda its: mlp_engine.new(its.config)
    APPEARANCE = appearance.STATE, lambda its: appearance.new()
    PRODUCT_BUFFER = product_buffer.STATE, lambda its: product_buffer.new(its.config)
    APPEARANCE_INTERPOLATOR = (
        interpolator.STATE,
        lambda its: interpolator.new(its.config.appearance_transfers, its.config.vector_parts),
    )
    VISIBLE_SAMPLES = queue.STATE, lambda its: queue.new(its.config.sample_queue)
    CUBE_SEQUENCER = cube_sequencer.STATE, lambda its: cube_sequencer.new()
    SERIALISER = serialiser.STATE, lambda its: serialiser.new()
    COMPOSITOR = compositor.STATE, lambda its: compositor.new()
    DENSITY = density.STATE, lambda its: density.new(its.config)
    DENSITY_INTERPOLATOR = (
        interpolator.STATE,
        lambda its: interpolator.new(its.config.groups["density"], its.config.vector_parts),
    )
    DENSITY_SAMPLES = queue.STATE, lambda its: queue.new(its.config.sample_queue)
    HYBRID_DECODER = hybrid_decoder.STATE, lambda its: hybrid_decoder.new(its.config.vector_parts)
    BLOCK_FETCH = block_fetch.STATE, lambda its: block_fetch.new(its.config)
    APPEARANCE_LOADER = cube_loader.STATE, lambda its: cube_loader.new(its.config, True)
    DENSITY_LOADER = cube_loader.STATE, lambda its: cube_loader.new(its.config, False)
    SAMPLE_GENERATOR = sample_generator.STATE, lambda its: sample_generator.new(its.config)
    CUBE_LIST = cube_list.STATE, lambda its: cube_list.new(its.config, its.regions.list_base, AFTER_RESET)
    PROJECTOR = projector.STATE, lambda its: projector.new()
    UNIFORM_SAMPLER = uniform_sampler.STATE, lambda its: uniform_sampler.new(its.config.tile)
    RAY_SETUP = ray_setup.STATE, lambda its: ray_setup.new(its.config)
    SCENE_LOADER = scene_loader.STATE, lambda its: scene_loader.new()
    FRAME_CONTROLLER = frame_controller.STATE, lambda its: frame_controller.new()
    OCCUPANCY_WALKER = occupancy_walker.STATE, lambda its: occupancy_walker.new(its.config)
    TILE_SCHEDULER = tile_scheduler.STATE, lambda its: tile_scheduler.new(its.config)


Ends = Block | tuple[Block, ...]


class Wire(NamedTuple):
    """A stream, a strobe or a level between blocks: what travels on it, who puts it up, who takes it.

    Of several blocks at an end one is there in a frame, unless they are clients, by number: then there is a record for
    ``each``, or one whose field ``by`` holds the number.
    """

    kind: np.dtype
    producers: Ends
    consumers: Ends
    probed: bool = False
    """Its transfers are recorded, as `rtl.accelerator.probes`."""
    each: bool = False
    by: str = ""


HOST: Ends = ()
"""No block: the host starts a frame, and learns of its end."""
READERS = (
    Block.SCENE_LOADER, Block.OCCUPANCY_WALKER, Block.SAMPLE_GENERATOR, Block.BLOCK_FETCH, Block.BLOCK_FETCH,
    Block.CUBE_LIST,
)  # fmt: skip
"""Blocks behind the clients of the read master, by `Reader`."""
TREE_CLIENTS = Block.DENSITY, Block.HYBRID_DECODER, Block.OCCUPANCY_WALKER
"""Blocks that ask the tree and take its responses, by `sim.parts.clients.TreeUser`."""
LOADERS = Block.DENSITY_LOADER, Block.APPEARANCE_LOADER
VISIBLE = Block.SERIALISER, Block.COMPOSITOR
"""With one density lane nothing lies behind the compositor."""
WALKERS = Block.CUBE_LIST, Block.UNIFORM_SAMPLER
LISTERS = Block.CUBE_LIST, Block.FRAME_CONTROLLER
"""With uniform sampling there are no lists, and every tile is taken for one that a cube meets."""
SAMPLERS = Block.SAMPLE_GENERATOR, Block.UNIFORM_SAMPLER
SHADED = Block.PRODUCT_BUFFER, Block.APPEARANCE_INTERPOLATOR
"""Without deferred shading nothing lies between the interpolator and what follows it."""
LEVELS = streams.TILE, streams.VECTOR
"""Kinds that are looked at and not taken: nobody is told of a change."""

WIRING = {
    # ---- The buses and the tree ----
    "burst": Wire(streams.BURST, Block.READ_MASTER, Block.MEMORY),
    "beat": Wire(streams.READ_BEAT, Block.MEMORY, READERS, by="client"),
    "write_address": Wire(streams.WRITE, Block.WRITE_MASTER, Block.MEMORY),
    "write_data": Wire(streams.WRITE_DATA, Block.WRITE_MASTER, Block.MEMORY),
    "answer": Wire(streams.ANSWER, Block.MEMORY, Block.WRITE_MASTER),
    "read_requests": Wire(streams.READ_REQUEST, READERS, Block.READ_MASTER, each=True),
    "tree_requests": Wire(streams.TREE_REQUEST, TREE_CLIENTS, Block.TREE_SERVER, each=True),
    "tree_responses": Wire(streams.TREE_RESPONSE, Block.TREE_SERVER, TREE_CLIENTS, each=True),
    # ---- From cubes to samples ----
    # The ray buffer, which takes one a cycle, has its turn with the ray set-up.
    "rays": Wire(streams.RAY, Block.RAY_SETUP, Block.RAY_SETUP, probed=True),
    "visits": Wire(streams.VISIT, Block.OCCUPANCY_WALKER, Block.PROJECTOR, probed=True),
    "footprints": Wire(streams.FOOTPRINT, Block.PROJECTOR, Block.CUBE_LIST, probed=True),
    "list_writes": Wire(streams.WRITE, Block.CUBE_LIST, Block.WRITE_MASTER),
    "rectangles": Wire(streams.RECTANGLE, Block.CUBE_LIST, Block.SAMPLE_GENERATOR, probed=True),
    "samples": Wire(streams.SAMPLE, SAMPLERS, Block.DENSITY_SAMPLES, probed=True),
    "sampled_cubes": Wire(streams.CUBE, SAMPLERS, Block.DENSITY_LOADER),
    # ---- Factors ----
    "density_requests": Wire(streams.BLOCK_REQUEST, Block.DENSITY_LOADER, Block.BLOCK_FETCH, probed=True),
    "appearance_requests": Wire(streams.BLOCK_REQUEST, Block.APPEARANCE_LOADER, Block.BLOCK_FETCH, probed=True),
    "jobs": Wire(streams.DECODE_JOB, Block.BLOCK_FETCH, Block.HYBRID_DECODER, probed=True),
    "payload": Wire(streams.READ_BEAT, Block.BLOCK_FETCH, Block.HYBRID_DECODER),
    "vector": Wire(streams.VECTOR, Block.HYBRID_DECODER, LOADERS, by="appearance"),
    # ---- From samples to visible samples ----
    "queued_samples": Wire(streams.SAMPLE, Block.DENSITY_SAMPLES, Block.DENSITY_INTERPOLATOR),
    "density_cubes": Wire(streams.CUBE, Block.DENSITY_LOADER, Block.DENSITY_INTERPOLATOR, probed=True),
    "density_finished": Wire(streams.STROBE, Block.DENSITY_INTERPOLATOR, Block.DENSITY_LOADER),
    "interpolated_samples": Wire(streams.SAMPLE, Block.DENSITY_INTERPOLATOR, Block.DENSITY),
    "density_vectors": Wire(streams.TREE_REQUEST, Block.DENSITY_INTERPOLATOR, Block.DENSITY),
    "opaque": Wire(streams.SAMPLE, Block.DENSITY, Block.COMPOSITOR, probed=True),
    "composited": Wire(streams.SAMPLE, Block.COMPOSITOR, Block.SERIALISER),
    "visible": Wire(streams.SAMPLE, VISIBLE, Block.CUBE_SEQUENCER, probed=True),
    # ---- From visible samples to pixels ----
    "sequenced": Wire(streams.SAMPLE, Block.CUBE_SEQUENCER, Block.VISIBLE_SAMPLES),
    "visible_cubes": Wire(streams.CUBE, Block.CUBE_SEQUENCER, Block.APPEARANCE_LOADER),
    "queued_visible": Wire(streams.SAMPLE, Block.VISIBLE_SAMPLES, Block.APPEARANCE_INTERPOLATOR),
    "appearance_cubes": Wire(streams.CUBE, Block.APPEARANCE_LOADER, Block.APPEARANCE_INTERPOLATOR, probed=True),
    "appearance_finished": Wire(streams.STROBE, Block.APPEARANCE_INTERPOLATOR, Block.APPEARANCE_LOADER),
    "visible_interpolated": Wire(streams.SAMPLE, Block.APPEARANCE_INTERPOLATOR, Block.PRODUCT_BUFFER),
    "interpolated_products": Wire(streams.PRODUCTS, Block.APPEARANCE_INTERPOLATOR, Block.PRODUCT_BUFFER),
    "shaded": Wire(streams.SAMPLE, SHADED, Block.APPEARANCE),
    "products": Wire(streams.PRODUCTS, SHADED, Block.MLP_ENGINE),
    "shade_jobs": Wire(streams.SHADE_JOB, Block.APPEARANCE, Block.MLP_ENGINE, probed=True),
    "coloured": Wire(streams.COLOURED, Block.MLP_ENGINE, Block.TILE_BUFFER, probed=True),
    "pixels": Wire(streams.PIXEL, Block.TILE_BUFFER, Block.WRITE_MASTER, probed=True),
    # ---- The course of a frame ----
    "start": Wire(streams.STROBE, HOST, Block.FRAME_CONTROLLER),
    "load": Wire(streams.STROBE, Block.FRAME_CONTROLLER, Block.SCENE_LOADER),
    "loaded": Wire(streams.STROBE, Block.SCENE_LOADER, Block.FRAME_CONTROLLER),
    "render": Wire(streams.STROBE, Block.FRAME_CONTROLLER, Block.OCCUPANCY_WALKER),
    "listed": Wire(streams.STROBE, LISTERS, Block.TILE_SCHEDULER),
    "set_up": Wire(streams.STROBE, Block.TILE_SCHEDULER, Block.RAY_SETUP),
    "set_up_tile": Wire(streams.TILE, Block.TILE_SCHEDULER, Block.RAY_SETUP),
    "rays_ready": Wire(streams.STROBE, Block.RAY_SETUP, Block.TILE_SCHEDULER),
    "walk": Wire(streams.STROBE, Block.TILE_SCHEDULER, WALKERS),
    "walk_tile": Wire(streams.TILE, Block.TILE_SCHEDULER, WALKERS),
    "walked": Wire(streams.STROBE, WALKERS, Block.TILE_SCHEDULER),
    "put_out_tile": Wire(streams.TILE, Block.TILE_SCHEDULER, Block.TILE_BUFFER),
    "blank_tile": Wire(streams.BLANK, Block.TILE_SCHEDULER, Block.TILE_BUFFER),
    "tile_done": Wire(streams.STROBE, Block.TILE_BUFFER, Block.TILE_SCHEDULER),
    "rendered": Wire(streams.STROBE, Block.TILE_SCHEDULER, Block.FRAME_CONTROLLER),
    "finished": Wire(streams.STROBE, Block.FRAME_CONTROLLER, HOST),
}
"""Every wire by name. A stream or strobe that is put up or taken concerns who is at its other end."""


# ---- What is derived ----


def _blocks(ends: Ends) -> tuple[Block, ...]:
    return (ends,) if isinstance(ends, Block) else ends


def _clients(wire: Wire) -> int:
    """Return how many records a wire has."""
    return max(len(_blocks(wire.producers)), len(_blocks(wire.consumers))) if wire.each else 1


BLOCKS = np.dtype([(block.name.lower(), block.state) for block in Block])
"""The states of all blocks."""
WIRES = np.dtype([(name, wire.kind, (_clients(wire),) if wire.each else ()) for name, wire in WIRING.items()])
"""The records of all wires, which are integers of 64 bits throughout; the first one of a record is its flag."""
PROBES = tuple(name for name, wire in WIRING.items() if wire.probed)


def _offset(record: np.dtype, field: str) -> int:
    """Return the byte of a record where a field begins."""
    assert record.fields is not None
    return record.fields[field][1]


def _flags() -> Iterator[tuple[int, str, tuple[Block, ...], tuple[Block, ...]]]:
    """Yield each flag: its place among the integers of all wires, its wire, and the blocks at both ends."""
    for name, wire in WIRING.items():
        for client in range(_clients(wire)):
            place = (_offset(WIRES, name) + client * wire.kind.itemsize) // 8
            producers, consumers = (
                ends[client : client + 1] if wire.each and len(ends) > 1 else ends
                for ends in (_blocks(wire.producers), _blocks(wire.consumers))
            )
            if wire.kind not in LEVELS:
                yield place, name, producers, consumers


def _tables() -> tuple[np.ndarray, ...]:
    """Return the tables that say who is told of what."""
    words = WIRES.itemsize // 8
    of_block: dict[Block, list[int]] = {block: [] for block in Block}
    when_set, number_at = np.zeros((words, len(Reader)), np.int64), np.zeros(words, np.int64)
    when_cleared, probe = np.zeros(words, np.int64), np.full(words, -1)
    for place, name, producers, consumers in _flags():
        wire = WIRING[name]
        for block in {*producers, *consumers}:
            of_block[block].append(place)
        if wire.by:
            when_set[place, : len(consumers)] = [1 << block for block in consumers]
            number_at[place] = _offset(wire.kind, wire.by) // 8
        else:
            when_set[place] = sum(1 << block for block in consumers)
        if wire.kind != streams.STROBE:
            when_cleared[place] = sum(1 << block for block in producers)
        if wire.probed:
            probe[place] = PROBES.index(name)
    flags = np.array(list(itertools.zip_longest(*of_block.values(), fillvalue=-1))).T.copy()
    return flags, when_set, number_at, when_cleared, probe


FLAGS, WHEN_SET, NUMBER_AT, WHEN_CLEARED, PROBE = _tables()
"""By block: the places of the flags that it sets and clears, then -1. By place of a flag: the blocks, as bits, that are
told when it has been set, by number of the client; where that number stands, from the flag on (at the flag itself,
which is 1, if it does not matter); the blocks that are told when it has been cleared; its probe's number, or -1."""


def new_blocks(config: AcceleratorConfig, memory_state: np.void, regions: Regions, view: View) -> np.void:
    """Return the `BLOCKS` as they are when a frame starts."""
    setting = Setting(config, memory_state, regions, view)
    blocks = np.zeros(1, BLOCKS)[0]
    for block in Block:
        blocks[block] = block.new(setting)
    return blocks


def new_wires() -> np.ndarray:
    """Return the `WIRES` at rest, but for the strobe that starts a frame; an array of one."""
    wires = np.zeros(1, WIRES)
    wires["start"]["set"] = 1
    return wires
