"""Take the tiles of a frame that cubes meet through ray set-up, walk and putting out; name the others."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from nerf.contract.config import AcceleratorConfig
from rtl.payloads import WINDOW_BITS, LookUp, TileLayouts, ViewRegisters


class TileSequence(wiring.Component):
    """The tiles of the window that a cube may meet, or the others, row by row.

    A row of tiles is met from the first to the last tile that an entry of its list meets.

    Latency: 3 cycles from ``start`` or from the last tile of a row to a tile of the next row, and 2 for a row without.
    Throughput: a tile a cycle.

    Members
    -------
    start : In(1)
        Strobe, once after a reset.
    view : In(ViewRegisters)
    tile_rows : Out(LookUp)
        `TileRow` by number.
    granted : In(1)
        A look-up is answered.
    o : Out(stream)
        `Tile`; its ``place`` is 0.
    ended : Out(1)
        All have been taken.
    """

    def __init__(self, cfg: AcceleratorConfig, blank: bool) -> None:
        self._layouts, self._tile, self._tile_bits, self._blank = TileLayouts(cfg), cfg.tile, cfg.tile_bits, blank
        super().__init__(
            {
                "start": In(1),
                "view": In(ViewRegisters),
                "tile_rows": Out(LookUp(WINDOW_BITS - cfg.tile_bits, self._layouts.TileRow)),
                "granted": In(1),
                "o": Out(stream.Signature(self._layouts.Tile)),
                "ended": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the place in the window, and the way to the next tile."""
        m = Module()
        column, row = (Signal(WINDOW_BITS - self._tile_bits, name=name) for name in ("column", "row"))
        here, tile = Signal(self._layouts.TileRow), self.o.payload
        m.d.comb += [
            tile.x.eq(column << self._tile_bits),
            tile.y.eq(row << self._tile_bits),
            tile.entries.eq(here.entries),
            self.tile_rows.address.eq(row),
        ]
        for first, last, size in (("x", "last_x", "window_width"), ("y", "last_y", "window_height")):
            left = self.view[size] - tile[first]
            m.d.comb += tile[last].eq(Mux(left < self._tile, left, self._tile) - 1)
        with m.FSM():
            with m.State("REST"), m.If(self.start):
                m.next = "LOOK"
            with m.State("LOOK"):
                m.d.comb += self.tile_rows.enable.eq(1)
                with m.If(self.granted):
                    m.next = "FOUND"
            with m.State("FOUND"):
                m.d.sync += here.eq(self.tile_rows.data)
                found = self.tile_rows.data
                self._go_to(m, found, 0 if self._blank else found.first, column, row)
            with m.State("OFFER"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    self._go_to(m, here, column + 1, column, row)
            with m.State("ENDED"):
                m.d.comb += self.ended.eq(1)
        return m

    def _go_to(self, m: Module, here, to, column: Signal, row: Signal) -> None:
        """Go to the tile in a column, or the next behind it: in this row, or in one to be looked up."""
        across, down = ((self.view[size] - 1) >> self._tile_bits for size in ("window_width", "window_height"))
        met = here.entries != 0
        if self._blank:
            to = Mux(met & (to == here.first), here.last + 1, to)
            ends = to > across
        else:
            ends = ~met | (to > here.last)
        m.d.sync += column.eq(to)
        m.next = "OFFER"
        with m.If(ends):
            m.d.sync += row.eq(row + 1)
            m.next = "LOOK"
            with m.If(row == down):
                m.next = "ENDED"


class TileScheduler(wiring.Component):
    """Start the ray set-up and the walk of each tile that a cube may meet, as early as the places on chip allow.

    Rules
    -----
    - The rays of a tile are set up after those of the tile before, when there is a place: as many tiles are on chip as
      the configuration has ``tiles``, from the set-up to ``tile_done``.
    - A tile is walked when its set-up has begun and the walk of the tile before has ended.
    - Each of the tiles at the ports stays from the strobe that starts the work on it to the one that ends it; the tile
      to be put out is there from ``tile_done`` of the one before.
    - A tile that no cube meets is ``blank``: it needs nothing but to be put out, at any time.

    Latency: a work begins one cycle after what it waits for, the set-up of the first tile of a row up to two later, and
    two more for each row without a tile to set up before it; ``done`` comes one cycle after the last ``tile_done``.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    start : In(1)
        Strobe, once after a reset: the rows of tiles can be looked up.
    view : In(ViewRegisters)
    tile_rows : Out(LookUp)
        `TileRow` by number.
    set_up_tile, walk_tile, put_out_tile : Out(Tile)
        The tiles that are set up, walked and put out.
    blank : Out(stream)
        `Tile`: the others.
    set_up, walk : Out(1)
        Strobes that start the ray set-up and the reading of the cube list.
    rays_ready, walked, tile_done : In(1)
        Strobes: the ray set-up has finished, the cube list has passed the end of the tile, the tile buffer has put the
        tile out.
    rays : Out
        Whether the rays of a tile are there, by its place on chip.
    done : Out(1)
        Strobe: all tiles have been put out.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._cfg, self._layouts = cfg, TileLayouts(cfg)
        tile = self._layouts.Tile
        super().__init__(
            {
                "start": In(1),
                "view": In(ViewRegisters),
                "tile_rows": Out(LookUp(WINDOW_BITS - cfg.tile_bits, self._layouts.TileRow)),
                "set_up_tile": Out(tile),
                "walk_tile": Out(tile),
                "put_out_tile": Out(tile),
                "blank": Out(stream.Signature(tile)),
                "set_up": Out(1),
                "walk": Out(1),
                "rays_ready": In(1),
                "walked": In(1),
                "tile_done": In(1),
                "rays": Out(cfg.tiles),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the two sequences of tiles, the tiles on chip, and what starts the work on them."""
        m = Module()
        m.submodules.met = met = TileSequence(self._cfg, blank=False)
        m.submodules.blanks = blanks = TileSequence(self._cfg, blank=True)
        for sequence in (met, blanks):
            m.d.comb += [
                sequence.view.eq(self.view),
                sequence.start.eq(self.start),
                sequence.tile_rows.data.eq(self.tile_rows.data),
            ]
        connect(m, blanks.o, flipped(self.blank))
        m.d.comb += [
            met.granted.eq(1),
            blanks.granted.eq(~met.tile_rows.enable),
            self.tile_rows.enable.eq(met.tile_rows.enable | blanks.tile_rows.enable),
            self.tile_rows.address.eq(Mux(met.tile_rows.enable, met.tile_rows.address, blanks.tile_rows.address)),
        ]
        on_chip = Array(Signal(self._layouts.Tile, name=f"tile_{place}") for place in range(self._cfg.tiles))
        set_up_place, walk_place, put_out_place = (
            Signal(self._layouts.place, name=name) for name in ("set_up_place", "walk_place", "put_out_place")
        )
        running, setting_up, walking = Signal(), Signal(), Signal()
        held, to_walk = Signal(range(self._cfg.tiles + 1)), Signal(range(self._cfg.tiles + 1))
        """Tiles whose set-up has begun and that have not been put out; those of them whose walk has not begun."""
        m.d.comb += [
            self.set_up_tile.eq(met.o.payload),
            self.set_up_tile.place.eq(set_up_place),
            self.walk_tile.eq(on_chip[walk_place]),
            self.put_out_tile.eq(on_chip[put_out_place]),
            self.set_up.eq(met.o.valid & ~setting_up & (held != self._cfg.tiles)),
            met.o.ready.eq(self.rays_ready),
            self.walk.eq((to_walk != 0) & ~walking),
            self.done.eq(running & met.ended & blanks.ended & (held == 0)),
        ]
        m.d.sync += [
            held.eq(held + self.set_up - self.tile_done),
            to_walk.eq(to_walk + self.set_up - self.walk),
            set_up_place.eq(set_up_place + self.rays_ready),
            walk_place.eq(walk_place + self.walked),
            put_out_place.eq(put_out_place + self.tile_done),
        ]
        with m.If(self.start):
            m.d.sync += running.eq(1)
        with m.If(self.set_up):
            m.d.sync += [
                setting_up.eq(1),
                on_chip[set_up_place].eq(self.set_up_tile),
                self.rays.bit_select(set_up_place, 1).eq(0),
            ]
        with m.If(self.rays_ready):
            m.d.sync += [setting_up.eq(0), self.rays.bit_select(set_up_place, 1).eq(1)]
        with m.If(self.walk):
            m.d.sync += walking.eq(1)
        with m.If(self.walked):
            m.d.sync += walking.eq(0)
        with m.If(self.done):
            m.d.sync += running.eq(0)
        return m
