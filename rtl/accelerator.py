"""The accelerator: every block, wired.

Two AXI4 ports meet the outside: ``axi`` (master: scene image in, pixels out) and ``control`` (AXI4-Lite slave).
"""

from dataclasses import dataclass
from types import SimpleNamespace

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from nerf.contract.config import AcceleratorConfig
from rtl.control.control_registers import ADDRESS_BITS, ControlRegisters
from rtl.control.frame_controller import FrameController
from rtl.control.scene_loader import SceneLoader
from rtl.control.tile_scheduler import TileScheduler
from rtl.factors.block_fetch import BlockFetch
from rtl.factors.cube_buffer import CubeBuffer
from rtl.factors.cube_loader import CubeLoader
from rtl.factors.cube_sequencer import CubeSequencer
from rtl.factors.hybrid_decoder import HybridDecoder
from rtl.factors.interpolator import Interpolator
from rtl.factors.tree_server import TreeServer
from rtl.memory.axi import Axi4, Axi4Lite
from rtl.memory.read_master import ReadMaster
from rtl.memory.write_master import WriteMaster
from rtl.parts.lanes import each
from rtl.parts.queue import Queue
from rtl.payloads import BlockLayouts, Cube, CubeVisit, Footprint, TileLayouts
from rtl.samples.cube_list import CubeList
from rtl.samples.occupancy_walker import OccupancyWalker
from rtl.samples.projector import Projector
from rtl.samples.ray_buffer import RayBuffer
from rtl.samples.ray_setup import RaySetup
from rtl.samples.sample_generator import SampleGenerator
from rtl.shading.appearance import Appearance
from rtl.shading.compositor import Compositor
from rtl.shading.density import Density
from rtl.shading.mlp_engine import MlpEngine
from rtl.shading.product_buffer import ProductBuffer
from rtl.shading.serialiser import Serialiser
from rtl.shading.tile_buffer import TileBuffer


@dataclass(frozen=True)
class Probe:
    """A stream inside the accelerator that the top makes visible.

    Parameters
    ----------
    name : str
        The ports are ``probe_NAME__fire`` and ``probe_NAME__payload``.
    shape : ShapeLike
        Layout of the payload.
    """

    name: str
    shape: object


FrameEvent = data.StructLayout({"ends": 1})
"""What the probe ``frame`` shows: a frame starts, or ends."""


def probes(cfg: AcceleratorConfig) -> list[Probe]:
    """Return the probed streams, in the order of the data flow."""
    layouts, blocks = TileLayouts(cfg), BlockLayouts(cfg)
    return [
        Probe("frame", FrameEvent),
        Probe("rays", data.StructLayout({"pixel": layouts.pixel, "live": 1})),
        Probe("visits", CubeVisit),
        Probe("footprints", Footprint),
        Probe("rectangles", layouts.Rectangle),
        Probe("density_cubes", Cube),
        Probe("appearance_cubes", Cube),
        Probe("jobs", blocks.DecodeJob),
        Probe("density_requests", blocks.BlockRequest),
        Probe("appearance_requests", blocks.BlockRequest),
        Probe("samples", layouts.Samples),
        Probe("opaque", layouts.OpaqueSamples),
        Probe("visible", layouts.VisibleSample),
        Probe("shade_jobs", layouts.ShadeJob),
        Probe("coloured", layouts.ColouredSample),
        Probe("pixels", layouts.PixelWrite),
    ]


class Accelerator(wiring.Component):
    """The whole RT-NeRF accelerator.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    axi : Out(Axi4)
        Memory: reads the scene image, writes the frame.
    control : In(Axi4Lite)
        Registers, see `nerf.contract.registers`.
    interrupt : Out(1)
        Level: a frame has ended and the interrupt is enabled.
    probe_NAME__fire, probe_NAME__payload : Out
        A payload of the stream is accepted in this cycle; see `probes`. For observation only.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.cfg = cfg
        super().__init__(
            {
                "axi": Out(Axi4(cfg.address_width, cfg.data_width)),
                "control": In(Axi4Lite(ADDRESS_BITS)),
                "interrupt": Out(1),
            }
            | {
                f"probe_{probe.name}": Out(wiring.Signature({"fire": Out(1), "payload": Out(probe.shape)}))
                for probe in probes(cfg)
            }
        )

    def block(self, name: str, component):
        """Return what is built in as the block of that name: the block itself. Benches put something round it."""
        return component

    def elaborate(self, platform) -> Module:
        """Return the blocks and their wiring."""
        m = Module()
        reset = Signal()
        blocks = self._blocks(m, reset)
        self._connect_frame(m, blocks, reset)
        self._connect_memory(m, blocks)
        self._connect_samples(m, blocks)
        self._connect_factors(m, blocks)
        self._connect_shading(m, blocks)
        self._count(m, blocks)
        self._observe(m, blocks)
        return m

    def _blocks(self, m: Module, reset: Signal) -> SimpleNamespace:
        """Add all blocks; return them by name."""
        cfg, layouts = self.cfg, TileLayouts(self.cfg)
        # The masters and the registers outlive a frame's reset: the bus sees no broken transaction.
        lasting = {
            "registers": ControlRegisters(cfg),
            "controller": FrameController(),
            "read_master": ReadMaster(cfg, clients=6),
            "write_master": WriteMaster(cfg),
        }
        of_frame = {
            "scene_loader": SceneLoader(cfg),
            "tile_scheduler": TileScheduler(cfg),
            "occupancy_walker": OccupancyWalker(cfg),
            "projector": Projector(),
            "cube_list": CubeList(cfg),
            "ray_setup": RaySetup(cfg),
            "ray_buffer": RayBuffer(cfg),
            "sample_generator": SampleGenerator(cfg),
            "tree_server": TreeServer(clients=3),
            "block_fetch": BlockFetch(cfg),
            "hybrid_decoder": HybridDecoder(cfg),
            "density_loader": CubeLoader(cfg, "density"),
            "density_buffer": CubeBuffer(cfg, "density", copies=cfg.density_lanes),
            "density_samples": Queue(layouts.Samples, cfg.sample_queue),
            "density_interpolator": Interpolator(
                cfg, cfg.groups["density"], layouts.Samples, samples=cfg.density_lanes
            ),
            "density": Density(cfg),
            "compositor": Compositor(cfg),
            "cube_sequencer": CubeSequencer(layouts.VisibleSample),
            "appearance_loader": CubeLoader(cfg, "appearance"),
            "appearance_buffer": CubeBuffer(cfg, "appearance", cfg.appearance_lanes),
            "visible_samples": Queue(layouts.VisibleSample, cfg.sample_queue),
            "appearance_interpolator": Interpolator(
                cfg, cfg.groups["appearance"], layouts.VisibleSample, cfg.appearance_lanes
            ),
            "appearance": Appearance(cfg),
            "mlp_engine": MlpEngine(cfg),
            "tile_buffer": TileBuffer(cfg),
        }
        if cfg.shading == "deferred":
            of_frame["product_buffer"] = ProductBuffer(cfg)
        if cfg.density_lanes > 1:
            of_frame["serialiser"] = Serialiser(layouts.VisibleSample, cfg.density_lanes)
        blocks = {name: self.block(name, component) for name, component in (lasting | of_frame).items()}
        for name, component in blocks.items():
            m.submodules[name] = component if name in lasting else ResetInserter(reset)(component)
        return SimpleNamespace(**blocks)

    def _connect_frame(self, m: Module, b: SimpleNamespace, reset: Signal) -> None:
        """Host, frame controller, and what holds for a frame or a tile."""
        registers, controller, scheduler = b.registers, b.controller, b.tile_scheduler
        connect(m, flipped(self.control), registers.control)
        m.d.comb += [
            self.interrupt.eq(registers.interrupt),
            controller.start.eq(registers.start),
            controller.error_abort.eq(registers.abort),
            registers.busy.eq(controller.busy),
            registers.finished.eq(controller.finished),
            registers.code.eq(controller.code),
            reset.eq(controller.pipeline_reset),
            b.scene_loader.start.eq(controller.load),
            scheduler.start.eq(b.cube_list.listed),
            b.ray_setup.start.eq(scheduler.set_up),
            b.occupancy_walker.start.eq(controller.render),
            b.cube_list.start.eq(scheduler.walk),
            controller.loaded.eq(b.scene_loader.done),
            controller.rendered.eq(scheduler.done),
            scheduler.rays_ready.eq(b.ray_setup.done),
            scheduler.walked.eq(b.cube_list.done),
            scheduler.tile_done.eq(b.tile_buffer.done),
            controller.bus_idle.eq(b.read_master.idle & b.write_master.idle),
            controller.error_bus.eq(b.read_master.error | b.write_master.error),
            controller.error_header.eq(b.scene_loader.error_header),
            controller.error_config.eq(b.scene_loader.error_config),
            controller.error_tables.eq(b.scene_loader.error_tables),
            controller.error_row.eq(b.occupancy_walker.error_row),
            controller.error_record.eq(b.sample_generator.error_record),
            controller.error_list.eq(b.cube_list.error),
            controller.error_block_header.eq(b.block_fetch.error_header),
            controller.error_block_payload.eq(b.hybrid_decoder.error_payload),
            b.read_master.abort.eq(controller.drop),
            b.write_master.abort.eq(controller.drop),
            b.sample_generator.rays.eq(scheduler.rays),
            b.ray_setup.tile.eq(scheduler.set_up_tile),
            b.cube_list.tile.eq(scheduler.walk_tile),
            b.tile_buffer.tile.eq(scheduler.put_out_tile),
        ]
        connect(m, scheduler.tile_rows, b.cube_list.tile_rows)
        connect(m, scheduler.blank, b.tile_buffer.blank)
        for user in (
            b.occupancy_walker, b.ray_setup, b.projector, b.sample_generator, b.compositor, b.tile_buffer, scheduler
        ):  # fmt: skip
            m.d.comb += user.view.eq(registers.view)
        for user in (
            b.occupancy_walker, b.ray_setup, b.sample_generator, b.block_fetch, b.density_loader, b.appearance_loader,
            b.density, b.mlp_engine,
        ):  # fmt: skip
            m.d.comb += user.scene.eq(b.scene_loader.scene)
        for user in (b.scene_loader, b.occupancy_walker, b.sample_generator, b.block_fetch):
            m.d.comb += user.scene_base.eq(registers.scene_base)

    def _connect_memory(self, m: Module, b: SimpleNamespace) -> None:
        """Read and write masters with their clients, and the tables on their way."""
        reader, writer, loader = b.read_master, b.write_master, b.scene_loader
        clients = (
            loader.memory, b.occupancy_walker.rows, b.sample_generator.records, b.block_fetch.headers,
            b.block_fetch.payload, b.cube_list.entries,
        )  # fmt: skip
        for index, port in enumerate(clients):
            connect(m, port, getattr(reader, f"client_{index}"))
        self._connect_axi(m, reader, writer)
        connect(m, b.tile_buffer.o, writer.i)
        connect(m, b.cube_list.writes, writer.beats)
        m.d.comb += [
            writer.frame_base.eq(b.registers.frame_base),
            writer.width.eq(b.registers.view.window_width),
            b.cube_list.list_base.eq(b.registers.list_base),
            b.cube_list.live_cubes.eq(loader.scene.live_cubes),
            b.cube_list.written.eq(writer.idle),
        ]
        for user in (b.density, b.mlp_engine):
            m.d.comb += [user.table.valid.eq(loader.table.valid), user.table.payload.eq(loader.table.payload)]

    def _connect_samples(self, m: Module, b: SimpleNamespace) -> None:
        """Rays, cubes and samples."""
        generator, ray_buffer, compositor = b.sample_generator, b.ray_buffer, b.compositor
        connect(m, b.ray_setup.o, ray_buffer.i)
        connect(m, b.occupancy_walker.o, b.projector.i)
        connect(m, b.projector.o, b.cube_list.i)
        connect(m, b.cube_list.o, generator.i)
        for lane in range(self.cfg.sample_lanes):
            connect(m, generator.ray[lane], ray_buffer.ray[lane])
            connect(m, generator.terminated[lane], compositor.terminated[lane])
        connect(m, generator.o, b.density_samples.i)
        connect(m, generator.o_cube, b.density_loader.i)
        m.d.comb += [
            compositor.initialise.eq(ray_buffer.initialise),
            compositor.initialise_pixel.eq(ray_buffer.pixel),
            compositor.initialise_live.eq(ray_buffer.live),
            b.tile_buffer.initialise.eq(ray_buffer.initialise),
            b.tile_buffer.initialise_pixel.eq(ray_buffer.pixel),
        ]

    def _connect_factors(self, m: Module, b: SimpleNamespace) -> None:
        """From the blocks that the loaders want to the cube buffers, and the tree."""
        connect(m, b.density_loader.o_request, b.block_fetch.i_density)
        connect(m, b.appearance_loader.o_request, b.block_fetch.i_appearance)
        connect(m, b.block_fetch.o_job, b.hybrid_decoder.i_job)
        connect(m, b.block_fetch.o_payload, b.hybrid_decoder.i_payload)
        vector = b.hybrid_decoder.o
        for kind, buffer, loader in (
            (0, b.density_buffer, b.density_loader),
            (1, b.appearance_buffer, b.appearance_loader),
        ):
            mine = vector.valid & (vector.payload.appearance == kind)
            m.d.comb += [
                buffer.i.payload.eq(vector.payload.write),
                buffer.i.valid.eq(mine),
                loader.done.eq(mine & vector.ready & vector.payload.block_last),
            ]
        # No logic behind it: the decoder's own would not know that a buffer takes each at once.
        m.d.comb += vector.ready.eq(1)
        connect(m, b.density.tree, b.tree_server.client_0)
        connect(m, b.hybrid_decoder.tree, b.tree_server.client_1)
        connect(m, b.occupancy_walker.tree, b.tree_server.client_2)

    def _connect_shading(self, m: Module, b: SimpleNamespace) -> None:
        """Density, then appearance."""
        connect(m, b.density_samples.o, b.density_interpolator.i)
        self._connect_buffer(m, b.density_loader, b.density_buffer, b.density_interpolator, self.cfg.density_lanes)
        connect(m, b.density_interpolator.o_sample, b.density.i_sample)
        connect(m, b.density_interpolator.o_vector, b.density.i_vector)
        connect(m, b.density.o, b.compositor.i)
        visible = b.compositor
        if self.cfg.density_lanes > 1:
            visible = b.serialiser
            connect(m, b.compositor.o, visible.i)
        connect(m, visible.o, b.cube_sequencer.i)
        connect(m, b.cube_sequencer.o, b.visible_samples.i)
        connect(m, b.cube_sequencer.o_cube, b.appearance_loader.i)
        connect(m, b.visible_samples.o, b.appearance_interpolator.i)
        self._connect_buffer(m, b.appearance_loader, b.appearance_buffer, b.appearance_interpolator)
        shaded = b.appearance_interpolator
        if self.cfg.shading == "deferred":
            shaded = b.product_buffer
            connect(m, b.appearance_interpolator.o_sample, shaded.i_sample)
            connect(m, b.appearance_interpolator.o_vector, shaded.i_vector)
        connect(m, shaded.o_sample, b.appearance.i_sample)
        connect(m, shaded.o_vector, b.appearance.i_vector)
        connect(m, b.appearance.direction, b.ray_buffer.direction)
        connect(m, b.appearance.o_job, b.mlp_engine.i_job)
        connect(m, b.appearance.o_products, b.mlp_engine.i_products)
        connect(m, b.mlp_engine.o, b.tile_buffer.i)
        connect(m, b.tile_buffer.final, b.compositor.final)

    def _observe(self, m: Module, b: SimpleNamespace) -> None:
        """Drive the probes."""
        registers, controller, ray = b.registers, b.controller, b.ray_setup.o
        observed = {
            "visits": b.occupancy_walker.o,
            "footprints": b.projector.o,
            "rectangles": b.cube_list.o,
            "density_cubes": b.density_loader.o,
            "appearance_cubes": b.appearance_loader.o,
            "jobs": b.block_fetch.o_job,
            "density_requests": b.density_loader.o_request,
            "appearance_requests": b.appearance_loader.o_request,
            "samples": b.sample_generator.o,
            "opaque": b.density.o,
            "visible": b.cube_sequencer.i,
            "shade_jobs": b.appearance.o_job,
            "coloured": b.mlp_engine.o,
            "pixels": b.tile_buffer.o,
        }
        m.d.comb += [
            self.probe_frame.fire.eq((registers.start & ~controller.busy) | controller.finished),
            self.probe_frame.payload.ends.eq(controller.finished),
            self.probe_rays.fire.eq(ray.valid),
            self.probe_rays.payload.pixel.eq(ray.payload.pixel),
            self.probe_rays.payload.live.eq(ray.payload.live),
        ]
        for name, source in observed.items():
            port = getattr(self, f"probe_{name}")
            m.d.comb += [port.fire.eq(source.valid & source.ready), port.payload.eq(source.payload)]

    def _connect_axi(self, m: Module, reader: ReadMaster, writer: WriteMaster) -> None:
        """Read channels from one master, write channels from the other."""
        for name, member in Axi4(self.cfg.address_width, self.cfg.data_width).members.items():
            outside = getattr(self.axi, name)
            inside = getattr((reader if name.startswith(("ar", "r")) else writer).axi, name)
            m.d.comb += outside.eq(inside) if member.flow == Out else inside.eq(outside)

    def _connect_buffer(
        self, m: Module, loader: CubeLoader, buffer: CubeBuffer, user: Interpolator, copies: int = 1
    ) -> None:
        connect(m, loader.o, user.loaded)
        m.d.comb += loader.finished.eq(user.finished)
        for mine, copy in zip(each(user.factors, copies), each(buffer.factors, copies), strict=True):
            connect(m, mine, copy)

    def _count(self, m: Module, b: SimpleNamespace) -> None:
        """Counters of the running or last frame."""
        registers, controller = b.registers, b.controller
        cycles = Signal(64)
        m.d.comb += [registers.counter_cycles_low.eq(cycles[:32]), registers.counter_cycles_high.eq(cycles[32:])]
        m.d.sync += cycles.eq(Mux(controller.start & ~controller.busy, 0, cycles + controller.busy))
        events = {
            "samples": b.compositor.composited,
            "shaded": b.tile_buffer.shaded,
            "cubes": b.density_loader.o.valid & b.density_loader.o.ready,
            "read_beats": b.read_master.beat,
        }
        for name, event in events.items():
            counter = Signal(32, name=f"count_{name}")
            m.d.comb += getattr(registers, f"counter_{name}").eq(counter)
            m.d.sync += counter.eq(Mux(controller.start & ~controller.busy, 0, counter + event))
