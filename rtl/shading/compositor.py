"""Composite samples into their pixels' transmittance: weight = alpha * T, T = T - weight."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from rtl.parts.carry_save import compress, product_rows
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
    Throughput: one sample a cycle; one of the same pixel as the sample right before it waits a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig
        ``sample_lanes`` look-ups of ``terminated`` are answered at a time.

    Members
    -------
    initialise, initialise_pixel, initialise_live : In
        Strobe, pixel, and whether its ray meets the grid.
    view : In(ViewRegisters)
    i, o : stream
        Samples with alpha in, visible samples with weight out.
    terminated : array of In(LookUp)
        Each answers whether a pixel takes no more samples (a sample in flight may not have been counted yet).
    final : In(LookUp)
        Answers a pixel's transmittance.
    composited : Out(1)
        Strobe: a sample was composited.
    probe_valid, probe_pixel, probe_weight, probe_transmittance : Out
        With ``composited``: its pixel, its weight and the transmittance behind it.
    """

    LATENCY = 5

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._cfg, self._pixel_bits, self._place_bits = cfg, layouts.pixel, layouts.place
        super().__init__(
            {
                "initialise": In(1),
                "initialise_pixel": In(layouts.pixel),
                "initialise_live": In(1),
                "view": In(ViewRegisters),
                "i": In(stream.Signature(layouts.OpaqueSample)),
                "o": Out(stream.Signature(layouts.VisibleSample)),
                "terminated": In(LookUp(layouts.pixel, 1)).array(cfg.sample_lanes),
                "final": In(LookUp(layouts.pixel, UNIT_BITS)),
                "composited": Out(1),
                "probe_valid": Out(1),
                "probe_pixel": Out(layouts.pixel),
                "probe_weight": Out(UNIT_BITS),
                "probe_transmittance": Out(UNIT_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the memories, and the way of a sample past them."""
        m = Module()
        m.submodules.transmittance = transmittance = PixelMemory(
            self._pixel_bits, UNIT_BITS, place_bits=self._place_bits
        )
        m.submodules.flags = flags = PixelMemory(self._pixel_bits, 1, self._cfg.sample_lanes, self._place_bits)
        wiring.connect(m, wiring.flipped(self.final), transmittance.look_ups[0])
        for look_up, port in zip(self.terminated, flags.look_ups, strict=True):
            wiring.connect(m, wiring.flipped(look_up), port)

        step = data.StructLayout({"sample": self.i.payload.shape(), "valid": 1})
        reading, multiplying, adding, writing = (
            Signal(step, name=name) for name in ("reading", "multiplying", "adding", "writing")
        )
        advance, waits = Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            waits.eq(_follows(self.i.payload, reading)),
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
        behind, ends = self._composite(m, advance, reading, adding, writing, transmittance.read.data, flags.read.data)
        for store, value, first in ((transmittance, behind, 1 << UNIT), (flags, ends, ~self.initialise_live)):
            m.d.comb += [
                store.read.address.eq(self.i.payload.pixel),
                store.read.enable.eq(advance),
                store.update.address.eq(writing.sample.pixel),
                store.update.enable.eq(self.composited),
                store.update.data.eq(value),
                store.initialise.address.eq(self.initialise_pixel),
                store.initialise.enable.eq(self.initialise),
                store.initialise.data.eq(first),
            ]
        return m

    def _composite(self, m: Module, advance, reading, adding, writing, stored: Value, flag: Value):
        """Add the datapath of the four steps: take what was read, multiply, add the carries, decide.

        What the last step finds, the first two take from there: the memories have it only afterwards. Returns it:
        the transmittance behind the sample, and whether its pixel takes no more.
        """
        behind, ends = Signal(UNIT_BITS), Signal()
        found, before, beyond = (Signal(UNIT_BITS, name=name) for name in ("found", "before", "beyond"))
        terminated, was_terminated, dropped = (
            Signal(name=name) for name in ("terminated", "was_terminated", "dropped")
        )
        again = _follows(reading.sample, writing)
        handed_on = Signal()
        here, remainder = Signal(UNIT_BITS), Signal(UNIT_BITS)
        margin = Signal(signed(UNIT_BITS + 1))
        # T - round(T * alpha) is T * (1 - alpha), a half rounded down.
        product, carries = Signal(PRODUCT_BITS), Signal(PRODUCT_BITS)
        rows = [*product_rows(m, here, remainder, PRODUCT_BITS), Const((1 << UNIT >> 1) - 1, PRODUCT_BITS)]
        m.d.comb += [
            here.eq(Mux(handed_on, behind, found)),
            ends.eq(dropped | (behind < self.view.termination)),
            self.composited.eq(advance & writing.valid & ~writing.sample.last & ~dropped),
            self.probe_valid.eq(self.composited),
            self.probe_pixel.eq(writing.sample.pixel),
            self.probe_weight.eq(beyond - behind),
            self.probe_transmittance.eq(behind),
        ]
        with m.If(advance):
            m.d.sync += [
                found.eq(Mux(again, behind, stored)),
                terminated.eq(flag | again & ends),
                remainder.eq((1 << UNIT) - reading.sample.alpha),
                handed_on.eq(_follows(reading.sample, adding)),
            ]
            m.d.sync += [
                Cat(product, carries).eq(Cat(compress(m, rows))),
                before.eq(here),
                was_terminated.eq(terminated | handed_on & ends),
            ]
            m.d.sync += [
                behind.eq((product + carries) >> UNIT),
                beyond.eq(before),
                margin.eq(before - self.view.shading_threshold),
                dropped.eq(was_terminated),
            ]
            m.d.sync += [
                self.o.valid.eq(writing.valid & (writing.sample.last | ~dropped & (margin > behind))),
                self.o.payload.pixel.eq(writing.sample.pixel),
                self.o.payload.cube.eq(writing.sample.cube),
                self.o.payload.local.eq(writing.sample.local),
                self.o.payload.weight.eq(self.probe_weight),
                self.o.payload.last.eq(writing.sample.last),
            ]
        return behind, ends


def _follows(sample: data.View, step: data.View) -> Value:
    """Return whether a step holds a sample of the same pixel."""
    return step.valid & ~step.sample.last & ~sample.last & (sample.pixel == step.sample.pixel)
