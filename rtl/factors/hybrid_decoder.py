"""The hybrid decoder: encoded factor blocks in, one dense vector of 16 factors a cycle out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.blocks import COORDINATE_LIMIT, POSITIONS, Form
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from rtl.factors.sparse_search import LOAD_ENTRIES, SparseSearch
from rtl.payloads import BlockLayouts, Mode, ReadBeat, TreePort

BEAT_BYTES = 16
MAP_BYTES = 2
"""Bytes of a bitmap's map, and of a coordinate entry."""


class ByteWindow(wiring.Component):
    """The next 16 bytes of a payload, from two beats and an offset.

    Beats of the next payload are taken only after ``finish``, or with it.

    Latency: 1 cycle from an accepted beat to its bytes.
    Throughput: 1 beat a cycle.

    Members
    -------
    i : In(stream)
        `ReadBeat`.
    start : In(1)
        Strobe: a payload starts, at byte 8 of its first beat if ``skip``; not while bytes are taken of another.
    skip : In(1)
    finish : In(1)
        Strobe: drop all beats of this payload; only while ``ending``.
    take : In(5)
        Bytes to drop in this cycle, 0 to 16.
    bytes : Out(array of 16 bytes)
        The next bytes of the payload.
    available : Out(6)
        How many of the payload's bytes, from the next on, are here; padding of its last beat included.
    ending : Out(1)
        The payload's last beat is, or was, here.
    """

    i: In(stream.Signature(ReadBeat))
    start: In(1)
    skip: In(1)
    finish: In(1)
    take: In(range(BEAT_BYTES + 1))
    bytes: Out(data.ArrayLayout(8, BEAT_BYTES))
    available: Out(range(2 * BEAT_BYTES + 1))
    ending: Out(1)

    def elaborate(self, platform) -> Module:
        """Return two beat registers, the offset and the byte shifter."""
        m = Module()
        low = Signal(8 * BEAT_BYTES)
        high = Signal(8 * BEAT_BYTES)
        low_valid = Signal()
        high_valid = Signal()
        ended = Signal()
        offset = Signal(range(BEAT_BYTES))
        position = Signal(range(2 * BEAT_BYTES))
        advance = Signal()
        m.d.comb += [
            position.eq(offset + self.take),
            advance.eq(position[-1]),
            self.bytes.eq(Cat(low, high).bit_select(Cat(Const(0, 3), offset), 8 * BEAT_BYTES)),
            self.available.eq(Mux(low_valid, Mux(high_valid, 2 * BEAT_BYTES, BEAT_BYTES) - offset, 0)),
            self.ending.eq(ended),
        ]
        m.d.sync += offset.eq(position[:-1])
        with m.If(self.start):
            m.d.sync += offset.eq(Mux(self.skip, BEAT_BYTES // 2, 0))

        # Beats that stay after this cycle, then the place of a new one.
        low_stays = Signal()
        high_stays = Signal()
        accepted = self.i.valid & self.i.ready
        m.d.comb += [
            low_stays.eq(Mux(advance, high_valid, low_valid) & ~self.finish),
            high_stays.eq(high_valid & ~advance & ~self.finish),
            self.i.ready.eq((~ended | self.finish) & ~high_stays),
        ]
        m.d.sync += [
            low_valid.eq(low_stays | accepted),
            high_valid.eq(high_stays | (low_stays & accepted)),
            ended.eq((ended & ~self.finish) | (accepted & self.i.payload.last)),
        ]
        with m.If(~low_stays):
            m.d.sync += low.eq(self.i.payload.data)
        with m.Elif(advance):
            m.d.sync += low.eq(high)
        with m.If(~high_stays):
            m.d.sync += high.eq(self.i.payload.data)
        return m


class HybridDecoder(wiring.Component):
    """Decode blocks in any of the three forms into their 16 vectors.

    Every job gives all 16 positions in order; a position that the mask says is absent is a zero vector. A job with an
    empty mask has no payload. Bitmap maps go through the shared tree, whose prefix counts are the places of the packed
    values; coordinate entries go through the sparse search unit.

    A payload that disagrees with its header gives a strobe and 16 vectors without meaning: bitmap counts that do not
    add to ``count``, coordinate entries out of order, at absent positions, or missing at a present position, and a
    payload that ends too early or too late (the surplus is dropped up to ``last``).

    Latency: 2 cycles from the beat that completes the first 16 bytes to the first vector (dense).
    Throughput: 1 vector a cycle; before the first vector of a block 1 or 2 cycles to load maps and the latency of the
    tree (bitmap), or 1 cycle for each 8 entries (coordinate).

    Members
    -------
    i_job : In(stream)
        `DecodeJob`.
    i_payload : In(stream)
        `ReadBeat`: the payloads of the jobs, in order, the last beat of each marked.
    tree : Out(TreePort())
    o : Out(stream)
        `DecodedVector`.
    error_payload : Out(1)
        Strobe: a payload disagrees with its header.
    """

    LATENCY = 2

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._layouts = layouts = BlockLayouts(cfg)
        super().__init__(
            {
                "i_job": In(stream.Signature(layouts.DecodeJob)),
                "i_payload": In(stream.Signature(ReadBeat)),
                "tree": Out(TreePort()),
                "o": Out(stream.Signature(layouts.DecodedVector)),
                "error_payload": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the byte window, the search unit and the sequencer."""
        m = Module()
        m.submodules.window = window = ByteWindow()
        m.submodules.search = search = SparseSearch()
        wiring.connect(m, wiring.flipped(self.i_payload), window.i)

        job = Signal(self._layouts.DecodeJob)
        present = Signal(range(POSITIONS + 1))
        load_left = Signal(range(COORDINATE_LIMIT + 1))
        chunk = Signal(range(COORDINATE_LIMIT // LOAD_ENTRIES))
        maps = Signal(data.ArrayLayout(COMPONENTS, POSITIONS))
        asked = Signal(range(POSITIONS + 1))
        answered = Signal(range(POSITIONS))
        position = Signal(range(POSITIONS))
        values_left = Signal(9)

        dense = Signal()
        bitmap = Signal()
        coordinate = Signal()
        has_payload = Signal()
        here = Signal()
        final = Signal()
        room = Signal()
        enough = Signal()
        step = Signal()
        error = Signal()
        need = Signal(range(BEAT_BYTES + 1))
        left_after = Signal.like(values_left)
        response = self.tree.response
        m.d.comb += [
            has_payload.eq(job.mask.any()),
            dense.eq(job.form == Form.DENSE),
            bitmap.eq(job.form == Form.BITMAP),
            coordinate.eq(job.form == Form.COORDINATE),
            here.eq(job.mask.bit_select(position, 1)),
            final.eq(position == POSITIONS - 1),
            room.eq(self.o.ready | ~self.o.valid),
            # Once the last beat is here, waiting for more bytes would be waiting for ever.
            enough.eq((window.available >= need) | window.ending),
            left_after.eq(values_left - Mux(bitmap & here, need, 0)),
            search.load_count.eq(Mux(load_left > LOAD_ENTRIES, LOAD_ENTRIES, load_left)),
            search.entries.eq(window.bytes),
            search.position.eq(position),
            self.tree.request.payload.mode.eq(Mode.PREFIX),
            self.tree.request.payload.bits.eq(maps[asked[:-1]]),
        ]
        m.d.sync += self.error_payload.eq(error)
        entries_fit = self._entries_fit(m, search, job.mask, chunk)

        with m.If(room):
            m.d.sync += self.o.valid.eq(step)
        with m.If(step):
            write = self.o.payload.write
            m.d.sync += [
                self.o.payload.appearance.eq(job.appearance),
                self.o.payload.block_last.eq(final),
                write.to.eq(job.to),
                write.position.eq(position),
            ]
            for component in range(COMPONENTS):
                packed = _pick(window.bytes, response.payload.prefix[component], component)
                with m.If(~here | (bitmap & ~maps[answered][component])):
                    m.d.sync += write.values[component].eq(0)
                with m.Elif(coordinate):
                    m.d.sync += write.values[component].eq(search.values[component])
                with m.Elif(bitmap):
                    m.d.sync += write.values[component].eq(packed)
                with m.Else():
                    m.d.sync += write.values[component].eq(window.bytes[component])

        def take_job() -> None:
            m.d.comb += self.i_job.ready.eq(1)
            m.next = "IDLE"
            with m.If(self.i_job.valid):
                m.next = "LOAD"
                with m.If((self.i_job.payload.form == Form.DENSE) | ~self.i_job.payload.mask.any()):
                    m.next = "WRITE"

        with m.FSM():
            with m.State("IDLE"):
                take_job()
            with m.State("LOAD"):
                m.d.comb += need.eq(Cat(Const(0, 1), search.load_count))
                with m.If(enough):
                    m.d.comb += [
                        window.take.eq(need),
                        search.load.eq(coordinate),
                        error.eq((window.available < need) | (coordinate & ~entries_fit)),
                    ]
                    m.d.sync += [load_left.eq(load_left - search.load_count), chunk.eq(chunk + 1)]
                    loaded_maps = data.View(data.ArrayLayout(COMPONENTS, LOAD_ENTRIES), window.bytes)
                    for index in range(POSITIONS):
                        with m.If(chunk[0] == index // LOAD_ENTRIES):
                            m.d.sync += maps[index].eq(loaded_maps[index % LOAD_ENTRIES])
                    with m.If(load_left <= LOAD_ENTRIES):
                        m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(here & dense):
                    m.d.comb += need.eq(BEAT_BYTES)
                with m.If(here & bitmap):
                    m.d.comb += need.eq(response.payload.total)
                m.d.comb += [
                    self.tree.request.valid.eq(bitmap & (asked != present)),
                    response.ready.eq(step & here & bitmap),
                    step.eq(room & enough & (response.valid | ~(here & bitmap))),
                ]
                with m.If(self.tree.request.valid & self.tree.request.ready):
                    m.d.sync += asked.eq(asked + 1)
                with m.If(step):
                    m.d.comb += [
                        window.take.eq(need),
                        error.eq(
                            (window.available < need)
                            | (coordinate & here & ~search.hits.any())
                            | (bitmap & final & left_after.any())
                            | (final & has_payload & ~window.ending)
                        ),
                    ]
                    m.d.sync += [position.eq(position + 1), answered.eq(answered + here), values_left.eq(left_after)]
                with m.If(step & final):
                    with m.If(has_payload & ~window.ending):
                        m.next = "DRAIN"
                    with m.Else():
                        m.d.comb += window.finish.eq(has_payload)
                        take_job()
            with m.State("DRAIN"):
                with m.If(window.ending):
                    m.d.comb += window.finish.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += window.take.eq(BEAT_BYTES)

        offered = self.i_job.payload
        count = sum(offered.mask[index] for index in range(POSITIONS))
        with m.If(self.i_job.valid & self.i_job.ready):
            m.d.comb += [window.start.eq(1), window.skip.eq(offered.skip), search.clear.eq(1)]
            m.d.sync += [
                job.eq(offered),
                present.eq(count),
                load_left.eq(Mux(offered.form == Form.BITMAP, count, offered.count)),
                values_left.eq(offered.count),
                chunk.eq(0),
                asked.eq(0),
                answered.eq(0),
                position.eq(0),
            ]
        return m

    def _entries_fit(self, m: Module, search: SparseSearch, mask, chunk) -> Signal:
        """Return whether the entries to load ascend, the earlier loads included, and are at present positions."""
        fit = Signal(LOAD_ENTRIES)
        previous = Signal(8)
        with m.If(search.load):
            m.d.sync += previous.eq(search.entries[-1].as_value())
        for entry in range(LOAD_ENTRIES):
            index = search.entries[entry].as_value()[:8]
            before = search.entries[entry - 1].as_value()[:8] if entry else previous
            ascends = (index > before) | ((chunk == 0) if entry == 0 else 0)
            present = mask.bit_select(search.entries[entry].position, 1)
            m.d.comb += fit[entry].eq((ascends & present) | (entry >= search.load_count))
        return fit.all()


def _pick(values, place, component: int):
    """Return the value at a place that is at most ``component``."""
    reach = Cat(values[index] for index in range(component + 1))
    return reach.word_select(place[: component.bit_length()], 8) if component else reach
