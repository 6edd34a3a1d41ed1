"""The hybrid decoder: encoded factor blocks in, dense vectors of 16 factors out, one a cycle or in parts."""

from collections.abc import Iterable, Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
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

    Every job gives all 16 positions in order, each in ``cfg.vector_parts``, as wide as a cube buffer; a position that
    the mask says is absent is a zero vector. A job with an
    empty mask has no payload. Bitmap maps go through the shared tree, whose prefix counts are the places of the packed
    values; coordinate entries go through the sparse search unit.

    A payload that disagrees with its header gives a strobe and 16 vectors without meaning: bitmap counts that do not
    add to ``count``, coordinate entries out of order, at absent positions, or missing at a present position, and a
    payload that ends too early or too late (the surplus is dropped up to ``last``).

    Latency: 2 cycles from the beat that completes the first 16 bytes to the first vector (dense).
    Throughput: 1 part of a vector a cycle; before the first vector of a block 1 or 2 cycles to load maps and the
    latency of the tree (bitmap), or 1 cycle for each 8 entries (coordinate).

    Parameters
    ----------
    cfg : AcceleratorConfig
    forms : iterable of Form
        Those of the jobs; all by default. Fewer forms make a smaller decoder, to compare with.

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

    def __init__(self, cfg: AcceleratorConfig, forms: Iterable[Form] = tuple(Form)) -> None:
        self._forms = frozenset(forms)
        self._parts, self._components = cfg.vector_parts, cfg.interpolated_components
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
        m.submodules.search = search = SparseSearch(self._components)
        wiring.connect(m, wiring.flipped(self.i_payload), window.i)
        block = _Block(self._layouts.DecodeJob, self._parts)
        self._derive(m, block, window, search)
        entries_fit = self._entries_fit(m, search, block.job.mask, block.chunk)
        self._put_out(m, block, window, search)
        with m.FSM():
            with m.State("IDLE"):
                self._take_job(m)
            with m.State("LOAD"):
                self._load(m, block, window, search, entries_fit)
            with m.State("WRITE"):
                self._write(m, block, window, search)
            with m.State("DRAIN"):
                with m.If(window.ending):
                    m.d.comb += window.finish.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += window.take.eq(BEAT_BYTES)
        self._begin(m, block, window, search)
        return m

    def _is(self, job: data.View, form: Form) -> Value:
        """Return whether a job has a form; a constant where there is no other, or not this one."""
        if form not in self._forms:
            return Const(0)
        return job.form == form if len(self._forms) > 1 else Const(1)

    def _derive(self, m: Module, block: "_Block", window: ByteWindow, search: SparseSearch) -> None:
        """Set what follows from the registers of a block in every state, and what the units are asked."""
        job = block.job
        m.d.comb += [
            block.has_payload.eq(job.mask.any()),
            block.dense.eq(self._is(job, Form.DENSE)),
            block.bitmap.eq(self._is(job, Form.BITMAP)),
            block.coordinate.eq(self._is(job, Form.COORDINATE)),
            block.final.eq(block.position == POSITIONS - 1),
            block.whole.eq(block.step & (block.part == self._parts - 1)),
            block.room.eq(self.o.ready | ~self.o.valid),
            # Once the last beat is here, waiting for more bytes would be waiting for ever.
            block.enough.eq((window.available >= block.need) | window.ending),
            block.left_after.eq(block.values_left - Mux(block.bitmap & block.here, block.need, 0)),
            search.load_count.eq(Mux(block.load_left > LOAD_ENTRIES, LOAD_ENTRIES, block.load_left)),
            search.entries.eq(window.bytes),
            search.position.eq(block.position),
            search.part.eq(block.part),
            self.tree.request.payload.mode.eq(Mode.PREFIX),
            self.tree.request.payload.bits.eq(block.maps[block.asked[:-1]]),
        ]
        errors = Signal.like(block.errors, name="errors_held")
        m.d.sync += errors.eq(block.errors)
        m.d.comb += self.error_payload.eq(errors.any())

    def _put_out(self, m: Module, block: "_Block", window: ByteWindow, search: SparseSearch) -> None:
        """Register a part of the vector of a position, each component from where the form has it."""
        prefix, filled = self.tree.response.payload.prefix, block.maps[block.answered]
        last = COMPONENTS - self._components
        with m.If(block.room):
            m.d.sync += self.o.valid.eq(block.step)
        with m.If(block.step):
            write = self.o.payload.write
            m.d.sync += [
                self.o.payload.appearance.eq(block.job.appearance),
                self.o.payload.block_last.eq(block.final & block.whole),
                write.to.eq(block.job.to),
                write.position.eq(block.position),
            ]
            if self._parts > 1:
                m.d.sync += write.part.eq(block.part)
            for index in range(self._components):
                value = write.values[index]
                with m.If(~block.here | (block.bitmap & ~self._of_part(block, filled, index))):
                    m.d.sync += value.eq(0)
                with m.Elif(block.coordinate):
                    m.d.sync += value.eq(search.values[index])
                with m.Elif(block.bitmap):
                    m.d.sync += value.eq(_pick(window.bytes, self._of_part(block, prefix, index), last + index))
                with m.Else():
                    m.d.sync += value.eq(self._of_part(block, window.bytes, index))

    def _of_part(self, block: "_Block", values: Sequence[Value], index: int) -> Value:
        """Return a component of this part of a vector, of which all are given."""
        of_parts = [Value.cast(values[component]) for component in range(index, COMPONENTS, self._components)]
        return Cat(of_parts).word_select(block.part, len(of_parts[0])) if self._parts > 1 else of_parts[0]

    def _take_job(self, m: Module) -> None:
        """Accept a job if one is offered; the next state is that of its first work."""
        m.d.comb += self.i_job.ready.eq(1)
        m.next = "IDLE"
        with m.If(self.i_job.valid):
            m.next = "LOAD"
            with m.If(self._is(self.i_job.payload, Form.DENSE) | ~self.i_job.payload.mask.any()):
                m.next = "WRITE"

    def _begin(self, m: Module, block: "_Block", window: ByteWindow, search: SparseSearch) -> None:
        """Set the registers to the job that is accepted."""
        offered = self.i_job.payload
        count = sum(offered.mask[index] for index in range(POSITIONS))
        with m.If(self.i_job.valid & self.i_job.ready):
            m.d.comb += [window.start.eq(1), window.skip.eq(offered.skip), search.clear.eq(1)]
            m.d.sync += [
                block.job.eq(offered),
                block.present.eq(count),
                block.load_left.eq(Mux(self._is(offered, Form.BITMAP), count, offered.count)),
                block.values_left.eq(offered.count),
                block.chunk.eq(0),
                block.asked.eq(0),
                block.answered.eq(0),
                block.position.eq(0),
                block.here.eq(offered.mask[0]),
            ]

    def _load(self, m: Module, block: "_Block", window: ByteWindow, search: SparseSearch, entries_fit) -> None:
        """Load a bitmap's maps, or coordinate entries into the search unit, 8 a cycle."""
        m.d.comb += block.need.eq(Cat(Const(0, 1), search.load_count))
        with m.If(block.enough):
            m.d.comb += [
                window.take.eq(block.need),
                search.load.eq(block.coordinate),
                block.errors.eq(Cat(window.available < block.need, block.coordinate & ~entries_fit)),
            ]
            m.d.sync += [block.load_left.eq(block.load_left - search.load_count), block.chunk.eq(block.chunk + 1)]
            loaded_maps = data.View(data.ArrayLayout(COMPONENTS, LOAD_ENTRIES), window.bytes)
            for index in range(POSITIONS):
                with m.If(block.chunk[0] == index // LOAD_ENTRIES):
                    m.d.sync += block.maps[index].eq(loaded_maps[index % LOAD_ENTRIES])
            with m.If(block.load_left <= LOAD_ENTRIES):
                m.next = "WRITE"

    def _write(self, m: Module, block: "_Block", window: ByteWindow, search: SparseSearch) -> None:
        """Put out the vector of a position when its bytes and its places are there; ask the tree for maps ahead."""
        request, response = self.tree.request, self.tree.response
        here, bitmap, need = block.here, block.bitmap, block.need
        following = Signal.like(block.position)
        with m.If(here & block.dense):
            m.d.comb += need.eq(BEAT_BYTES)
        with m.If(here & bitmap):
            m.d.comb += need.eq(response.payload.total)
        m.d.comb += [
            following.eq(block.position + 1),
            request.valid.eq(bitmap & (block.asked != block.present)),
            response.ready.eq(block.whole & here & bitmap),
            block.step.eq(block.room & block.enough & (response.valid | ~(here & bitmap))),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += block.asked.eq(block.asked + 1)
        hit = search.hits.any()
        if self._parts > 1:
            hit |= block.hit
            with m.If(block.step):
                m.d.sync += [block.part.eq(block.part + 1), block.hit.eq(hit & ~block.whole)]
        with m.If(block.whole):
            m.d.comb += [
                window.take.eq(need),
                block.errors.eq(
                    Cat(
                        window.available < need,
                        block.coordinate & here & ~hit,
                        bitmap & block.final & block.left_after.any(),
                        block.final & block.has_payload & ~window.ending,
                    )
                ),
            ]
            m.d.sync += [
                block.position.eq(following),
                block.here.eq(block.job.mask.bit_select(following, 1)),
                block.answered.eq(block.answered + here),
                block.values_left.eq(block.left_after),
            ]
        with m.If(block.whole & block.final):
            with m.If(block.has_payload & ~window.ending):
                m.next = "DRAIN"
            with m.Else():
                m.d.comb += window.finish.eq(block.has_payload)
                self._take_job(m)

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


class _Block:
    """The block that is decoded: registers, then wires that tell of it in this cycle."""

    def __init__(self, job: data.StructLayout, parts: int) -> None:
        self.job = Signal(job)
        self.present = Signal(range(POSITIONS + 1))
        """Positions that the mask says are there."""
        self.load_left = Signal(range(COORDINATE_LIMIT + 1))
        """Maps or entries to load."""
        self.chunk = Signal(range(COORDINATE_LIMIT // LOAD_ENTRIES))
        """Loads so far."""
        self.maps = Signal(data.ArrayLayout(COMPONENTS, POSITIONS))
        self.asked = Signal(range(POSITIONS + 1))
        """Maps that the tree has taken."""
        self.answered = Signal(range(POSITIONS))
        """Present positions whose vectors have been made."""
        self.position = Signal(range(POSITIONS))
        self.part = Signal(range(max(parts, 2)))
        """Of the position's vector; 0 where it has only one."""
        self.hit = Signal()
        """A coordinate entry was found for an earlier part."""
        self.here = Signal()
        """The position is present."""
        self.values_left = Signal(9)

        self.dense = Signal()
        self.bitmap = Signal()
        self.coordinate = Signal()
        self.has_payload = Signal()
        self.final = Signal()
        """It is the last of the block."""
        self.room = Signal()
        """The output can take a part of a vector."""
        self.enough = Signal()
        """The bytes that the state needs are here."""
        self.step = Signal()
        """A part of the position's vector is made."""
        self.whole = Signal()
        """It is the last."""
        self.errors = Signal(4)
        """Of the payload, by what is wrong with it."""
        self.need = Signal(range(BEAT_BYTES + 1))
        """Bytes of the payload that the state takes."""
        self.left_after = Signal.like(self.values_left)


def _pick(values, place, most: int):
    """Return the value at a place that is at most ``most``."""
    reach = Cat(values[index] for index in range(most + 1))
    return reach.word_select(place[: most.bit_length()], 8) if most else reach
