"""Sample generator: the lattice samples of a cube's pixels that fall in the cube and in an occupied mask cell.

A sample belongs to the cube that the top bits of its position name, so neighbouring cubes never repeat or lose one.
"""

from functools import reduce
from itertools import chain
from operator import or_

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from nerf.contract.config import AcceleratorConfig
from rtl.parts.lanes import of_lane
from rtl.parts.queue import Queue
from rtl.parts.round_robin import RoundRobin
from rtl.payloads import Cube, LookUp, Ray, ReadPort, SceneRegisters, TileLayouts, ViewRegisters
from rtl.samples.record_reader import RecordReader, masked_rectangle
from rtl.samples.sample_lane import SLOTS, SampleLane, lane_sample


class SampleGenerator(wiring.Component):
    """Enumerate the samples of a rectangle's pixels in a cube: samples of a pixel ascending, pixels in any order.

    The lanes work on four cubes at a time: a lane begins with the next one when it has looked up its pixels of the one
    before. A cube's samples come behind all those of the cube before, and ``last`` behind all samples before it.

    Latency: the record is requested in the cycle after its rectangle; ``LATENCY`` cycles from its second beat to the
    first sample, if a first pixel's ray starts in the cube; ``LATENCY_LAST`` cycles for ``last``.
    Throughput: one sample a cycle, of two ``density_lanes`` one each, of columns that are its number modulo them. A
    sample lane passes one pixel a cycle and, at the same time, one lattice point a cycle; ``CUBE_CYCLES`` more for each
    cube.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    scene, view : In
        Registers of the frame.
    scene_base : In
        Byte address of the scene image.
    rays : In
        Whether the rays of a tile are there, by its place on chip: its cubes wait for them.
    i : In(stream)
        `Rectangle`.
    records : Out(ReadPort)
        Cube records.
    ray : Out(LookUp), an array of ``sample_lanes``
        The ray of a pixel, by lane.
    terminated : Out(LookUp), an array of ``sample_lanes``
        1: the pixel takes no more samples and is skipped.
    o_cube : Out(stream)
        `Cube`: each cube that has a sample, not later than the first of its samples.
    o : Out(stream)
        ``Samples``: of each density lane the next of its columns, if one is there.
    error_record : Out(1)
        Strobe: a record with a wrong checksum.
    """

    LATENCY = 3 + SampleLane.LATENCY + Queue.LATENCY + 1
    LATENCY_LAST = 26
    CUBE_CYCLES = 2

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._cfg = cfg
        layouts = TileLayouts(cfg)
        super().__init__(
            {
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "scene_base": In(cfg.address_width),
                "rays": In(cfg.tiles),
                "i": In(stream.Signature(layouts.Rectangle)),
                "records": Out(ReadPort(cfg)),
                "ray": Out(LookUp(layouts.pixel, Ray)).array(cfg.sample_lanes),
                "terminated": Out(LookUp(layouts.pixel, 1)).array(cfg.sample_lanes),
                "o_cube": Out(stream.Signature(Cube)),
                "o": Out(stream.Signature(layouts.Samples)),
                "error_record": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the record reader, the lanes with a queue each, and what merges their samples."""
        m = Module()
        m.submodules.reader = reader = RecordReader(self._cfg)
        connect(m, flipped(self.i), reader.i)
        connect(m, reader.records, flipped(self.records))
        m.d.comb += [
            reader.scene.eq(self.scene),
            reader.scene_base.eq(self.scene_base),
            self.error_record.eq(reader.error_record),
        ]
        lanes, queues = [], []
        for n in range(self._cfg.sample_lanes):
            m.submodules[f"lane_{n}"] = lane = SampleLane(self._cfg, n)
            m.submodules[f"queue_{n}"] = queue = Queue(lane_sample(self._cfg), self._cfg.lane_queue)
            connect(m, lane.o, queue.i)
            connect(m, lane.ray, flipped(self.ray[n]))
            connect(m, lane.terminated, flipped(self.terminated[n]))
            m.d.comb += [
                lane.scene.eq(self.scene),
                lane.view.eq(self.view),
            ]
            lanes.append(lane)
            queues.append(queue.o)
        self._sequence(m, reader.o, lanes)
        self._merge(m, queues)
        return m

    def _sequence(self, m: Module, record, lanes: list[SampleLane]) -> None:
        """Load the slots in turn, each when all lanes have ended its cube."""
        cubes = Signal(data.ArrayLayout(masked_rectangle(self._cfg), SLOTS))
        slot = Signal(range(SLOTS))
        load = Signal(SLOTS)
        ended = Cat(Cat(lane.ended[n] for lane in lanes).all() for n in range(SLOTS))
        seen = self.rays.bit_select(record.payload.rectangle.tile, 1)
        m.d.comb += record.ready.eq(ended.bit_select(slot, 1) & seen)
        for lane in lanes:
            m.d.comb += [lane.cubes.eq(cubes), lane.load.eq(load)]
        with m.If(record.valid & record.ready):
            m.d.comb += load.eq(1 << slot)
            m.d.sync += [cubes[slot].eq(record.payload), slot.eq(slot + 1)]

    def _merge(self, m: Module, lanes: list[stream.Interface]) -> None:
        """Make one stream of those of the lanes, a cube's samples at a time: of each group of lanes one."""
        count = self._cfg.density_lanes
        announced = Signal()
        all_end = Cat(lane.valid & lane.payload.ends for lane in lanes).all()
        room = ~self.o.valid | self.o.ready
        ends = Signal()
        arbiters, samples = [], []
        for number in range(count):
            group = lanes[number::count]
            arbiter = RoundRobin(len(group))
            m.submodules[of_lane("arbiter", number, count)] = arbiter
            m.d.comb += arbiter.requests.eq(Cat(lane.valid & ~lane.payload.ends for lane in group))
            arbiters.append(arbiter)
            samples.append(Array(lane.payload.sample for lane in group)[arbiter.grant])
        goes_on = arbiters[0].next
        m.d.comb += [
            # The first sample of a cube waits for the place of its announcement.
            goes_on.eq(room & (announced | ~self.o_cube.valid | self.o_cube.ready)),
            *(arbiter.next.eq(goes_on) for arbiter in arbiters[1:]),
            ends.eq(all_end & (room | ~lanes[0].payload.sample.last)),
        ]
        m.d.comb += [
            lane.ready.eq(ends | (arbiter.valid & arbiter.next & (arbiter.grant == n)))
            for number, arbiter in enumerate(arbiters)
            for n, lane in enumerate(lanes[number::count])
        ]
        valid = [arbiter.valid for arbiter in arbiters]
        cube = samples[0].cube if count == 1 else Mux(valid[0], samples[0].cube, samples[1].cube)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.o_cube.ready):
            m.d.sync += self.o_cube.valid.eq(0)
        with m.If(reduce(or_, valid) & goes_on):
            m.d.sync += [self.o.valid.eq(1), *self._put_out(samples, valid, cube), announced.eq(1)]
            with m.If(~announced):
                m.d.sync += [self.o_cube.valid.eq(1), self.o_cube.payload.eq(cube)]
        with m.If(ends):
            m.d.sync += announced.eq(0)
            with m.If(lanes[0].payload.sample.last):
                marks = [lane.payload.sample for lane in lanes[:count]]
                m.d.sync += [self.o.valid.eq(1), *self._put_out(marks, [Const(0)] * count, cube)]

    def _put_out(self, samples: list, present: list, cube) -> list:
        """Return the statements that make a transfer of samples that may be there, or none: the end of a tile."""
        o = self.o.payload
        if len(samples) == 1:
            return [o.eq(samples[0])]
        fields = [
            (lane.present.eq(there), lane.pixel.eq(sample.pixel), lane.local.eq(sample.local))
            for lane, sample, there in zip(o.lanes, samples, present, strict=True)
        ]
        return [*chain(*fields), o.cube.eq(cube), o.last.eq(~reduce(or_, present))]
