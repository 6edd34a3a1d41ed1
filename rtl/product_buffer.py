"""Deferred shading: composite the appearance products of a tile's visible samples, then put out one mean a ray."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import PRODUCT, RECIPROCAL_BITS, UNIT, reciprocal_table
from nerf.contract.scene_image import GROUPS, PAIRS
from rtl.payloads import UNIT_BITS, ProductVector, TileLayouts
from rtl.queue import Queue

TRANSFERS = GROUPS["appearance"]
"""Transfers of a sample's products."""
LANES = len(PAIRS) * COMPONENTS
SUM = signed(PRODUCT.width + 1)
"""A sum of weighted products: the weights add up to at most 1.0, but each term is rounded."""
RECIPROCAL_WIDTH = RECIPROCAL_BITS + 2
SAMPLE_QUEUE = 4


class _Ports(NamedTuple):
    """The sums of the pixels, by pixel and transfer, and those of the weights, by pixel."""

    read: ReadPort
    write: WritePort
    read_weight: ReadPort
    write_weight: WritePort


class ProductBuffer(wiring.Component):
    """Between the appearance interpolator and the network: samples in, rays out.

    Rules
    -----
    - Each sample that is not ``last`` comes with three transfers of 48 products, in its order. Weight times product,
      rounded, is added to what its pixel has.
    - At ``last`` every pixel that has had a sample is put out like a sample, in the order of the pixels: its weight is
      the sum of its samples' weights, its products are their sums over that weight, by table, as in
      `nerf.golden.product_buffer`. ``last`` follows. The pixels are empty again.
    - All samples before a ``last`` are of one tile; the rays are, too.
    - After a reset nothing is accepted until all pixels are empty: a cycle each.

    Latency: `LATENCY` cycles from the last transfer before ``last`` to a ray's first products, if pixel 0 has a sample.
    Throughput: a transfer a cycle in; out, 3 cycles a ray and 1 a pixel without.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i_sample, o_sample : stream
        `VisibleSample`; ``cube`` and ``local`` are 0 behind.
    i_vector, o_vector : stream
        `ProductVector`.
    """

    LATENCY = 8

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._sample = layouts.VisibleSample
        self._address_bits = 2 * cfg.tile_bits
        super().__init__(
            {
                "i_sample": In(stream.Signature(layouts.VisibleSample)),
                "i_vector": In(stream.Signature(ProductVector)),
                "o_sample": Out(stream.Signature(layouts.VisibleSample)),
                "o_vector": Out(stream.Signature(ProductVector)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the memories, the sums of a tile and the scan that puts them out."""
        m = Module()
        m.submodules.samples = samples = Queue(self._sample, SAMPLE_QUEUE)
        m.submodules.sums = sums = Memory(
            shape=data.ArrayLayout(SUM, LANES), depth=TRANSFERS << self._address_bits, init=[]
        )
        m.submodules.weights = weights = Memory(shape=UNIT_BITS, depth=1 << self._address_bits, init=[])
        wiring.connect(m, wiring.flipped(self.i_sample), samples.i)
        ports = _Ports(sums.read_port(), sums.write_port(), weights.read_port(), weights.write_port())
        head = samples.o
        clear = Signal(self._address_bits)
        tile = Signal()
        """Parity of the tile: the top bit of its pixels."""
        adds, rests, scans, scanned, ends = (
            Signal(name=name) for name in ("adds", "rests", "scans", "scanned", "ends")
        )

        m.d.comb += [ports.read.en.eq(0), ports.read_weight.en.eq(0)]
        added = self._add(m, ports, adds, head.payload, rests)
        self._scan(m, ports, tile, scans, scanned)
        m.d.comb += head.ready.eq(added | ends)
        with m.If(added):
            m.d.sync += tile.eq(head.payload.pixel[-1])
        with m.If(ends):
            m.d.sync += [self.o_sample.valid.eq(1), self.o_sample.payload.last.eq(1)]
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += [ports.write_weight.en.eq(1), ports.write_weight.addr.eq(clear)]
                m.d.sync += clear.eq(clear + 1)
                with m.If(clear.all()):
                    m.next = "ADD"
            with m.State("ADD"):
                m.d.comb += adds.eq(head.valid & ~head.payload.last)
                with m.If(head.valid & head.payload.last & rests):
                    m.next = "SCAN"
            with m.State("SCAN"):
                m.d.comb += scans.eq(1)
                with m.If(scanned):
                    m.next = "LAST"
            with m.State("LAST"):
                m.d.comb += ends.eq(~self.o_sample.valid | self.o_sample.ready)
                with m.If(ends):
                    m.next = "ADD"
        return m

    def _add(self, m: Module, ports: _Ports, adds: Signal, sample: data.View, rests: Signal) -> Signal:
        """Read and multiply, add, write; return whether a sample has its last transfer.

        A sample takes three cycles, so what it writes is there when the next one reads.
        """
        transfer = Signal(range(TRANSFERS))
        takes = Signal()
        pixel = sample.pixel[: self._address_bits]
        m.d.comb += [
            self.i_vector.ready.eq(adds),
            takes.eq(adds & self.i_vector.valid),
        ]
        multiplied, summed = (Signal(name=name) for name in ("multiplied", "summed"))
        place, summed_place = (Signal(len(ports.read.addr), name=name) for name in ("place", "summed_place"))
        weight = Signal(UNIT_BITS)
        first, fresh, was_fresh, writes_weight = (
            Signal(name=name) for name in ("first", "fresh", "was_fresh", "writes_weight")
        )
        with m.If(takes):
            m.d.comb += [
                ports.read.en.eq(1),
                ports.read.addr.eq(Cat(pixel, transfer)),
                ports.read_weight.en.eq(transfer == 0),
                ports.read_weight.addr.eq(pixel),
            ]
            m.d.sync += [
                transfer.eq(Mux(transfer == TRANSFERS - 1, 0, transfer + 1)),
                place.eq(ports.read.addr),
                weight.eq(sample.weight),
                first.eq(transfer == 0),
            ]
        m.d.comb += [
            fresh.eq(Mux(first, ports.read_weight.data == 0, was_fresh)),
            ports.write.addr.eq(summed_place),
            ports.write.en.eq(summed),
            rests.eq(~multiplied & ~summed),
        ]
        m.d.sync += [
            multiplied.eq(takes),
            summed.eq(multiplied),
            summed_place.eq(place),
            was_fresh.eq(fresh),
            writes_weight.eq(multiplied & first),
        ]
        new_weight = Signal(UNIT_BITS)
        m.d.sync += new_weight.eq(ports.read_weight.data + weight)
        with m.If(writes_weight):
            m.d.comb += [
                ports.write_weight.en.eq(1),
                ports.write_weight.addr.eq(summed_place),
                ports.write_weight.data.eq(new_weight),
            ]
        for lane in range(LANES):
            product = Signal(signed(UNIT_BITS + PRODUCT.width), name=f"product_{lane}", reset_less=True)
            value = self.i_vector.payload[lane // COMPONENTS][lane % COMPONENTS]
            rounded = (product + (1 << UNIT >> 1)) >> UNIT
            total = Signal(SUM, name=f"sum_{lane}", reset_less=True)
            m.d.sync += [
                product.eq(value * sample.weight),
                total.eq(Mux(fresh, 0, ports.read.data[lane]) + rounded),
            ]
            m.d.comb += ports.write.data[lane].eq(total)
        return takes & (transfer == TRANSFERS - 1)

    def _scan(self, m: Module, ports: _Ports, tile: Signal, scans: Signal, scanned: Signal) -> None:
        """Look at pixel after pixel; read, multiply and shift what a pixel has."""
        advance = Signal()
        pixel, looked_at = (Signal(self._address_bits, name=name) for name in ("pixel", "looked_at"))
        all_looked, looked = Signal(), Signal()
        transfer = Signal(range(TRANSFERS))
        weight = ports.read_weight.data
        looks, issues, leaves = (Signal(name=name) for name in ("looks", "issues", "leaves"))
        read, multiplied = Signal(), Signal()
        m.d.comb += [
            advance.eq(~self.o_vector.valid | self.o_vector.ready),
            issues.eq(
                scans & looked & (weight != 0) & advance
                & ((transfer != 0) | ~self.o_sample.valid | self.o_sample.ready)
            ),
            leaves.eq(issues & (transfer == TRANSFERS - 1)),
            looks.eq(scans & ~all_looked & (~looked | (weight == 0) | leaves)),
            scanned.eq(all_looked & ~looked & ~read & ~multiplied),
        ]  # fmt: skip
        with m.If(scans & ((weight == 0) | leaves)):
            m.d.sync += looked.eq(0)
        with m.If(looks):
            m.d.comb += [ports.read_weight.en.eq(1), ports.read_weight.addr.eq(pixel)]
            m.d.sync += [looked.eq(1), looked_at.eq(pixel), pixel.eq(pixel + 1), all_looked.eq(pixel.all())]
        with m.If(scanned):
            m.d.sync += all_looked.eq(0)
        with m.If(self.o_sample.ready):
            m.d.sync += self.o_sample.valid.eq(0)
        with m.If(issues):
            m.d.comb += [ports.read.en.eq(1), ports.read.addr.eq(Cat(looked_at, transfer))]
            m.d.sync += transfer.eq(Mux(leaves, 0, transfer + 1))
            with m.If(transfer == 0):
                m.d.sync += [
                    self.o_sample.valid.eq(1),
                    self.o_sample.payload.eq(0),
                    self.o_sample.payload.pixel.eq(Cat(looked_at, tile)),
                    self.o_sample.payload.weight.eq(weight),
                ]
        with m.If(leaves):
            m.d.comb += [ports.write_weight.en.eq(1), ports.write_weight.addr.eq(looked_at)]

        m.submodules.reciprocals = reciprocals = Memory(
            shape=RECIPROCAL_WIDTH, depth=1 << RECIPROCAL_BITS, init=[int(value) for value in reciprocal_table()]
        )
        reciprocal = reciprocals.read_port()
        behind, read_behind, multiplied_behind, above = (
            Signal(range(UNIT_BITS), name=name) for name in ("behind", "read_behind", "multiplied_behind", "above")
        )
        for place in range(UNIT_BITS):
            with m.If(weight[place]):
                m.d.comb += [behind.eq(place), above.eq(UNIT - place)]
        normalised = (weight << above)[UNIT - RECIPROCAL_BITS : UNIT]
        m.d.comb += [reciprocal.addr.eq(normalised), reciprocal.en.eq(issues)]
        with m.If(advance):
            m.d.sync += [
                read.eq(issues),
                multiplied.eq(read),
                multiplied_behind.eq(read_behind),
                self.o_vector.valid.eq(multiplied),
            ]
        with m.If(issues):
            m.d.sync += read_behind.eq(behind)
        for lane in range(LANES):
            product = Signal(signed(SUM.width + RECIPROCAL_WIDTH + 1), name=f"scaled_{lane}", reset_less=True)
            # Rounding half up: a bit below the result is kept, then one is added.
            shifted = (((product << 9) >> multiplied_behind) + 1) >> 1
            with m.If(advance):
                m.d.sync += [
                    product.eq(ports.read.data[lane] * reciprocal.data),
                    self.o_vector.payload[lane // COMPONENTS][lane % COMPONENTS].eq(
                        Mux(shifted < PRODUCT.low, PRODUCT.low, Mux(shifted > PRODUCT.high, PRODUCT.high, shifted))
                    ),
                ]
