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
    Throughput: one sample in 3 cycles, of whatever pixels; a sample of a terminated pixel takes 2, ``last`` 1.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    initialise, initialise_pixel, initialise_live : In
        Strobe, pixel, and whether its ray meets the grid.
    view : In(ViewRegisters)
    i, o : stream
        Samples with alpha in, visible samples with weight out.
    terminated : In(LookUp), an array of ``sample_lanes``
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
        """Return the memories and the read, multiply, write sequence."""
        m = Module()
        sample = self.i.payload
        m.submodules.transmittance = transmittance = Memory(shape=UNIT_BITS, depth=self._pixels, init=[])
        m.submodules.flags = flags = Memory(shape=1, depth=self._pixels, init=[])
        write, write_flag = transmittance.write_port(), flags.write_port()
        read, read_flag = transmittance.read_port(), flags.read_port()
        look_ups = [(transmittance.read_port(), self.final)]
        look_ups += [(flags.read_port(), look_up) for look_up in self.terminated]
        for port, look_up in look_ups:
            m.d.comb += [port.addr.eq(look_up.address), port.en.eq(look_up.enable), look_up.data.eq(port.data)]

        weight = Signal(UNIT_BITS)
        behind = Signal(UNIT_BITS)
        visible = Signal()
        m.d.comb += [
            behind.eq(read.data - weight),
            visible.eq(weight > self.view.visibility),
            read.addr.eq(sample.pixel),
            read_flag.addr.eq(sample.pixel),
            self.o.payload.pixel.eq(sample.pixel),
            self.o.payload.cube.eq(sample.cube),
            self.o.payload.local.eq(sample.local),
            self.o.payload.weight.eq(weight),
            self.o.payload.last.eq(sample.last),
        ]
        with m.FSM():
            with m.State("read"):
                # The port's enable is off afterwards, so its data stays while the sample is here.
                m.d.comb += [read.en.eq(self.i.valid), read_flag.en.eq(self.i.valid)]
                with m.If(self.i.valid & sample.last):
                    m.d.comb += [self.o.valid.eq(1), self.o.payload.weight.eq(0), self.i.ready.eq(self.o.ready)]
                with m.Elif(self.i.valid):
                    m.next = "multiply"
            with m.State("multiply"):
                m.d.sync += weight.eq((read.data * sample.alpha + (1 << UNIT >> 1)) >> UNIT)
                with m.If(read_flag.data):
                    m.d.comb += self.i.ready.eq(1)
                    m.next = "read"
                with m.Else():
                    m.next = "write"
            with m.State("write"):
                m.d.comb += self.o.valid.eq(visible)
                with m.If(self.o.ready | ~visible):
                    m.d.comb += [self.i.ready.eq(1), self.composited.eq(1)]
                    m.next = "read"

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
