"""Accumulate the weighted colours of a tile's pixels, and put the finished pixels out."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import CHANNEL, COLOUR_BITS, PLAIN_SUM, UNIT
from rtl.parts.carry_save import compress, few_rows
from rtl.parts.pixel_memory import PixelMemory
from rtl.payloads import UNIT_BITS, LookUp, TileLayouts, ViewRegisters, shape_of

CHANNELS = 3


class TileBuffer(wiring.Component):
    """Hold the colours of some tiles: one is added to while the one before is put out.

    Rules
    -----
    - ``initialise`` clears a pixel. All pixels of a tile are initialised before its first sample is offered, and none
      between that and ``done``. Meanwhile those of another tile may be.
    - A sample adds weight * colour, rounded, to its pixel. The weights of a pixel add up to at most 1.0, so the
      sums fit ``UNIT_BITS``, those of plain colours `nerf.contract.formats.PLAIN_SUM`.
    - Behind ``last`` every pixel of ``tile`` is put out, row by row: colour + transmittance * background, and opacity,
      limited to 0 to 1.0 and scaled so that 65535 is 1.0, as is 255 in the background. ``done`` is strobed when the
      last of them is accepted; until then the next tile's samples are accepted, but not its ``last``.
    - ``tile`` and its transmittances stay as they are from the cycle after ``last`` to ``done``.
    - While no tile waits to be put out, pixels of a ``blank`` one are: the background, transparent. The next tile waits
      for the last of them.

    Latency: `ADDING` cycles from a sample to its sum; `LATENCY` from ``last`` to the first pixel, `BLANK_LATENCY` from
    a blank tile.
    Throughput: one sample a cycle, of whatever pixels; one pixel a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    initialise, initialise_pixel : In
    tile : In(Tile)
    blank : In(stream)
        `Tile`, one that no sample is in; taken with its last pixel.
    view : In(ViewRegisters)
    i : In(stream)
        Samples with colour.
    final : Out(LookUp)
        Transmittance of a pixel.
    o : Out(stream)
        Finished pixels.
    shaded : Out(1)
        Strobe: a sample is added.
    done : Out(1)
        Strobe: all pixels of the tile were accepted.
    """

    ADDING = 5
    LATENCY = 9
    BLANK_LATENCY = 5

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._pixel_bits, self._place_bits, self._coordinate_bits = layouts.pixel, layouts.place, layouts.coordinate
        self._sum = shape_of(PLAIN_SUM) if cfg.colours == "plain" else unsigned(UNIT_BITS)
        super().__init__(
            {
                "initialise": In(1),
                "initialise_pixel": In(layouts.pixel),
                "tile": In(layouts.Tile),
                "blank": In(stream.Signature(layouts.Tile)),
                "view": In(ViewRegisters),
                "i": In(stream.Signature(layouts.ColouredSample)),
                "final": Out(LookUp(layouts.pixel, UNIT_BITS)),
                "o": Out(stream.Signature(layouts.PixelWrite)),
                "shaded": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the colour memory, what adds a sample to it, and the scan."""
        m = Module()
        sample = self.i.payload
        m.submodules.colours = colours = PixelMemory(
            self._pixel_bits, data.ArrayLayout(self._sum, CHANNELS), place_bits=self._place_bits
        )
        waits, whole, fills = Signal(), Signal(), Signal()
        """A tile waits to be put out; all of its samples are added; a blank one is put out."""
        lasts = Signal(self.ADDING - 1)
        accepted = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~(sample.last & waits)),
            colours.initialise.address.eq(self.initialise_pixel),
            colours.initialise.enable.eq(self.initialise),
        ]
        m.d.sync += lasts.eq(Cat(accepted & sample.last, lasts))
        with m.If(accepted & sample.last):
            m.d.sync += waits.eq(1)
        with m.If(lasts[-1]):
            m.d.sync += whole.eq(1)
        with m.If(self.done):
            m.d.sync += [waits.eq(0), whole.eq(0)]
        with m.If(fills):
            m.d.sync += fills.eq(~self.blank.ready)
        with m.Else():
            m.d.sync += fills.eq(self.blank.valid & ~waits)
        self._add(m, accepted & ~sample.last, colours)
        scanned = self._scan(m, whole, fills, colours.look_ups[0])
        m.d.comb += [self.done.eq(scanned & ~fills), self.blank.ready.eq(scanned & fills)]
        return m

    def _add(self, m: Module, accepted: Value, colours: PixelMemory) -> None:
        """Five steps: multiply, add the carries, read, add, write. What is written is handed on to steps before."""
        pixels = [Signal(self._pixel_bits, name=f"pixel_{step}") for step in range(self.ADDING)]
        holds = Signal(self.ADDING)
        weight, colour = Signal(UNIT_BITS), Signal.like(self.i.payload.colour)
        again = Signal()
        m.d.sync += [
            Cat(pixels).eq(Cat(self.i.payload.pixel, *pixels[:-1])),
            holds.eq(Cat(accepted, holds)),
            weight.eq(self.i.payload.weight),
            colour.eq(self.i.payload.colour),
            again.eq(holds[3] & (pixels[2] == pixels[3])),
        ]
        m.d.comb += [
            colours.read.address.eq(pixels[1]),
            colours.read.enable.eq(1),
            colours.update.address.eq(pixels[4]),
            colours.update.enable.eq(holds[4]),
            self.shaded.eq(holds[4]),
        ]
        written = holds[4] & (pixels[2] == pixels[4])
        bits = self._sum.width + COLOUR_BITS
        for n in range(CHANNELS):
            product, carries = (Signal(bits, name=f"{name}_{n}") for name in ("product", "carries"))
            addend, waiting, found, total = (
                Signal(self._sum, name=f"{name}_{n}") for name in ("addend", "waiting", "found", "total")
            )
            rows = few_rows(m, weight, colour[n], bits, [Const(1 << COLOUR_BITS >> 1, bits)])
            m.d.sync += [
                Cat(product, carries).eq(Cat(rows)),
                addend.eq((product + carries)[COLOUR_BITS:bits]),
                waiting.eq(addend),
                found.eq(Mux(written, total, colours.read.data[n])),
                total.eq(Mux(again, total, found) + waiting),
            ]
            m.d.comb += colours.update.data[n].eq(total)

    def _scan(self, m: Module, whole: Signal, fills: Signal, colour: LookUp) -> Signal:
        """Read colours and transmittances of the tile's pixels in order; three steps from there to the output.

        Of a blank tile nothing is read. Return whether the last pixel is accepted.
        """
        tile, scanned = Signal.like(self.tile), Signal()
        place = data.StructLayout({"column": self._coordinate_bits, "row": self._coordinate_bits})
        steps = self.LATENCY - self.ADDING - 1
        at = Signal(place)
        places = [Signal(place, name=f"place_{step}") for step in range(steps)]
        holds = Signal(steps)
        advance = Signal()
        all_read = Signal()
        issue = Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            tile.eq(Mux(fills, self.blank.payload, self.tile)),
            issue.eq((whole | fills) & ~all_read & advance),
            self.final.address.eq(Cat(at.column, at.row, tile.place)),
            self.final.enable.eq(issue & ~fills),
            colour.address.eq(self.final.address),
            colour.enable.eq(issue & ~fills),
            scanned.eq(all_read & ~holds.any() & self.o.valid & self.o.ready),
        ]
        with m.If(issue):
            m.d.sync += at.column.eq(at.column + 1)
            with m.If(at.column == tile.last_x):
                m.d.sync += [at.column.eq(0), at.row.eq(at.row + 1)]
                with m.If(at.row == tile.last_y):
                    m.d.sync += [at.row.eq(0), all_read.eq(1)]
        with m.If(scanned):
            m.d.sync += all_read.eq(0)
        with m.If(advance):
            m.d.sync += [
                Cat(places).eq(Cat(at, *places[:-1])),
                Cat(holds, self.o.valid).eq(Cat(issue, holds)),
                self.o.payload.x.eq(tile.x + places[-1].column),
                self.o.payload.y.eq(tile.y + places[-1].row),
                self.o.payload.ends_row.eq(places[-1].column == tile.last_x),
            ]
        self._channels(m, advance, fills, colour.data)
        return scanned

    def _channels(self, m: Module, advance: Signal, fills: Signal, colour: data.View) -> None:
        """Two steps from the colours and the transmittance that are read to the channels of the output."""
        through, opaque = Signal(UNIT_BITS), Signal(UNIT_BITS)
        with m.If(advance):
            m.d.sync += [
                through.eq(Mux(fills, 1 << UNIT, self.final.data)),
                opaque.eq(Mux(fills, 0, (1 << UNIT) - self.final.data)),
            ]
        bits = self._sum.width + CHANNEL.width + 1
        for n in range(CHANNELS + 1):
            value = opaque
            if n < CHANNELS:
                value = Signal(self._sum, name=f"colour_{n}")
                with m.If(advance):
                    m.d.sync += value.eq(Mux(fills, 0, colour[n]))
            # CHANNEL.high is 1 << CHANNEL.width less 1.
            sign = value[-1] if value.shape().signed else Const(0, 1)
            extended = Cat(value, sign.replicate(bits - len(value)))
            rows = [Cat(Const(0, CHANNEL.width), extended)[:bits], ~extended, Const((1 << UNIT >> 1) + 1, bits)]
            if n < CHANNELS:
                background = self.view.background.word_select(n, 8)
                # BACKGROUND_UNIT is 1 << 8 and 1.
                rows = few_rows(m, through, Cat(background, background), bits, rows)
            total, carries = (Signal(bits, name=f"{name}_{n}") for name in ("backed", "backed_carries"))
            # Colour and transmittance add up to at most 1.0 by the compositor's rule, but for roundings up. Plain
            # colours have no such limits.
            scaled = Signal(Shape(bits - UNIT, self._sum.signed), name=f"scaled_{n}")
            m.d.comb += scaled.eq((total + carries)[UNIT:bits])
            limited = Mux(scaled > CHANNEL.high, CHANNEL.high, scaled)
            if self._sum.signed:
                limited = Mux(scaled < 0, 0, limited)
            with m.If(advance):
                m.d.sync += [
                    Cat(total, carries).eq(Cat(compress(m, rows))),
                    self.o.payload.channels[n].eq(limited),
                ]
