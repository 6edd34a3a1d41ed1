"""Composite samples into their pixels' transmittance: weight = alpha * T, T = T - weight."""

from functools import reduce
from operator import add, or_

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from rtl.parts.carry_save import few_rows
from rtl.parts.lanes import each, of_lane, pass_on, sample_in, several
from rtl.parts.pixel_memory import PixelMemory
from rtl.payloads import UNIT_BITS, LookUp, TileLayouts, ViewRegisters

PRODUCT_BITS = 2 * UNIT + 1
"""Bits of a transmittance times what a sample leaves of it, 0 to 1.0."""


class Compositor(wiring.Component):
    """Hold the transmittance of the pixels of some tiles, composite each sample and pass on the visible ones.

    Rules
    -----
    - ``initialise`` sets a pixel's transmittance to 1.0, and marks it terminated unless it is live. All pixels of a
      tile are initialised before its first sample is offered, and none between that and the reading of the final
      values. Meanwhile those of another tile may be.
    - A sample of a terminated pixel is dropped and changes nothing. Any other sample is composited: weight =
      transmittance * alpha, rounded; the transmittance falls by it. A pixel whose transmittance is then below
      ``view.termination`` is terminated.
    - A composited sample is passed on if its weight is above ``view.shading_threshold``.
    - ``last`` passes behind everything before it.

    Latency: `LATENCY` cycles from a sample at the input to its weight at the output.
    Throughput: one sample of each density lane a cycle; all wait a cycle if one is of the same pixel as the one right
    before it.

    Parameters
    ----------
    cfg : AcceleratorConfig
        ``sample_lanes`` look-ups of ``terminated`` are answered at a time. A density lane has the columns that are its
        number modulo ``density_lanes``, in memories of its own.

    Members
    -------
    initialise, initialise_pixel, initialise_live : In
        Strobe, pixel, and whether its ray meets the grid.
    view : In(ViewRegisters)
    i, o : stream
        ``OpaqueSamples`` in, ``VisibleSamples`` out.
    terminated : array of In(LookUp)
        Each answers whether a pixel takes no more samples (a sample in flight may not have been counted yet).
    final : In(LookUp)
        Answers a pixel's transmittance.
    composited : Out
        Samples that were composited in this cycle: 0 or 1, or of several lanes up to all.
    probe_valid, probe_pixel, probe_weight, probe_transmittance : Out
        A sample was composited: its pixel, its weight and the transmittance behind it; of several lanes an array each.
    """

    LATENCY = 5

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._lanes, self._look_ups = cfg.density_lanes, cfg.sample_lanes
        self._pixel_bits, self._place_bits = layouts.pixel, layouts.place
        self._lane_bits = cfg.density_lanes.bit_length() - 1

        def of_lanes(shape):
            return several(Out(shape), cfg.density_lanes)

        super().__init__(
            {
                "initialise": In(1),
                "initialise_pixel": In(layouts.pixel),
                "initialise_live": In(1),
                "view": In(ViewRegisters),
                "i": In(stream.Signature(layouts.OpaqueSamples)),
                "o": Out(stream.Signature(layouts.VisibleSamples)),
                "terminated": In(LookUp(layouts.pixel, 1)).array(cfg.sample_lanes),
                "final": In(LookUp(layouts.pixel, UNIT_BITS)),
                "composited": Out(range(cfg.density_lanes + 1)),
                "probe_valid": of_lanes(1),
                "probe_pixel": of_lanes(layouts.pixel),
                "probe_weight": of_lanes(UNIT_BITS),
                "probe_transmittance": of_lanes(UNIT_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the memories, and the way of a sample past them."""
        m = Module()
        step = data.StructLayout({"sample": self.i.payload.shape(), "valid": 1})
        reading, multiplying, adding, writing = (
            Signal(step, name=name) for name in ("reading", "multiplying", "adding", "writing")
        )
        advance, waits = Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            waits.eq(reduce(or_, (_follows(self.i.payload, reading, lane) for lane in range(self._lanes)))),
            self.i.ready.eq(advance & ~waits),
        ]
        with m.If(advance):
            m.d.sync += [
                reading.sample.eq(self.i.payload),
                reading.valid.eq(self.i.valid & ~waits),
                multiplying.eq(reading),
                adding.eq(multiplying),
                writing.eq(adding),
            ]
        memories = [self._memories(m, lane) for lane in range(self._lanes)]
        self._look_up(m, *zip(*memories, strict=True))
        visible = []
        for lane, (transmittance, flags) in enumerate(memories):
            stored = transmittance.read.data, flags.read.data
            behind, ends, seen = self._composite(m, lane, advance, reading, adding, writing, *stored)
            (taken, _), (written, _) = sample_in(self.i.payload, lane), sample_in(writing.sample, lane)
            visible.append(seen)
            for store, value, first in ((transmittance, behind, 1 << UNIT), (flags, ends, ~self.initialise_live)):
                m.d.comb += [
                    store.read.address.eq(self._place(taken.pixel)),
                    store.read.enable.eq(advance),
                    store.update.address.eq(self._place(written.pixel)),
                    store.update.enable.eq(each(self.probe_valid, self._lanes)[lane]),
                    store.update.data.eq(value),
                    store.initialise.address.eq(self._place(self.initialise_pixel)),
                    store.initialise.enable.eq(self._initialises(lane)),
                    store.initialise.data.eq(first),
                ]
        self._hand_on(m, advance, writing, visible)
        return m

    def _place(self, pixel: Value) -> Value:
        """Return where a pixel is among those of its lane."""
        return pixel[self._lane_bits :]

    def _initialises(self, lane: int) -> Value:
        """Return whether a pixel of a lane is initialised."""
        if self._lanes == 1:
            return self.initialise
        return self.initialise & (self.initialise_pixel[: self._lane_bits] == lane)

    def _memories(self, m: Module, lane: int) -> tuple[PixelMemory, PixelMemory]:
        """Add a lane's transmittances and flags."""
        bits = self._pixel_bits - self._lane_bits
        transmittance = PixelMemory(bits, UNIT_BITS, place_bits=self._place_bits)
        flags = PixelMemory(bits, 1, self._look_ups // self._lanes, self._place_bits, meets_updates=True)
        m.submodules[of_lane("transmittance", lane, self._lanes)] = transmittance
        m.submodules[of_lane("flags", lane, self._lanes)] = flags
        return transmittance, flags

    def _look_up(self, m: Module, transmittances, flags) -> None:
        """Connect the look-ups: a sample lane has columns of one density lane; a final value may be of any."""
        for number, user in enumerate(self.terminated):
            port = flags[number % self._lanes].look_ups[number // self._lanes]
            m.d.comb += [
                port.address.eq(self._place(user.address)),
                port.enable.eq(user.enable),
                user.data.eq(port.data),
            ]
        ports = [memory.look_ups[0] for memory in transmittances]
        for port in ports:
            m.d.comb += [port.address.eq(self._place(self.final.address)), port.enable.eq(self.final.enable)]
        if self._lanes == 1:
            m.d.comb += self.final.data.eq(ports[0].data)
            return
        asked = Signal(range(self._lanes))
        with m.If(self.final.enable):
            m.d.sync += asked.eq(self.final.address[: self._lane_bits])
        m.d.comb += self.final.data.eq(Array(port.data for port in ports)[asked])

    def _composite(self, m: Module, lane: int, advance, reading, adding, writing, stored: Value, flag: Value):
        """Add a lane's datapath of the four steps: take what was read, multiply, add the carries, decide.

        What the last step finds, the first two take from there: the memories have it only afterwards. Returns it:
        the transmittance behind the sample, and whether its pixel takes no more; and whether the sample is visible.
        """
        (read, _), (written, present) = sample_in(reading.sample, lane), sample_in(writing.sample, lane)
        composited, pixel, weight, remains = (
            each(probe, self._lanes)[lane]
            for probe in (self.probe_valid, self.probe_pixel, self.probe_weight, self.probe_transmittance)
        )
        behind, ends = Signal(UNIT_BITS), Signal()
        found, before, beyond = (Signal(UNIT_BITS, name=name) for name in ("found", "before", "beyond"))
        terminated, was_terminated, dropped = (
            Signal(name=name) for name in ("terminated", "was_terminated", "dropped")
        )
        again = _follows(reading.sample, writing, lane)
        handed_on = Signal()
        here, remainder = Signal(UNIT_BITS), Signal(UNIT_BITS)
        margin = Signal(signed(UNIT_BITS + 1))
        # T - round(T * alpha) is T * (1 - alpha), a half rounded down.
        product, carries = Signal(PRODUCT_BITS), Signal(PRODUCT_BITS)
        rows = few_rows(m, here, remainder, PRODUCT_BITS, [Const((1 << UNIT >> 1) - 1, PRODUCT_BITS)])
        m.d.comb += [
            here.eq(Mux(handed_on, behind, found)),
            ends.eq(dropped | (behind < self.view.termination)),
            composited.eq(advance & writing.valid & present & ~dropped),
            pixel.eq(written.pixel),
            weight.eq(beyond - behind),
            remains.eq(behind),
        ]
        with m.If(advance):
            m.d.sync += [
                found.eq(Mux(again, behind, stored)),
                terminated.eq(flag | again & ends),
                remainder.eq((1 << UNIT) - read.alpha),
                handed_on.eq(_follows(reading.sample, adding, lane)),
            ]
            m.d.sync += [
                Cat(product, carries).eq(Cat(rows)),
                before.eq(here),
                was_terminated.eq(terminated | handed_on & ends),
            ]
            m.d.sync += [
                behind.eq((product + carries) >> UNIT),
                beyond.eq(before),
                margin.eq(before - self.view.shading_threshold),
                dropped.eq(was_terminated),
            ]
        # A marker alone passes in any case.
        counts = ~dropped if self._lanes == 1 else present & ~dropped
        return behind, ends, counts & (margin > behind)

    def _hand_on(self, m: Module, advance, writing, visible: list[Value]) -> None:
        """Count what the last step has composited, and put out what is visible in each lane."""
        weights = each(self.probe_weight, self._lanes)
        m.d.comb += self.composited.eq(reduce(add, each(self.probe_valid, self._lanes)))
        with m.If(advance):
            m.d.sync += self.o.valid.eq(writing.valid & (writing.sample.last | reduce(or_, visible)))
            m.d.sync += pass_on(self.o.payload, writing.sample, weight=weights, present=visible)


def _follows(samples: data.View, step: data.View, lane: int) -> Value:
    """Return whether a step holds a sample of the same pixel, in a lane."""
    (own, present), (before, was_present) = sample_in(samples, lane), sample_in(step.sample, lane)
    return step.valid & was_present & present & (own.pixel == before.pixel)
