"""Composite samples into their pixels' transmittance: weight = alpha * T, T = T - weight."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from rtl.payloads import UNIT_BITS, LookUp, TileLayouts, ViewRegisters


class Compositor(wiring.Component):
    """Hold the transmittance of a tile's pixels, composite each sample and pass on the visible ones.

    Rules
    -----
    - ``initialise`` sets a pixel's transmittance to 1.0, and marks it terminated unless it is live. All pixels are
      initialised before a tile's first sample is offered, and none between that and the reading of the final values.
    - A sample of a terminated pixel is dropped and changes nothing. Any other sample is composited: weight =
      transmittance * alpha, rounded; the transmittance falls by it. A pixel whose transmittance is then below
      ``view.termination`` is terminated.
    - A composited sample is passed on if its weight is above ``view.visibility``.
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
        self._pixels = 1 << layouts.pixel
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
        m.submodules.transmittance = transmittance = Memory(shape=UNIT_BITS, depth=self._pixels, init=[])
        m.submodules.flags = flags = Memory(shape=1, depth=self._pixels, init=[])
        write, write_flag = transmittance.write_port(), flags.write_port()
        # A sample reads what the one before it writes in the same cycle.
        read, read_flag = (
            transmittance.read_port(transparent_for=[write]),
            flags.read_port(transparent_for=[write_flag]),
        )
        look_ups = [(transmittance, self.final), *((flags, look_up) for look_up in self.terminated)]
        for memory, look_up in look_ups:
            port = memory.read_port()
            m.d.comb += [port.addr.eq(look_up.address), port.en.eq(look_up.enable), look_up.data.eq(port.data)]

        sample = Signal(self.i.payload.shape())
        holds = Signal()
        advance = Signal()
        weight = Signal(UNIT_BITS)
        behind = Signal(UNIT_BITS)
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance),
            read.addr.eq(self.i.payload.pixel),
            read.en.eq(advance),
            read_flag.addr.eq(self.i.payload.pixel),
            read_flag.en.eq(advance),
            weight.eq((read.data * sample.alpha + (1 << UNIT >> 1)) >> UNIT),
            behind.eq(read.data - weight),
            self.composited.eq(advance & holds & ~sample.last & ~read_flag.data),
        ]
        with m.If(advance):
            m.d.sync += [
                sample.eq(self.i.payload),
                holds.eq(self.i.valid),
                self.o.valid.eq(holds & sample.last | self.composited & (weight > self.view.visibility)),
                self.o.payload.pixel.eq(sample.pixel),
                self.o.payload.cube.eq(sample.cube),
                self.o.payload.local.eq(sample.local),
                self.o.payload.weight.eq(weight),
                self.o.payload.last.eq(sample.last),
            ]

        m.d.comb += [
            write.addr.eq(sample.pixel),
            write.data.eq(behind),
            write.en.eq(self.composited | self.initialise),
            write_flag.addr.eq(write.addr),
            write_flag.data.eq(behind < self.view.termination),
            write_flag.en.eq(write.en),
            self.probe_valid.eq(self.composited),
            self.probe_pixel.eq(sample.pixel),
            self.probe_weight.eq(weight),
            self.probe_transmittance.eq(behind),
        ]
        with m.If(self.initialise):
            m.d.comb += [
                write.addr.eq(self.initialise_pixel),
                write.data.eq(1 << UNIT),
                write_flag.data.eq(~self.initialise_live),
            ]
        return m
