"""A computer at the end of a serial line, as the memory and the host of the accelerator.

Messages begin with the byte of their kind; numbers are little-endian.

| kind | from | then |
| --- | --- | --- |
| ``R`` | accelerator | address (4 bytes), beats less one (1): a burst is read |
| ``D`` | computer | the next beat of the bursts that are read, in their order (16) |
| ``W`` | accelerator | address, beats less one; for each beat 16 bytes and a bit for each (2): a burst is written |
| ``r`` | computer | address (2): a register is read |
| ``A`` | accelerator | value (4): the answer |
| ``w`` | computer | address (2), value (4): a register is written |
| ``E`` | accelerator | a byte that begins no message: what was received is damaged |
"""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from rtl.memory.axi import ID_BITS, Axi4, Axi4Lite
from rtl.parts.queue import Queue

BURSTS = 16
"""Reads that wait for their data at a time."""
BEATS = 64
"""Beats of them in all: what the computer sends is never more than there is room for."""
ADDRESS_BYTES, BEAT_BYTES, STROBE_BYTES, REGISTER_BYTES, VALUE_BYTES = 4, 16, 2, 2, 4
READ, READ_DATA, WRITE, READ_REGISTER, ANSWER, WRITE_REGISTER, ERROR = b"RDWrAwE"


class SerialBus(wiring.Component):
    """The accelerator's two ports over a line of bytes.

    Bursts are read in order, up to `BURSTS` of them, and written one at a time, answered when they are sent. Of the
    accelerator a burst may have at most `BEATS` beats.

    Parameters
    ----------
    cfg : AcceleratorConfig
        Of its addresses the lower 32 bits count: the computer has no more memory than that.
    register_bits : int
        Width of a register's address.

    Members
    -------
    i, o : In(stream), Out(stream)
        Bytes from and to the computer; those that come are always taken at once.
    axi : In(Axi4)
    control : Out(Axi4Lite)
    """

    def __init__(self, cfg: AcceleratorConfig, register_bits: int) -> None:
        self._data_width = cfg.data_width
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "axi": In(Axi4(cfg.address_width, cfg.data_width)),
                "control": Out(Axi4Lite(register_bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return what takes messages apart, what makes them, and the beats on their way."""
        m = Module()
        axi = self.axi
        m.submodules.bursts = bursts = Queue(data.StructLayout({"id": ID_BITS, "last": 8}), BURSTS)
        m.submodules.beats = beats = Queue(self._data_width, BEATS)
        answer = stream.Signature(data.StructLayout({"kind": 8, "value": 8 * VALUE_BYTES})).create()
        owed = Signal(range(BEATS + 1))
        left = Signal(8)
        m.d.comb += [
            axi.rid.eq(bursts.o.payload.id),
            axi.rdata.eq(beats.o.payload),
            axi.rlast.eq(left == bursts.o.payload.last),
            axi.rvalid.eq(beats.o.valid & bursts.o.valid),
            beats.o.ready.eq(axi.rready & bursts.o.valid),
            bursts.o.ready.eq(beats.o.valid & axi.rready & axi.rlast),
        ]
        taken = axi.rvalid & axi.rready
        with m.If(taken):
            m.d.sync += left.eq(left + 1)
            with m.If(axi.rlast):
                m.d.sync += left.eq(0)
        read = self._send(m, bursts.i, owed, answer)
        m.d.sync += owed.eq(owed + read - taken)
        self._receive(m, beats.i, answer)
        return m

    def _send(self, m: Module, bursts, owed: Signal, answer) -> Value:
        """Make messages, each a few bytes and for a write its beats; return the beats of a read that is sent."""
        axi, longest = self.axi, BEAT_BYTES + STROBE_BYTES
        message, left = Signal(8 * longest), Signal(range(longest + 1))
        writes = Signal()
        answered, answers = Signal(ID_BITS), Signal()
        sent = Signal(range(BEATS + 1))
        may_read = Signal()
        m.d.comb += [
            may_read.eq(bursts.ready & (axi.arlen + 1 <= BEATS - owed)),
            bursts.payload.eq(Cat(axi.arid, axi.arlen)),
            self.o.payload.eq(message[:8]),
            self.o.valid.eq(left != 0),
            axi.bid.eq(answered),
            axi.bvalid.eq(answers),
        ]
        with m.If(axi.bready):
            m.d.sync += answers.eq(0)
        head = 1 + ADDRESS_BYTES + 1

        def burst(kind: int, address: Value, last: Value) -> Value:
            """Return the head of a burst; an address has as many bits as its bytes, whatever the bus has."""
            whole = Cat(address, Const(0, 8 * ADDRESS_BYTES))[: 8 * ADDRESS_BYTES]
            return Cat(Const(kind, 8), whole, last)

        with m.If(left != 0), m.If(self.o.ready):
            m.d.sync += [message.eq(message >> 8), left.eq(left - 1)]
        with m.Elif(writes):
            m.d.comb += axi.wready.eq(~answers)
            with m.If(axi.wvalid & axi.wready):
                m.d.sync += [message.eq(Cat(axi.wdata, axi.wstrb)), left.eq(longest)]
                with m.If(axi.wlast):
                    m.d.sync += [writes.eq(0), answers.eq(1)]
        with m.Elif(answer.valid):
            m.d.comb += answer.ready.eq(1)
            m.d.sync += [message.eq(Cat(answer.payload.kind, answer.payload.value)), left.eq(1 + VALUE_BYTES)]
        with m.Elif(axi.awvalid):
            m.d.comb += axi.awready.eq(1)
            m.d.sync += [
                message.eq(burst(WRITE, axi.awaddr, axi.awlen)),
                left.eq(head),
                answered.eq(axi.awid),
                writes.eq(1),
            ]
        with m.Elif(axi.arvalid & may_read):
            m.d.comb += [axi.arready.eq(1), bursts.valid.eq(1), sent.eq(axi.arlen + 1)]
            m.d.sync += [message.eq(burst(READ, axi.araddr, axi.arlen)), left.eq(head)]
        return sent

    def _receive(self, m: Module, beats, answer) -> None:
        """Take messages apart: beats to the queue, registers one at a time."""
        control, byte = self.control, self.i.payload
        word, left = Signal(8 * BEAT_BYTES), Signal(range(BEAT_BYTES + 1))
        whole = left == 1
        arriving = Cat(word[8:], byte)
        m.d.comb += [
            beats.payload.eq(arriving),
            self.i.ready.eq(1),
            control.araddr.eq(word[-8 * REGISTER_BYTES :]),
            control.awaddr.eq(word[-8 * (REGISTER_BYTES + VALUE_BYTES) :]),
            control.wdata.eq(word[-8 * VALUE_BYTES :]),
            control.wstrb.eq(-1),
            control.bready.eq(1),
        ]
        with m.If(control.arready):
            m.d.sync += control.arvalid.eq(0)
        with m.If(control.awready):
            m.d.sync += control.awvalid.eq(0)
        with m.If(control.wready):
            m.d.sync += control.wvalid.eq(0)
        with m.If(answer.ready):
            m.d.sync += answer.valid.eq(0)
        m.d.comb += control.rready.eq(~answer.valid)
        with m.If(control.rvalid & control.rready):
            m.d.sync += [answer.valid.eq(1), answer.payload.kind.eq(ANSWER), answer.payload.value.eq(control.rdata)]
        with m.If(self.i.valid):
            m.d.sync += [word.eq(arriving), left.eq(left - 1)]
            with m.FSM():
                with m.State("kind"), m.Switch(byte):
                    with m.Case(READ_DATA):
                        m.d.sync += left.eq(BEAT_BYTES)
                        m.next = "beat"
                    with m.Case(READ_REGISTER):
                        m.d.sync += left.eq(REGISTER_BYTES)
                        m.next = "read"
                    with m.Case(WRITE_REGISTER):
                        m.d.sync += left.eq(REGISTER_BYTES + VALUE_BYTES)
                        m.next = "write"
                    with m.Default():
                        m.d.sync += [
                            answer.valid.eq(1), answer.payload.kind.eq(ERROR), answer.payload.value.eq(byte),
                        ]  # fmt: skip
                with m.State("beat"):
                    m.d.comb += beats.valid.eq(whole)
                    with m.If(whole):
                        m.next = "kind"
                with m.State("read"), m.If(whole):
                    m.d.sync += control.arvalid.eq(1)
                    m.next = "kind"
                with m.State("write"), m.If(whole):
                    m.d.sync += [control.awvalid.eq(1), control.wvalid.eq(1)]
                    m.next = "kind"
