"""Take the tiles of a frame through ray set-up, walk and putting out, two of them at a time."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from rtl.payloads import TileLayouts, ViewRegisters


class TileSequence(wiring.Component):
    """The tiles of the window, row by row, one after the other.

    Members
    -------
    view : In(ViewRegisters)
    tile : Out(Tile)
        The first one after a reset.
    last : Out(1)
        It is the last one.
    step : In(1)
        Strobe: go on to the next one.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._size = cfg.tile
        super().__init__({"view": In(ViewRegisters), "tile": Out(TileLayouts(cfg).Tile), "last": Out(1), "step": In(1)})

    def elaborate(self, platform) -> Module:
        """Return the place of the tile, and what cuts it to the window."""
        m = Module()
        size, tile = self._size, self.tile
        right, below = self.view.window_width - tile.x, self.view.window_height - tile.y
        m.d.comb += [
            tile.last_x.eq(Mux(right < size, right, size) - 1),
            tile.last_y.eq(Mux(below < size, below, size) - 1),
            self.last.eq((right <= size) & (below <= size)),
        ]
        with m.If(self.step):
            m.d.sync += [tile.x.eq(tile.x + size), tile.parity.eq(~tile.parity)]
            with m.If(right <= size):
                m.d.sync += [tile.x.eq(0), tile.y.eq(tile.y + size)]
        return m


class TileScheduler(wiring.Component):
    """Start the ray set-up and the walk of each tile, as early as the two tiles that are on chip allow.

    Rules
    -----
    - The rays of a tile are set up after those of the tile before, when the tile before that has been put out.
    - A tile is walked when its rays are there and the walk of the tile before has ended.
    - Each of the tiles at the ports stays from the strobe that starts the work on it to the one that ends it; the tile
      to be put out is there from ``tile_done`` of the one before.

    Latency: a work begins one cycle after what it waits for; ``done`` comes one cycle after the last ``tile_done``.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    start : In(1)
        Strobe, once after a reset.
    view : In(ViewRegisters)
    set_up_tile, walk_tile, put_out_tile : Out(Tile)
        The tiles that are set up, walked and put out.
    set_up, walk : Out(1)
        Strobes that start the ray set-up and the reading of the cube list.
    rays_ready, walked, tile_done : In(1)
        Strobes: the ray set-up has finished, the cube list has passed the end of the tile, the tile buffer has put the
        tile out.
    done : Out(1)
        Strobe: all tiles have been put out.
    """

    TILES = 2
    """Tiles that are on chip at a time."""

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._cfg = cfg
        tile = TileLayouts(cfg).Tile
        super().__init__(
            {
                "start": In(1),
                "view": In(ViewRegisters),
                "set_up_tile": Out(tile),
                "walk_tile": Out(tile),
                "put_out_tile": Out(tile),
                "set_up": Out(1),
                "walk": Out(1),
                "rays_ready": In(1),
                "walked": In(1),
                "tile_done": In(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the three sequences of tiles and what starts the work on them."""
        m = Module()
        set_ups, walks, puts_out = (TileSequence(self._cfg) for _ in range(3))
        for name, sequence, tile, step in (
            ("set_ups", set_ups, self.set_up_tile, self.rays_ready),
            ("walks", walks, self.walk_tile, self.walked),
            ("puts_out", puts_out, self.put_out_tile, self.tile_done),
        ):
            m.submodules[name] = sequence
            m.d.comb += [sequence.view.eq(self.view), tile.eq(sequence.tile), sequence.step.eq(step)]

        more = Signal()
        """There are tiles whose set-up has not begun."""
        on_chip = Signal(range(self.TILES + 1))
        setting_up, rays_wait, walking = Signal(), Signal(), Signal()
        m.d.comb += [
            self.set_up.eq(more & ~setting_up & (on_chip != self.TILES)),
            self.walk.eq(rays_wait & ~walking),
        ]
        m.d.sync += [
            on_chip.eq(on_chip + self.set_up - self.tile_done),
            self.done.eq(self.tile_done & puts_out.last),
        ]
        with m.If(self.start):
            m.d.sync += more.eq(1)
        with m.If(self.set_up):
            m.d.sync += [setting_up.eq(1), more.eq(~set_ups.last)]
        with m.If(self.rays_ready):
            m.d.sync += [setting_up.eq(0), rays_wait.eq(1)]
        with m.If(self.walk):
            m.d.sync += [rays_wait.eq(0), walking.eq(1)]
        with m.If(self.walked):
            m.d.sync += walking.eq(0)
        return m
