"""Deferred shading: composite the appearance products of a tile's visible samples, then put out one mean a ray."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import RECIPROCAL_BITS, reciprocal_table
from nerf.contract.scene_image import PAIRS
from rtl.parts.pixel_memory import PixelWrite
from rtl.parts.queue import Queue
from rtl.parts.shared_module import PART, build_in
from rtl.payloads import UNIT_BITS, LookUp, ProductVector, TileLayouts, product_vectors
from rtl.shading.product_lanes import RECIPROCAL_WIDTH, SUM, MeanLane, SumLane

LANES = len(PAIRS) * COMPONENTS
"""Products of a component group."""
SAMPLE_QUEUE = 4
Weight = data.StructLayout({"sum": UNIT_BITS, "seen": 1})
"""Sum of a pixel's weights; ``seen``: it has had a sample, and each has a weight. Asking all bits would take longer."""


class SumsPort(wiring.Signature):
    """A user's side of the sums of a tile: of products, by pixel and transfer, and of weights, by pixel."""

    def __init__(self, address_bits: int, transfers: int, lanes: int) -> None:
        place, sums = address_bits + (transfers - 1).bit_length(), data.ArrayLayout(SUM, lanes * LANES)
        super().__init__(
            {
                "read": Out(LookUp(place, sums)),
                "write": Out(PixelWrite(place, sums)),
                "read_weight": Out(LookUp(address_bits, Weight)),
                "write_weight": Out(PixelWrite(address_bits, Weight)),
            }
        )


class TileSums(wiring.Component):
    """The sums of two tiles: samples are added to those of one, those of the other are put out.

    A pixel without a sample has no weight; after a reset all pixels lose theirs, one of each tile a cycle.

    Latency: 1 cycle from an address to its data, which then stay until the next cycle with ``enable``.
    Throughput: a cycle, a read and a write of sums and of a weight in each tile.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    tile : In(1)
        Parity of the tile that is added to; it changes when nothing is read or written.
    clears : Out(1)
        Pixels are getting their first weight: neither tile is to be used.
    add, scan : In(SumsPort)
        The two users; the scan has no sums to write.
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._address_bits = 2 * cfg.tile_bits
        self._transfers, self._sums = cfg.appearance_transfers, cfg.appearance_lanes * LANES
        port = SumsPort(self._address_bits, self._transfers, cfg.appearance_lanes)
        super().__init__({"tile": In(1), "clears": Out(1, init=1), "add": In(port), "scan": In(port)})

    def elaborate(self, platform) -> Module:
        """Return the memories of each tile, and what lends them to the two users."""
        m = Module()
        clear = Signal(self._address_bits)
        with m.If(self.clears):
            m.d.sync += [clear.eq(clear + 1), self.clears.eq(~clear.all())]
        for parity in range(2):
            m.submodules[f"sums_{parity}"] = sums = Memory(
                shape=data.ArrayLayout(SUM, self._sums), depth=self._transfers << self._address_bits, init=[]
            )
            m.submodules[f"weights_{parity}"] = weights = Memory(shape=Weight, depth=1 << self._address_bits, init=[])
            read, read_weight = sums.read_port(), weights.read_port()
            write, write_weight = sums.write_port(), weights.write_port()
            for user, uses in ((self.add, self.tile == parity), (self.scan, self.tile != parity)):
                with m.If(uses):
                    for port, access in ((read, user.read), (read_weight, user.read_weight)):
                        m.d.comb += [
                            port.en.eq(access.enable), port.addr.eq(access.address), access.data.eq(port.data)
                        ]  # fmt: skip
                    for port, access in ((write, user.write), (write_weight, user.write_weight)):
                        m.d.comb += [
                            port.en.eq(access.enable), port.addr.eq(access.address), port.data.eq(access.data)
                        ]  # fmt: skip
            with m.If(self.clears):
                m.d.comb += [write_weight.en.eq(1), write_weight.addr.eq(clear), Value.cast(write_weight.data).eq(0)]
        return m


class ProductBuffer(wiring.Component):
    """Between the appearance interpolator and the network: samples in, rays out.

    Rules
    -----
    - Each sample that is not ``last`` comes with a transfer of 48 products for each component group, in its order, or
      with ``appearance_lanes`` groups in one. Weight times product, rounded, is added to what its pixel has.
    - At ``last`` every pixel that has had a sample is put out like a sample, in the order of the pixels: its weight is
      the sum of its samples' weights, its products are their sums over that weight, by table, as in
      `nerf.golden.product_buffer`. ``last`` follows. The pixels are empty again.
    - Meanwhile the samples of the next tile are added up. Its ``last`` waits until that of the tile before is put out.
    - All samples before a ``last`` are of one tile; the rays are, too. The first tile after a reset has place
      0, the others have the one behind that of the tile before.
    - After a reset nothing is accepted until all pixels are empty: a cycle for each of a tile.

    Latency: `LATENCY` cycles from the last transfer before ``last`` to a ray's first products, if pixel 0 has a sample
    and no tile is being put out.
    Throughput: a transfer a cycle in, but for 4 cycles at ``last``; out, a cycle for each component group of a ray and
    1 a pixel without; a tile without a sample takes none.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i_sample, o_sample : stream
        `VisibleSample`; ``cube`` and ``local`` are 0 behind.
    i_vector, o_vector : stream
        `product_vectors` of ``appearance_lanes`` groups; `ProductVector`.
    """

    STEPS = 5
    """Of a pixel's sums, from their read to the step before the output."""
    LATENCY = 12

    def __init__(self, cfg: AcceleratorConfig) -> None:
        layouts = TileLayouts(cfg)
        self._cfg = cfg
        self._sample, self._place_bits = layouts.VisibleSample, layouts.place
        self._address_bits, self._groups = 2 * cfg.tile_bits, cfg.groups["appearance"]
        self._lanes, self._transfers = cfg.appearance_lanes, cfg.appearance_transfers
        super().__init__(
            {
                "i_sample": In(stream.Signature(layouts.VisibleSample)),
                "i_vector": In(stream.Signature(product_vectors(cfg.appearance_lanes))),
                "o_sample": Out(stream.Signature(layouts.VisibleSample)),
                "o_vector": Out(stream.Signature(ProductVector)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the sums, what adds to those of a tile and the scan that puts out those of the other."""
        m = Module()
        m.submodules.samples = samples = Queue(self._sample, SAMPLE_QUEUE)
        m.submodules.sums = sums = TileSums(self._cfg)
        wiring.connect(m, wiring.flipped(self.i_sample), samples.i)
        head = samples.o
        adds, rests, begins, scans, scanned, ends = (
            Signal(name=name) for name in ("adds", "rests", "begins", "scans", "scanned", "ends")
        )

        m.d.comb += adds.eq(head.valid & ~head.payload.last & ~sums.clears)
        added = self._add(m, platform, sums.add, adds, head.payload, rests)
        place = Signal(self._place_bits)
        """Of the tile that is added to; the one before it is put out."""
        self._scan(m, platform, sums.scan, (place - 1)[: len(place)], scans, scanned)
        m.d.comb += [head.ready.eq(added | begins), sums.tile.eq(place[0])]
        any_sample = Signal()
        """The tile that is added to has one."""
        with m.If(begins):
            m.d.sync += [place.eq(place + 1), any_sample.eq(0)]
        with m.If(added):
            m.d.sync += any_sample.eq(1)
        with m.If(ends):
            m.d.sync += [self.o_sample.valid.eq(1), self.o_sample.payload.last.eq(1)]
        with m.FSM(name="scan"):
            with m.State("WAIT"):
                m.d.comb += begins.eq(head.valid & head.payload.last & rests & ~sums.clears)
                with m.If(begins):
                    m.next = "LAST"
                    with m.If(any_sample):
                        m.next = "SCAN"
            with m.State("SCAN"):
                m.d.comb += scans.eq(1)
                with m.If(scanned):
                    m.next = "LAST"
            with m.State("LAST"):
                m.d.comb += ends.eq(~self.o_sample.valid | self.o_sample.ready)
                with m.If(ends):
                    m.next = "WAIT"
        return m

    def _add(
        self, m: Module, platform, sums: wiring.PureInterface, adds: Signal, sample: data.View, rests: Signal
    ) -> Signal:
        """Multiply; add the carries and read; take that; add and write. Return whether a sample has its last transfer.

        Where a sample is one transfer, those of one pixel may follow each other closer than a sum is read after it is
        written: then they are handed on. With more transfers to a sample they do not. A weight is read a cycle earlier
        than the sums, since it tells whether there are any, and written with them: so it is handed on further.
        """
        # A single transfer has a bit, too: Verilog has no signal without.
        transfer = Signal(range(max(self._transfers, 2)))
        takes = Signal()
        pixel = sample.pixel[: self._address_bits]
        m.d.comb += [self.i_vector.ready.eq(adds), takes.eq(self.i_vector.valid & adds)]
        reads, holds, writes = (Signal(name=name) for name in ("reads", "holds", "writes"))
        place, held_place, written_place = (
            Signal(len(sums.read.address), name=name) for name in ("place", "held_place", "written_place")
        )
        weight, held_weight, found = (Signal(UNIT_BITS, name=name) for name in ("weight", "held_weight", "found"))
        weights = [Signal(UNIT_BITS, name=f"weight_{ago}") for ago in range(3)]
        """Sums of weights: that which is written, and those that were in the cycles before."""
        first, held_first, written_first = (Signal(name=name) for name in ("first", "held_first", "written_first"))
        fresh, was_fresh = Signal(), Signal()
        follows, held_follows = Signal(len(weights)), Signal(len(weights))
        """Whether a sample is of the pixel of the one before it, of the one before that, and so on."""
        source = Signal(SumLane.SOURCES)
        with m.If(takes):
            m.d.sync += [
                transfer.eq(Mux(transfer == self._transfers - 1, 0, transfer + 1)),
                place.eq(Cat(pixel, transfer)),
                weight.eq(sample.weight),
                first.eq(transfer == 0),
            ]
        behind = ((reads & first, place), (holds & held_first, held_place), (writes & written_first, written_place))
        for number, (begins, other) in enumerate(behind):
            if self._transfers == 1 or number == len(behind) - 1:
                same = other[: self._address_bits] == pixel
                m.d.sync += follows[number].eq(begins & same & (transfer == 0))
        known = found
        for number, total in reversed([*enumerate(weights)]):
            known = Mux(held_follows[number], total, known)
        m.d.comb += [
            sums.read_weight.enable.eq(adds & (transfer == 0)),
            sums.read_weight.address.eq(pixel),
            fresh.eq(Mux(first, ~sums.read_weight.data.seen & ~follows.any(), was_fresh)),
            sums.write_weight.enable.eq(writes & written_first),
            sums.write_weight.address.eq(written_place),
            sums.write_weight.data.sum.eq(weights[0]),
            sums.write_weight.data.seen.eq(1),
            sums.read.enable.eq(reads),
            sums.read.address.eq(place),
            sums.write.enable.eq(writes),
            sums.write.address.eq(written_place),
            rests.eq(~reads & ~holds & ~writes),
        ]
        m.d.sync += [
            Cat(reads, holds, writes).eq(Cat(takes, reads, holds)),
            Cat(held_place, written_place).eq(Cat(place, held_place)),
            Cat(held_first, written_first).eq(Cat(first, held_first)),
            was_fresh.eq(Mux(reads, fresh, was_fresh)),
            found.eq(sums.read_weight.data.sum),
            Cat(held_weight, held_follows).eq(Cat(weight, follows)),
            weights[0].eq(known + held_weight),
            Cat(weights[1:]).eq(Cat(weights[:-1])),
            source.eq(Cat(~fresh & ~follows[:2].any(), follows[0], follows[1] & ~follows[0])),
        ]
        width = self._lanes * COMPONENTS
        forwards = self._transfers == 1
        totals = build_in(
            m, platform, f"{PART}sum", [f"sum_{lane}" for lane in range(len(PAIRS) * width)],
            lambda: SumLane(forwards), {"weight": sample.weight, "source": source},
        )  # fmt: skip
        for lane, total in enumerate(totals):
            m.d.comb += [
                total.product.eq(self.i_vector.payload[lane // width][lane % width]),
                total.read.eq(sums.read.data[lane]),
                sums.write.data[lane].eq(total.total),
            ]
        return takes & (transfer == self._transfers - 1)

    def _scan(
        self, m: Module, platform, sums: wiring.PureInterface, tile: Value, scans: Signal, scanned: Signal
    ) -> None:
        """Look at pixel after pixel; read, multiply and shift what a pixel has, and limit it: `STEPS` of them."""
        advance = Signal()
        pixel, looked_at = (Signal(self._address_bits, name=name) for name in ("pixel", "looked_at"))
        all_looked, looked = Signal(), Signal()
        transfer = Signal(range(self._groups))
        weight, seen = sums.read_weight.data.sum, sums.read_weight.data.seen
        looks, issues, leaves = (Signal(name=name) for name in ("looks", "issues", "leaves"))
        holds = Signal(self.STEPS)
        m.d.comb += [
            advance.eq(~self.o_vector.valid | self.o_vector.ready),
            issues.eq(
                scans & looked & seen & advance
                & ((transfer != 0) | ~self.o_sample.valid | self.o_sample.ready)
            ),
            leaves.eq(issues & (transfer == self._groups - 1)),
            looks.eq(scans & ~all_looked & (~looked | ~seen | leaves)),
            scanned.eq(all_looked & ~looked & ~holds.any()),
        ]  # fmt: skip
        with m.If(scans & (~seen | leaves)):
            m.d.sync += looked.eq(0)
        with m.If(looks):
            m.d.comb += [sums.read_weight.enable.eq(1), sums.read_weight.address.eq(pixel)]
            m.d.sync += [looked.eq(1), looked_at.eq(pixel), pixel.eq(pixel + 1), all_looked.eq(pixel.all())]
        with m.If(scanned):
            m.d.sync += all_looked.eq(0)
        with m.If(self.o_sample.ready):
            m.d.sync += self.o_sample.valid.eq(0)
        with m.If(issues):
            # What several lanes have read stays for all transfers.
            reads = (transfer == 0) | (self._lanes == 1)
            m.d.comb += [sums.read.enable.eq(reads), sums.read.address.eq(Cat(looked_at, transfer))]
            m.d.sync += transfer.eq(Mux(leaves, 0, transfer + 1))
            with m.If(transfer == 0):
                m.d.sync += [
                    self.o_sample.valid.eq(1),
                    self.o_sample.payload.eq(0),
                    self.o_sample.payload.pixel.eq(Cat(looked_at, tile)),
                    self.o_sample.payload.weight.eq(weight),
                ]
        with m.If(leaves):
            m.d.comb += [sums.write_weight.enable.eq(1), sums.write_weight.address.eq(looked_at)]

        self._mean(m, platform, self._group(m, sums.read.data, transfer, issues), weight, issues, advance)
        with m.If(advance):
            m.d.sync += Cat(holds, self.o_vector.valid).eq(Cat(issues, holds))

    def _group(self, m: Module, sums: data.View, transfer: Signal, issues: Signal) -> list[Value]:
        """Return those of the sums that are read that a transfer puts out."""
        if self._lanes == 1:
            return list(sums)
        group, width = Signal.like(transfer, name="group"), self._lanes * COMPONENTS
        with m.If(issues):
            m.d.sync += group.eq(transfer)
        return [
            Array(sums[pair * width + lane * COMPONENTS + n] for lane in range(self._lanes))[group]
            for pair in range(len(PAIRS))
            for n in range(COMPONENTS)
        ]

    def _mean(self, m: Module, platform, sums: list[Value], weight: Value, issues: Signal, advance: Signal) -> None:
        """Divide the sums that are read by the weight, by table: take them, multiply, add the carries, shift, limit."""
        m.submodules.reciprocals = reciprocals = Memory(
            shape=RECIPROCAL_WIDTH, depth=1 << RECIPROCAL_BITS, init=[int(value) for value in reciprocal_table()]
        )
        reciprocal = reciprocals.read_port()
        behind = Signal(range(UNIT_BITS))
        behinds = [Signal(range(UNIT_BITS), name=f"behind_{step}") for step in range(self.STEPS - 1)]
        leads = [weight[place] & ~weight[place + 1 :].any() for place in range(UNIT_BITS)]
        shifted = Cat(Const(0, RECIPROCAL_BITS), weight)
        normalised = [
            Cat(leading & shifted[place + bit] for place, leading in enumerate(leads)).any()
            for bit in range(RECIPROCAL_BITS)
        ]
        m.d.comb += [
            behind.eq(Cat(Cat(leads[place] for place in range(UNIT_BITS) if place >> bit & 1).any()
                          for bit in range(len(behind)))),
            reciprocal.addr.eq(Cat(normalised)),
            reciprocal.en.eq(issues),
        ]  # fmt: skip
        factor = Signal(RECIPROCAL_WIDTH)
        with m.If(advance):
            m.d.sync += [
                Cat(behinds[1:]).eq(Cat(behinds[:-1])),
                factor.eq(reciprocal.data),
            ]
        with m.If(issues):
            m.d.sync += behinds[0].eq(behind)
        common = {"advance": advance, "factor": factor, "behind": behinds[-1]}
        means = build_in(m, platform, f"{PART}mean", [f"mean_{lane}" for lane in range(LANES)], MeanLane, common)
        for lane, mean in enumerate(means):
            m.d.comb += mean.sum.eq(sums[lane])
            with m.If(advance):
                m.d.sync += self.o_vector.payload[lane // COMPONENTS][lane % COMPONENTS].eq(mean.mean)
