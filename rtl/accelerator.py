"""The accelerator: every block, wired.

Two AXI4 ports meet the outside: ``axi`` (master: scene image in, pixels out) and ``control`` (AXI4-Lite slave).
"""

from dataclasses import dataclass

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
from rtl.parts.queue import Queue
from rtl.payloads import (
    BlockRequest,
    Cube,
    CubeVisit,
    DecodeJob,
    Footprint,
    TileLayouts,
)
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
    layouts = TileLayouts(cfg)
    return [
        Probe("frame", FrameEvent),
        Probe("rays", data.StructLayout({"pixel": layouts.pixel, "live": 1})),
        Probe("visits", CubeVisit),
        Probe("footprints", Footprint),
        Probe("rectangles", layouts.Rectangle),
        Probe("density_cubes", Cube),
        Probe("appearance_cubes", Cube),
        Probe("jobs", DecodeJob),
        Probe("density_requests", BlockRequest),
        Probe("appearance_requests", BlockRequest),
        Probe("samples", layouts.Sample),
        Probe("opaque", layouts.OpaqueSample),
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
        cfg, layouts = self.cfg, TileLayouts(self.cfg)
        reset = Signal()

        def block(name: str, component):
            """Add a block that is reset before each frame."""
            component = self.block(name, component)
            m.submodules[name] = ResetInserter(reset)(component)
            return component

        # The masters and the registers outlive a frame's reset: the bus sees no broken transaction.
        m.submodules.registers = registers = self.block("registers", ControlRegisters(cfg))
        m.submodules.controller = controller = self.block("controller", FrameController())
        m.submodules.read_master = reader = self.block("read_master", ReadMaster(cfg, clients=6))
        m.submodules.write_master = writer = self.block("write_master", WriteMaster(cfg))

        loader = block("scene_loader", SceneLoader(cfg))
        scheduler = block("tile_scheduler", TileScheduler(cfg))
        walker = block("occupancy_walker", OccupancyWalker(cfg))
        projector = block("projector", Projector())
        cubes = block("cube_list", CubeList(cfg))
        ray_setup = block("ray_setup", RaySetup(cfg))
        ray_buffer = block("ray_buffer", RayBuffer(cfg))
        generator = block("sample_generator", SampleGenerator(cfg))
        tree = block("tree_server", TreeServer(clients=3))
        fetch = block("block_fetch", BlockFetch(cfg))
        decoder = block("hybrid_decoder", HybridDecoder())
        density_loader = block("density_loader", CubeLoader(groups=1))
        density_buffer = block("density_buffer", CubeBuffer(groups=1))
        density_samples = block("density_samples", Queue(layouts.Sample, cfg.sample_queue))
        density_interpolator = block("density_interpolator", Interpolator(cfg, 1, layouts.Sample))
        density = block("density", Density(cfg))
        compositor = block("compositor", Compositor(cfg))
        sequencer = block("cube_sequencer", CubeSequencer(layouts.VisibleSample))
        appearance_loader = block("appearance_loader", CubeLoader(groups=3))
        appearance_buffer = block("appearance_buffer", CubeBuffer(groups=3))
        visible_samples = block("visible_samples", Queue(layouts.VisibleSample, cfg.sample_queue))
        appearance_interpolator = block("appearance_interpolator", Interpolator(cfg, 3, layouts.VisibleSample))
        appearance = block("appearance", Appearance(cfg))
        mlp_engine = block("mlp_engine", MlpEngine(cfg))
        tile_buffer = block("tile_buffer", TileBuffer(cfg))

        # ---- Host and frame ----
        connect(m, flipped(self.control), registers.control)
        m.d.comb += [
            self.interrupt.eq(registers.interrupt),
            controller.start.eq(registers.start),
            controller.error_abort.eq(registers.abort),
            registers.busy.eq(controller.busy),
            registers.finished.eq(controller.finished),
            registers.code.eq(controller.code),
            reset.eq(controller.pipeline_reset),
            loader.start.eq(controller.load),
            scheduler.start.eq(controller.render),
            ray_setup.start.eq(scheduler.set_up),
            walker.start.eq(controller.render),
            cubes.start.eq(scheduler.walk),
            controller.loaded.eq(loader.done),
            controller.rendered.eq(scheduler.done),
            scheduler.rays_ready.eq(ray_setup.done),
            scheduler.walked.eq(cubes.done),
            scheduler.tile_done.eq(tile_buffer.done),
            controller.bus_idle.eq(reader.idle & writer.idle),
            controller.error_bus.eq(reader.error | writer.error),
            controller.error_header.eq(loader.error_header),
            controller.error_config.eq(loader.error_config),
            controller.error_tables.eq(loader.error_tables),
            controller.error_row.eq(walker.error_row),
            controller.error_record.eq(generator.error_record),
            controller.error_list.eq(cubes.error),
            controller.error_block_header.eq(fetch.error_header),
            controller.error_block_payload.eq(decoder.error_payload),
            reader.abort.eq(controller.drop),
            writer.abort.eq(controller.drop),
            ray_setup.tile.eq(scheduler.set_up_tile),
            cubes.tile.eq(scheduler.walk_tile),
            tile_buffer.tile.eq(scheduler.put_out_tile),
        ]
        for user in (walker, ray_setup, projector, generator, compositor, tile_buffer, scheduler):
            if hasattr(user, "view"):
                m.d.comb += user.view.eq(registers.view)
        for user in (walker, ray_setup, generator, fetch, density_loader, appearance_loader, density, mlp_engine):
            if hasattr(user, "scene"):
                m.d.comb += user.scene.eq(loader.scene)
        for user in (loader, walker, generator, fetch):
            m.d.comb += user.scene_base.eq(registers.scene_base)

        # ---- Memory ----
        clients = (loader.memory, walker.rows, generator.records, fetch.headers, fetch.payload, cubes.entries)
        for index, port in enumerate(clients):
            connect(m, port, getattr(reader, f"client_{index}"))
        self._connect_axi(m, reader, writer)
        connect(m, tile_buffer.o, writer.i)
        connect(m, cubes.writes, writer.beats)
        m.d.comb += [
            writer.frame_base.eq(registers.frame_base),
            writer.width.eq(registers.view.window_width),
            cubes.list_base.eq(registers.list_base),
            cubes.live_cubes.eq(loader.scene.live_cubes),
            cubes.written.eq(writer.idle),
        ]
        for user in (density, mlp_engine):
            m.d.comb += [user.table.valid.eq(loader.table.valid), user.table.payload.eq(loader.table.payload)]

        # ---- Rays, cubes, samples ----
        connect(m, ray_setup.o, ray_buffer.i)
        connect(m, walker.o, projector.i)
        connect(m, projector.o, cubes.i)
        connect(m, cubes.o, generator.i)
        for lane in range(cfg.sample_lanes):
            connect(m, generator.ray[lane], ray_buffer.ray[lane])
            connect(m, generator.terminated[lane], compositor.terminated[lane])
        connect(m, generator.o, density_samples.i)
        connect(m, generator.o_cube, density_loader.i)
        m.d.comb += [
            compositor.initialise.eq(ray_buffer.initialise),
            compositor.initialise_pixel.eq(ray_buffer.pixel),
            compositor.initialise_live.eq(ray_buffer.live),
            tile_buffer.initialise.eq(ray_buffer.initialise),
            tile_buffer.initialise_pixel.eq(ray_buffer.pixel),
        ]

        # ---- Factors ----
        connect(m, density_loader.o_request, fetch.i_density)
        connect(m, appearance_loader.o_request, fetch.i_appearance)
        connect(m, fetch.o_job, decoder.i_job)
        connect(m, fetch.o_payload, decoder.i_payload)
        vector = decoder.o
        for kind, buffer, its_loader in (
            (0, density_buffer, density_loader),
            (1, appearance_buffer, appearance_loader),
        ):
            mine = vector.valid & (vector.payload.appearance == kind)
            m.d.comb += [
                buffer.i.payload.eq(vector.payload.write),
                buffer.i.valid.eq(mine),
                its_loader.done.eq(mine & vector.payload.block_last),
            ]
        m.d.comb += vector.ready.eq(1)
        connect(m, density.tree, tree.client_0)
        connect(m, decoder.tree, tree.client_1)
        connect(m, walker.tree, tree.client_2)

        # ---- Density, then appearance ----
        connect(m, density_samples.o, density_interpolator.i)
        self._connect_buffer(m, density_loader, density_buffer, density_interpolator)
        connect(m, density_interpolator.o_sample, density.i_sample)
        connect(m, density_interpolator.o_vector, density.i_vector)
        connect(m, density.o, compositor.i)
        connect(m, compositor.o, sequencer.i)
        connect(m, sequencer.o, visible_samples.i)
        connect(m, sequencer.o_cube, appearance_loader.i)
        connect(m, visible_samples.o, appearance_interpolator.i)
        self._connect_buffer(m, appearance_loader, appearance_buffer, appearance_interpolator)
        shaded = appearance_interpolator
        if cfg.shading == "deferred":
            shaded = block("product_buffer", ProductBuffer(cfg))
            connect(m, appearance_interpolator.o_sample, shaded.i_sample)
            connect(m, appearance_interpolator.o_vector, shaded.i_vector)
        connect(m, shaded.o_sample, appearance.i_sample)
        connect(m, shaded.o_vector, appearance.i_vector)
        connect(m, appearance.direction, ray_buffer.direction)
        connect(m, appearance.o_job, mlp_engine.i_job)
        connect(m, appearance.o_products, mlp_engine.i_products)
        connect(m, mlp_engine.o, tile_buffer.i)
        connect(m, tile_buffer.final, compositor.final)

        self._count(m, controller, registers, {
            "samples": compositor.composited,
            "shaded": tile_buffer.shaded,
            "cubes": density_loader.o.valid & density_loader.o.ready,
            "read_beats": reader.beat,
        })  # fmt: skip
        observed = {
            "visits": walker.o,
            "footprints": projector.o,
            "rectangles": cubes.o,
            "density_cubes": density_loader.o,
            "appearance_cubes": appearance_loader.o,
            "jobs": fetch.o_job,
            "density_requests": density_loader.o_request,
            "appearance_requests": appearance_loader.o_request,
            "samples": generator.o,
            "opaque": density.o,
            "visible": compositor.o,
            "shade_jobs": appearance.o_job,
            "coloured": mlp_engine.o,
            "pixels": tile_buffer.o,
        }
        m.d.comb += [
            self.probe_frame.fire.eq((registers.start & ~controller.busy) | controller.finished),
            self.probe_frame.payload.ends.eq(controller.finished),
            self.probe_rays.fire.eq(ray_setup.o.valid),
            self.probe_rays.payload.pixel.eq(ray_setup.o.payload.pixel),
            self.probe_rays.payload.live.eq(ray_setup.o.payload.live),
        ]
        for name, source in observed.items():
            port = getattr(self, f"probe_{name}")
            m.d.comb += [port.fire.eq(source.valid & source.ready), port.payload.eq(source.payload)]
        return m

    def _connect_axi(self, m: Module, reader: ReadMaster, writer: WriteMaster) -> None:
        """Read channels from one master, write channels from the other."""
        for name, member in Axi4(self.cfg.address_width, self.cfg.data_width).members.items():
            outside = getattr(self.axi, name)
            inside = getattr((reader if name.startswith(("ar", "r")) else writer).axi, name)
            m.d.comb += outside.eq(inside) if member.flow == Out else inside.eq(outside)

    def _connect_buffer(self, m: Module, loader: CubeLoader, buffer: CubeBuffer, user: Interpolator) -> None:
        connect(m, loader.o, user.loaded)
        m.d.comb += loader.finished.eq(user.finished)
        connect(m, user.factors, buffer.factors)

    def _count(self, m: Module, controller: FrameController, registers: ControlRegisters, events: dict) -> None:
        """Counters of the running or last frame."""
        cycles = Signal(64)
        m.d.comb += [registers.counter_cycles_low.eq(cycles[:32]), registers.counter_cycles_high.eq(cycles[32:])]
        m.d.sync += cycles.eq(Mux(controller.start & ~controller.busy, 0, cycles + controller.busy))
        for name, event in events.items():
            counter = Signal(32, name=f"count_{name}")
            m.d.comb += getattr(registers, f"counter_{name}").eq(counter)
            m.d.sync += counter.eq(Mux(controller.start & ~controller.busy, 0, counter + event))
