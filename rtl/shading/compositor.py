"""Composite samples into their pixels' transmittance: weight = alpha * T, T = T - weight."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from rtl.parts.pixel_memory import PixelMemory
from rtl.payloads import UNIT_BITS, LookUp, TileLayouts, ViewRegisters


class Compositor(wiring.Component):
    """Hold the transmittance of the pixels of two tiles, composite each sample and pass on the visible ones.

    Rules
    -----
    - ``initialise`` sets a pixel's transmittance to 1.0, and marks it terminated unless it is live. All pixels of a
      tile are initialised before its first sample is offered, and none between that and the reading of the final
      values. Meanwhile those of the other tile may be.
    - A sample of a terminated pixel is dropped and changes nothing. Any other sample is composited: weight =
      transmittance * alpha, rounded; the transmittance falls by it. A pixel whose transmittance is then below
      ``view.termination`` is terminated.
    - A composited sample is passed on if its weight is above ``view.shading_threshold``.
    - ``last`` passes behind everything before it.

    Latency: `LATENCY` cycles from a sample at the input to its weight at the output.
    Throughput: one sample a cycle, of whatever pixels.

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

    LATENCY = 2

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._cfg, self._pixel_bits = cfg, layouts.pixel
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
        """Return the memories and two steps: read a sample's pixel, then composite and write it."""
        m = Module()
        m.submodules.transmittance = transmittance = PixelMemory(self._pixel_bits, UNIT_BITS)
        m.submodules.flags = flags = PixelMemory(self._pixel_bits, 1, self._cfg.sample_lanes)
        wiring.connect(m, wiring.flipped(self.final), transmittance.look_ups[0])
        for look_up, port in zip(self.terminated, flags.look_ups, strict=True):
            wiring.connect(m, wiring.flipped(look_up), port)

        sample = Signal(self.i.payload.shape())
        holds = Signal()
        advance = Signal()
        weight = Signal(UNIT_BITS)
        behind = Signal(UNIT_BITS)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance),
            weight.eq((transmittance.read.data * sample.alpha + (1 << UNIT >> 1)) >> UNIT),
            behind.eq(transmittance.read.data - weight),
            self.composited.eq(advance & holds & ~sample.last & ~flags.read.data),
        ]
        with m.If(advance):
            m.d.sync += [
                sample.eq(self.i.payload),
                holds.eq(self.i.valid),
                self.o.valid.eq(holds & sample.last | self.composited & (weight > self.view.shading_threshold)),
                self.o.payload.pixel.eq(sample.pixel),
                self.o.payload.cube.eq(sample.cube),
                self.o.payload.local.eq(sample.local),
                self.o.payload.weight.eq(weight),
                self.o.payload.last.eq(sample.last),
            ]

        for store, value, first in (
            (transmittance, behind, 1 << UNIT),
            (flags, behind < self.view.termination, ~self.initialise_live),
        ):
            m.d.comb += [
                store.read.address.eq(self.i.payload.pixel),
                store.read.enable.eq(advance),
                store.update.address.eq(sample.pixel),
                store.update.enable.eq(self.composited),
                store.update.data.eq(value),
                store.initialise.address.eq(self.initialise_pixel),
                store.initialise.enable.eq(self.initialise),
                store.initialise.data.eq(first),
            ]
        m.d.comb += [
            self.probe_valid.eq(self.composited),
            self.probe_pixel.eq(sample.pixel),
            self.probe_weight.eq(weight),
            self.probe_transmittance.eq(behind),
        ]
        return m
