"""Ray buffer: the rays and view directions of the pixels of two tiles."""

from amaranth.hdl import Module
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from rtl.payloads import Direction, LookUp, Ray, TileLayouts


class RayBuffer(wiring.Component):
    """Hold what `rtl.ray_setup.RaySetup` writes; answer two readers.

    Latency: 1 cycle from ``address`` to ``data``, which then stays until the next cycle with ``enable``.
    Throughput: one write and one look-up of each reader a cycle. A pixel must not be read while it is written.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i : In(stream)
        `RayWrite`; always ready.
    ray : In(LookUp)
    direction : In(LookUp)
    initialise : Out(1)
        Strobe: a pixel is being written, its state shall be initialised.
    pixel : Out
        Its index.
    live : Out(1)
        Whether its ray meets the box.
    """

    LATENCY = 1

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        super().__init__(
            {
                "i": In(stream.Signature(layouts.RayWrite)),
                "ray": In(LookUp(layouts.pixel, Ray)),
                "direction": In(LookUp(layouts.pixel, Direction)),
                "initialise": Out(1),
                "pixel": Out(layouts.pixel),
                "live": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the two memories."""
        m = Module()
        write = self.i.payload
        m.d.comb += [
            self.i.ready.eq(1),
            self.initialise.eq(self.i.valid),
            self.pixel.eq(write.pixel),
            self.live.eq(write.live),
        ]
        for name, shape, written, user in (
            ("rays", Ray, write.ray, self.ray),
            ("directions", Direction, write.direction, self.direction),
        ):
            m.submodules[name] = store = memory.Memory(shape=shape, depth=1 << len(self.pixel), init=[])
            write_port, read_port = store.write_port(), store.read_port()
            m.d.comb += [
                write_port.addr.eq(write.pixel),
                write_port.data.eq(written),
                write_port.en.eq(self.i.valid),
                read_port.addr.eq(user.address),
                read_port.en.eq(user.enable),
                user.data.eq(read_port.data),
            ]
        return m
