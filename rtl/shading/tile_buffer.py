"""Accumulate the weighted colours of a tile's pixels, and put the finished pixels out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import CHANNEL, COLOUR_BITS, UNIT
from rtl.parts.pixel_memory import PixelMemory
from rtl.payloads import UNIT_BITS, LookUp, TileLayouts, ViewRegisters

CHANNELS = 3


class TileBuffer(wiring.Component):
    """Hold the colours of two tiles: one is added to while the other is put out.

    Rules
    -----
    - ``initialise`` clears a pixel. All pixels of a tile are initialised before its first sample is offered, and none
      between that and ``done``. Meanwhile those of the other tile may be.
    - A sample adds weight * colour, rounded, to its pixel. The weights of a pixel add up to at most 1.0, so the
      sums fit ``UNIT_BITS``.
    - Behind ``last`` every pixel of ``tile`` is put out, row by row: colour + transmittance * background, and opacity,
      scaled so that 65535 is 1.0, as is 255 in the background. ``done`` is strobed when the last of them is accepted;
      until then the next tile's samples are accepted, but not its ``last``.
    - ``tile`` and its transmittances stay as they are from the cycle after ``last`` to ``done``.

    Latency: 2 cycles from a sample to its sum; `LATENCY` from ``last`` to the first pixel.
    Throughput: one sample a cycle, of whatever pixels; one pixel a cycle.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    initialise, initialise_pixel : In
    tile : In(Tile)
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

    LATENCY = 3

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._pixel_bits, self._coordinate_bits = layouts.pixel, layouts.coordinate
        super().__init__(
            {
                "initialise": In(1),
                "initialise_pixel": In(layouts.pixel),
                "tile": In(layouts.Tile),
                "view": In(ViewRegisters),
                "i": In(stream.Signature(layouts.ColouredSample)),
                "final": Out(LookUp(layouts.pixel, UNIT_BITS)),
                "o": Out(stream.Signature(layouts.PixelWrite)),
                "shaded": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the colour memory, two steps for a sample (read and multiply; add and write), and the scan."""
        m = Module()
        sample = self.i.payload
        m.submodules.colours = colours = PixelMemory(self._pixel_bits, data.ArrayLayout(UNIT_BITS, CHANNELS))
        pixel = Signal(self._pixel_bits)
        added = Signal(data.ArrayLayout(UNIT_BITS, CHANNELS))
        scanning = Signal()
        m.d.comb += [
            self.i.ready.eq(~(sample.last & scanning)),
            colours.read.address.eq(sample.pixel),
            colours.read.enable.eq(1),
            colours.update.address.eq(pixel),
            colours.update.enable.eq(self.shaded),
            colours.initialise.address.eq(self.initialise_pixel),
            colours.initialise.enable.eq(self.initialise),
        ]
        m.d.sync += [self.shaded.eq(self.i.valid & ~sample.last), pixel.eq(sample.pixel)]
        with m.If(self.i.valid & sample.last):
            m.d.sync += scanning.eq(1)
        with m.If(self.done):
            m.d.sync += scanning.eq(0)
        for n in range(CHANNELS):
            product = sample.weight * sample.colour[n]
            m.d.sync += added[n].eq((product + (1 << COLOUR_BITS >> 1)) >> COLOUR_BITS)
            m.d.comb += colours.update.data[n].eq(colours.read.data[n] + added[n])
        self._scan(m, scanning, colours.look_ups[0])
        return m

    def _scan(self, m: Module, scanning: Signal, colour: LookUp) -> None:
        """Read colours and transmittances of the tile's pixels in order; one register step to the output."""
        tile = self.tile
        place = data.StructLayout({"column": self._coordinate_bits, "row": self._coordinate_bits})
        at = Signal(place)
        at_data = Signal(place)
        advance = Signal()
        all_read = Signal()
        has_data = Signal()
        issue = Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            issue.eq(scanning & ~all_read & advance),
            self.final.address.eq(Cat(at.column, at.row, tile.parity)),
            self.final.enable.eq(issue),
            colour.address.eq(self.final.address),
            colour.enable.eq(issue),
            self.done.eq(all_read & ~has_data & self.o.valid & self.o.ready),
        ]
        with m.If(issue):
            m.d.sync += [at_data.eq(at), at.column.eq(at.column + 1)]
            with m.If(at.column == tile.last_x):
                m.d.sync += [at.column.eq(0), at.row.eq(at.row + 1)]
                with m.If(at.row == tile.last_y):
                    m.d.sync += [at.row.eq(0), all_read.eq(1)]
        with m.If(self.done):
            m.d.sync += all_read.eq(0)

        with m.If(advance):
            m.d.sync += [
                has_data.eq(issue),
                self.o.valid.eq(has_data),
                self.o.payload.x.eq(tile.x + at_data.column),
                self.o.payload.y.eq(tile.y + at_data.row),
                self.o.payload.ends_row.eq(at_data.column == tile.last_x),
            ]
            through = self.final.data
            behind = [through * self.view.background.word_select(n, 8) for n in range(CHANNELS)]
            # CHANNEL.high is 1 << CHANNEL.width less 1, BACKGROUND_UNIT 1 << 8 and 1.
            values = [_scaled(colour.data[n]) + (behind[n] << 8) + behind[n] for n in range(CHANNELS)]
            for n, value in enumerate([*values, _scaled((1 << UNIT) - through)]):
                # Colour and transmittance add up to at most 1.0 by the compositor's rule, but for roundings up.
                scaled = Signal(CHANNEL.width + 2, name=f"scaled_{n}")
                m.d.comb += scaled.eq((value + (1 << UNIT >> 1)) >> UNIT)
                m.d.sync += self.o.payload.channels[n].eq(Mux(scaled > CHANNEL.high, CHANNEL.high, scaled))


def _scaled(value):
    """Return a value times `CHANNEL.high`."""
    return (value << CHANNEL.width) - value
