"""Ray set-up: the pixels of a tile become rays, in units that work side by side."""

from functools import partial

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from rtl.parts.shared_module import build_in
from rtl.payloads import SceneRegisters, TileLayouts, ViewRegisters
from rtl.samples.ray_unit import RayUnit


class RaySetup(wiring.Component):
    """Compute the rays of a tile, row by row.

    The units take the pixels in turn, one a cycle, and give their rays back in the same turn. The tile must stay from
    ``start`` to ``done``. Nothing may be started in the first cycle after a reset: the units are reset in it.

    Latency: ``LATENCY`` cycles from ``start`` to the first ray.
    Throughput: ``ray_units`` rays in ``LATENCY`` cycles, at most one a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig
        ``ray_units`` pixels are worked on at a time.

    Members
    -------
    start : In(1)
        Strobe; only while idle.
    tile : In(Tile)
    scene, view : In
        Registers of the frame.
    o : Out(stream)
        `RayWrite`, as from `rtl.samples.ray_unit.RayUnit`.
    done : Out(1)
        Strobe: the last ray was accepted in the cycle before.
    """

    LATENCY = RayUnit.LATENCY

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._cfg = cfg
        self._units = cfg.ray_units
        self._coordinate = layouts.coordinate
        super().__init__(
            {
                "start": In(1),
                "tile": In(layouts.Tile),
                "scene": In(SceneRegisters),
                "view": In(ViewRegisters),
                "o": Out(stream.Signature(layouts.RayWrite)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the units, what hands the pixels out and what collects the rays."""
        m = Module()
        running = Signal()
        """From the cycle after the start until the last ray is accepted."""
        # At rest the units are reset, since a reset of this component is not heard inside them.
        common = {"run": self.start | running, "tile": self.tile, "grid": self.scene.grid, "view": self.view}
        names = [f"unit_{number}" for number in range(self._units)]
        units = build_in(m, platform, f"ray_unit_{self._cfg.tile}", names, partial(RayUnit, self._cfg), common)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        self._hand_out(m, [unit.i for unit in units])
        self._collect(m, [unit.o for unit in units], running)
        return m

    def _hand_out(self, m: Module, pixels: list[stream.Interface]) -> None:
        """Offer each pixel of the tile to the unit whose turn it is."""
        turn = self._turn()
        column, row = (Signal(self._coordinate, name=name) for name in ("column", "row"))
        more = Signal()
        offered = Signal()
        m.d.comb += offered.eq(self.start | more)
        for number, pixel in enumerate(pixels):
            m.d.comb += [
                pixel.payload.eq(Cat(column, row, self.tile.place)),
                pixel.valid.eq(offered & (turn == number)),
            ]
        with m.If(self.start):
            m.d.sync += more.eq(1)
        with m.If(offered & Array(pixel.ready for pixel in pixels)[turn]):
            m.d.sync += [turn.eq(self._after(turn)), column.eq(column + 1)]
            with m.If(column == self.tile.last_x):
                m.d.sync += [column.eq(0), row.eq(row + 1)]
                with m.If(row == self.tile.last_y):
                    m.d.sync += [row.eq(0), more.eq(0)]

    def _collect(self, m: Module, rays: list[stream.Interface], running: Signal) -> None:
        """Put out the ray of the unit whose turn it is, then of the next."""
        turn = self._turn()
        taken = Signal()
        last = Signal()
        m.d.comb += [
            self.o.valid.eq(running & Array(ray.valid for ray in rays)[turn]),
            self.o.payload.eq(Array(ray.payload.as_value() for ray in rays)[turn]),
            taken.eq(self.o.valid & self.o.ready),
            last.eq(self.o.payload.pixel == Cat(self.tile.last_x, self.tile.last_y, self.tile.place)),
        ]
        for number, ray in enumerate(rays):
            m.d.comb += ray.ready.eq(running & self.o.ready & (turn == number))
        m.d.sync += self.done.eq(taken & last)
        with m.If(taken):
            m.d.sync += turn.eq(self._after(turn))
            with m.If(last):
                m.d.sync += running.eq(0)

    def _turn(self) -> Signal:
        """Return the number of a unit; of a single one too it has a bit, since Verilog has no signal without."""
        return Signal(range(max(self._units, 2)), name="turn")

    def _after(self, turn: Signal) -> Value:
        """Return the number of the next unit."""
        return (turn + 1) & self._units - 1
