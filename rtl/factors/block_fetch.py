"""Block fetch: for each wanted block its header, checked, then its payload."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.blocks import COORDINATE_LIMIT, HEADER_BYTES, PAYLOAD_LIMIT, POINTER_UNIT, POSITIONS, Form
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.scene_image import BEAT, PAGE
from rtl.parts.checksum import crc8_of
from rtl.parts.queue import Queue
from rtl.parts.round_robin import RoundRobin
from rtl.payloads import BlockLayouts, ReadBeat, ReadPort, SceneRegisters

Header = data.StructLayout({"pointer": 28, "mask": POSITIONS, "count": 9, "form": 2, "zero": 1, "checksum": 8})
"""A block header in memory, see `nerf.contract.blocks`."""


class BlockFetch(wiring.Component):
    """Read block headers and payloads for two requesters, and tell the decoder what comes.

    Requests are taken in turn (round robin). Up to ``header_queue`` headers are on their way at a time. A payload is
    asked for only when the payload queue has room for all its beats, so both memory ports accept every beat at once.

    A header that no encoder writes, and one whose payload is not inside the payload section and a page, give a strobe;
    nothing is read for it, and its job says that the block is empty.

    Latency: 1 cycle from an accepted request to its header read; from the accepted header beat 6 cycles to the payload
    read and 7 to the job; 2 cycles from an accepted payload beat to ``o_payload``.
    Throughput: 1 block a cycle, as far as the memory allows.

    Parameters
    ----------
    cfg : AcceleratorConfig

    Members
    -------
    i_density, i_appearance : In(stream)
        `BlockRequest`.
    scene : In(SceneRegisters)
    scene_base : In(address)
        Byte address of the scene image, a multiple of the page size.
    headers, payload : Out(ReadPort)
        Header reads are single beats; a payload is one burst.
    o_job : Out(stream)
        `DecodeJob`, in the order of the requests taken.
    o_payload : Out(stream)
        `ReadBeat`: the payloads of all jobs that are not empty, in order, the last beat of each marked.
    error_header : Out(1)
        Strobe: a wrong header.
    """

    LATENCY_HEADER = 1
    LATENCY_PAYLOAD = 6
    LATENCY_JOB = 7
    LATENCY_BEAT = 2

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self._cfg = cfg
        self._layouts = layouts = BlockLayouts(cfg)
        super().__init__(
            {
                "i_density": In(stream.Signature(layouts.BlockRequest)),
                "i_appearance": In(stream.Signature(layouts.BlockRequest)),
                "scene": In(SceneRegisters),
                "scene_base": In(cfg.address_width),
                "headers": Out(ReadPort(cfg)),
                "payload": Out(ReadPort(cfg)),
                "o_job": Out(stream.Signature(layouts.DecodeJob)),
                "o_payload": Out(stream.Signature(ReadBeat)),
                "error_header": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the header reader, the check, the payload reader and their queues."""
        m = Module()
        cfg, layouts = self._cfg, self._layouts
        # What a header on its way is for; upper: it is in the upper half of its beat.
        expected = data.StructLayout({"appearance": 1, "to": layouts.BlockAddress, "upper": 1})
        m.submodules.wanted = wanted = Queue(expected, cfg.header_queue)
        m.submodules.words = words = Queue(128, cfg.header_queue)
        m.submodules.jobs = jobs = Queue(layouts.DecodeJob, cfg.job_queue)
        m.submodules.beats = beats = Queue(ReadBeat, cfg.payload_queue)
        wiring.connect(m, jobs.o, wiring.flipped(self.o_job))
        self._request_headers(m, wanted)

        # Every header on its way has its place among the wanted, and so in this queue of the same depth.
        m.d.comb += [
            words.i.payload.eq(self.headers.beats.payload.data),
            words.i.valid.eq(self.headers.beats.valid),
            self.headers.beats.ready.eq(1),
        ]
        here = Signal(data.StructLayout({"job": layouts.DecodeJob, "present": 5, "start": 31, "whole": 1}))
        address, address_here = Signal(self._cfg.address_width), Signal(self._cfg.address_width)
        section = Signal(self._cfg.address_width)
        is_here, valid = Signal(), Signal()
        issue = Signal()
        header = Signal(Header)
        moves = is_here & (~valid | issue)
        word, has_word = Signal(128), Signal()
        take = wanted.o.valid & has_word & (~is_here | moves)
        start = Cat(Const(0, POINTER_UNIT.bit_length() - 1), header.pointer)
        m.d.comb += [
            header.eq(word.word_select(wanted.o.payload.upper, 8 * HEADER_BYTES)),
            wanted.o.ready.eq(take),
            words.o.ready.eq(~has_word | take),
        ]
        with m.If(words.o.ready):
            m.d.sync += [word.eq(words.o.payload), has_word.eq(words.o.valid)]
        # The scene stands still long before its first block is asked for.
        m.d.sync += section.eq(self.scene_base + self.scene.payload_offset)
        with m.If(~is_here | moves):
            m.d.sync += is_here.eq(take)
        with m.If(take):
            m.d.sync += [
                address_here.eq(section + start),
                here.start.eq(start),
                here.present.eq(sum(header.mask[index] for index in range(POSITIONS))),
                here.whole.eq((crc8_of(header.as_value()[:56]) == header.checksum) & ~header.zero),
                here.job.appearance.eq(wanted.o.payload.appearance),
                here.job.to.eq(wanted.o.payload.to),
                here.job.form.eq(header.form),
                here.job.mask.eq(header.mask),
                here.job.count.eq(header.count),
            ]
        with m.If(~valid | issue):
            m.d.sync += valid.eq(moves)
        checking = self._measure(m, here, address_here, moves)
        with m.If(moves):
            m.d.sync += address.eq(address_here)
        self._issue(m, valid, checking, address, issue, jobs, beats)
        return m

    def _request_headers(self, m: Module, wanted: Queue) -> None:
        """Turn the requests into header reads."""
        m.submodules.turn = turn = RoundRobin(2)
        request = self.headers.request
        chosen = Signal(self._layouts.BlockRequest)
        section = Signal(32)
        free = wanted.i.ready & (request.ready | ~request.valid)
        m.d.comb += turn.requests.eq(Cat(self.i_density.valid, self.i_appearance.valid))
        kinds = ((self.i_density, self.scene.density_headers), (self.i_appearance, self.scene.appearance_headers))
        for kind, (source, offsets) in enumerate(kinds):
            with m.If(turn.grant == kind):
                to = source.payload.to
                m.d.comb += [
                    source.ready.eq(free & source.valid),
                    chosen.eq(source.payload),
                    section.eq(offsets[to.pair + Mux(to.line, 3, 0)]),
                ]
        address = Signal(self._cfg.address_width)
        m.d.comb += [
            address.eq(self.scene_base + section + chosen.index * HEADER_BYTES),
            turn.next.eq(free),
            wanted.i.valid.eq(free & turn.valid),
            wanted.i.payload.appearance.eq(turn.grant),
            wanted.i.payload.to.eq(chosen.to),
            wanted.i.payload.upper.eq(address[HEADER_BYTES.bit_length() - 1]),
            request.payload.last_beat.eq(0),
        ]
        with m.If(request.ready):
            m.d.sync += request.valid.eq(0)
        with m.If(free & turn.valid):
            m.d.sync += [request.valid.eq(1), request.payload.address.eq(address)]

    def _measure(self, m: Module, here, address: Signal, moves: Value) -> data.View:
        """Return, a step behind what is here of a header, what its payload needs and what there is place for."""
        job, present = here.job, here.present
        checking = Signal(
            data.StructLayout(
                {
                    "job": self._layouts.DecodeJob,
                    "size": 1 + len(job.count),
                    "last_beat": range(PAYLOAD_LIMIT // BEAT + 1),
                    "left": signed(33),
                    "left_in_page": PAGE.bit_length(),
                    "fits_form": 1,
                    "empty": 1,
                }
            )
        )
        size = Signal(1 + len(job.count))
        fits_form = Signal()
        most = Cat(Const(0, COMPONENTS.bit_length() - 1), present)
        skip = address[BEAT.bit_length() - 2]
        with m.Switch(job.form):
            with m.Case(Form.DENSE):
                m.d.comb += [size.eq(job.count), fits_form.eq(job.count == most)]
            with m.Case(Form.BITMAP):
                m.d.comb += [size.eq(job.count + Cat(Const(0, 1), present)), fits_form.eq(1)]
            with m.Case(Form.COORDINATE):
                m.d.comb += [size.eq(Cat(Const(0, 1), job.count)), fits_form.eq(job.count <= COORDINATE_LIMIT)]
        with m.If(moves):
            m.d.sync += [
                checking.job.eq(job),
                checking.job.skip.eq(skip),
                checking.size.eq(size),
                checking.last_beat.eq((size + Mux(skip, BEAT // 2, 0) - 1) >> (BEAT.bit_length() - 1)),
                checking.left.eq(self.scene.payload_bytes - here.start),
                checking.left_in_page.eq(PAGE - address[: PAGE.bit_length() - 1]),
                checking.fits_form.eq(here.whole & fits_form & (present <= job.count) & (job.count <= most)),
                checking.empty.eq(~job.mask.any()),
            ]
        return checking

    def _issue(self, m: Module, valid, checking, address, issue, jobs: Queue, beats: Queue) -> None:
        """Check a header, and issue its job and its payload read when the queues have room."""
        size, last_beat, empty = checking.size, checking.last_beat, checking.empty
        right = Signal()
        m.d.comb += right.eq(checking.fits_form & ((size <= checking.left) & (size <= checking.left_in_page) | empty))

        reserved = Signal(range(self._cfg.payload_queue + 1))
        reading = Signal()
        room = Signal()
        free = Signal()
        request = self.payload.request
        m.d.comb += [
            reading.eq(right & ~empty),
            room.eq(reserved + last_beat < self._cfg.payload_queue),
            free.eq(request.ready | ~request.valid),
            issue.eq(valid & jobs.i.ready & (~reading | (room & free))),
            jobs.i.valid.eq(issue),
            jobs.i.payload.eq(checking.job),
        ]
        with m.If(~right):
            m.d.comb += jobs.i.payload.mask.eq(0)
        with m.If(request.ready):
            m.d.sync += request.valid.eq(0)
        with m.If(issue & reading):
            m.d.sync += [
                request.valid.eq(1),
                request.payload.address.eq(address),
                request.payload.last_beat.eq(last_beat),
            ]
        m.d.sync += self.error_header.eq(issue & ~right)

        wiring.connect(m, beats.o, wiring.flipped(self.o_payload))
        leaving = self.o_payload.valid & self.o_payload.ready
        m.d.sync += reserved.eq(Mux(issue & reading, reserved + last_beat + 1 - leaving, reserved - leaving))
        m.d.comb += [
            beats.i.payload.eq(self.payload.beats.payload),
            beats.i.valid.eq(self.payload.beats.valid),
            self.payload.beats.ready.eq(1),
        ]
