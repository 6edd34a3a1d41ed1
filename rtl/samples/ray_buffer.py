"""Ray buffer: the rays and view directions of the pixels of some tiles."""

from amaranth.hdl import Module
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from rtl.payloads import Direction, LookUp, Ray, TileLayouts


class RayBuffer(wiring.Component):
    """Hold what `rtl.samples.ray_setup.RaySetup` writes; answer its readers.

    The rays lie in ``sample_lanes`` banks, by the low bits of the pixel's column.

    Latency: 1 cycle from ``address`` to ``data``, which then stays until the next cycle with ``enable``.
    Throughput: one write and one look-up of each reader a cycle. A pixel must not be read while it is written.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i : In(stream)
        `RayWrite`; always ready.
    ray : In(LookUp), an array of ``sample_lanes``
        Each reads its own bank, whatever the low bits of its address.
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
        self._bank_bits = cfg.sample_lanes.bit_length() - 1
        super().__init__(
            {
                "i": In(stream.Signature(layouts.RayWrite)),
                "ray": In(LookUp(layouts.pixel, Ray)).array(cfg.sample_lanes),
                "direction": In(LookUp(layouts.pixel, Direction)),
                "initialise": Out(1),
                "pixel": Out(layouts.pixel),
                "live": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the banks of rays, and the memory of directions."""
        m = Module()
        write, bits = self.i.payload, self._bank_bits
        m.d.comb += [
            self.i.ready.eq(1),
            self.initialise.eq(self.i.valid),
            self.pixel.eq(write.pixel),
            self.live.eq(write.live),
        ]
        for bank, user in enumerate(self.ray):
            mine = write.pixel[:bits] == bank
            self._store(m, f"rays_{bank}", Ray, bits, write.ray, self.i.valid & mine, user)
        self._store(m, "directions", Direction, 0, write.direction, self.i.valid, self.direction)
        return m

    def _store(self, m: Module, name: str, shape, bits: int, written, enable, user) -> None:
        """Add a memory with a place for each pixel, some low bits of its index apart."""
        m.submodules[name] = store = memory.Memory(shape=shape, depth=1 << len(self.pixel) - bits, init=[])
        write_port, read_port = store.write_port(), store.read_port()
        m.d.comb += [
            write_port.addr.eq(self.pixel >> bits),
            write_port.data.eq(written),
            write_port.en.eq(enable),
            read_port.addr.eq(user.address >> bits),
            read_port.en.eq(user.enable),
            user.data.eq(read_port.data),
        ]
