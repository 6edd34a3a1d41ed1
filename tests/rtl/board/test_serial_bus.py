"""The bus over a line of bytes, with the computer's end of it that goes with the Verilog."""

import random
from collections import deque

import pytest

from cosim.unit import play
from nerf.contract.config import AcceleratorConfig
from rtl.board.serial_bus import BEATS, BURSTS, SerialBus
from rtl.verilog.drivers import rtnerf_serial

WATCHDOG = 60_000
SIZE = 1 << 16


class Bench:
    """The bus between a computer with a memory, a master of bursts and registers; chances that each side waits."""

    def __init__(self, seed, chance, reads=(), writes=(), accesses=(), address_width=32):
        self.dut = SerialBus(AcceleratorConfig(address_width=address_width), 10)
        self.random, self.chance = random.Random(seed), chance
        self.memory = bytearray(random.Random(7).randbytes(SIZE))
        self.reads, self.writes = deque(reads), deque(writes)
        self.accesses = list(accesses)
        self.to_board, self.from_board = deque(), deque()
        self.data, self.answered, self.values = [], [], []
        self.registers = {4 * number: random.Random(number).getrandbits(32) for number in range(256)}
        self.most, self.place = 0, 0

    def now(self):
        return self.random.random() < self.chance

    async def computer(self, ctx):
        """Serve what comes whole, ask for registers in between."""
        port = rtnerf_serial.Computer(self._take, self.to_board.extend, self.memory)
        waits = False
        while not self.done:
            if not waits and self.accesses and self.now():
                kind, *access = self.accesses.pop(0)
                if kind == "w":
                    port.write(*access)
                else:
                    self.to_board.extend(rtnerf_serial.REGISTER.pack(rtnerf_serial.READ_REGISTER, *access))
                    waits = True
            if self.from_board and self._whole():
                value = port._serve()
                if value is not None:
                    self.values.append(value)
                    waits = False
            await ctx.tick()

    def _whole(self):
        """Whether all of the first message is there."""
        kind = bytes([self.from_board[0]])
        if kind == rtnerf_serial.WRITE:
            head = 1 + rtnerf_serial.BURST.size
            return len(self.from_board) >= head and len(self.from_board) >= head + 18 * (self.from_board[head - 1] + 1)
        size = {rtnerf_serial.READ: rtnerf_serial.BURST.size}.get(kind, rtnerf_serial.VALUE.size)
        return len(self.from_board) > size

    def _take(self, count):
        return bytes(self.from_board.popleft() for _ in range(min(count, len(self.from_board))))

    @property
    def done(self):
        idle = not (self.reads or self.writes or self.accesses)
        came = (len(self.data), len(self.answered), len(self.values))
        return idle and came == (self.beats, self.bursts, self.asked)

    async def line(self, ctx):
        dut = self.dut
        while not self.done:
            gives, takes = bool(self.to_board) and self.now(), self.now()
            ctx.set(dut.i.valid, gives)
            if gives:
                ctx.set(dut.i.payload, self.to_board[0])
            ctx.set(dut.o.ready, takes)
            _, _, ready, valid, byte = await ctx.tick().sample(dut.i.ready, dut.o.valid, dut.o.payload)
            assert ready, "what comes is always taken"
            if gives:
                self.to_board.popleft()
            if takes and valid:
                self.from_board.append(byte)

    async def master(self, ctx):
        axi = self.dut.axi
        expected, open_beats = deque(), 0
        offers = False
        for _ in range(WATCHDOG):
            if self.done:
                return
            offers = offers or (bool(self.reads) and self.now())
            ctx.set(axi.arvalid, offers)
            if offers:
                identity, address, last = self.reads[0]
                ctx.set(axi.arid, identity)
                ctx.set(axi.araddr, address)
                ctx.set(axi.arlen, last)
            takes = self.now()
            ctx.set(axi.rready, takes)
            _, _, accepted, valid, data, identity, ends = await ctx.tick().sample(
                axi.arready, axi.rvalid, axi.rdata, axi.rid, axi.rlast
            )
            if offers and accepted:
                expected.append(self.reads.popleft())
                open_beats += expected[-1][2] + 1
                self.most = max(self.most, open_beats)
                offers = False
            if takes and valid:
                (wanted, address, last), place = expected[0], len(self.data)
                self.data.append((identity, data))
                begin = address + 16 * self.place
                assert (identity, data) == (wanted, int.from_bytes(self.memory[begin : begin + 16], "little")), place
                assert ends == (self.place == last)
                self.place = 0 if ends else self.place + 1
                open_beats -= 1
                if ends:
                    expected.popleft()
        raise AssertionError("the bus must end")

    async def writer(self, ctx):
        axi = self.dut.axi
        ctx.set(axi.bready, 1)

        async def until(ready, *answer):
            while True:
                _, _, taken, valid, identity = await ctx.tick().sample(ready, axi.bvalid, axi.bid)
                if valid:
                    self.answered.append(identity)
                if taken:
                    return

        while self.writes:
            identity, address, beats = self.writes[0]
            ctx.set(axi.awvalid, 1)
            ctx.set(axi.awid, identity)
            ctx.set(axi.awaddr, address)
            ctx.set(axi.awlen, len(beats) - 1)
            await until(axi.awready)
            ctx.set(axi.awvalid, 0)
            for number, (data, strobes) in enumerate(beats):
                ctx.set(axi.wvalid, 1)
                ctx.set(axi.wdata, data)
                ctx.set(axi.wstrb, strobes)
                ctx.set(axi.wlast, number == len(beats) - 1)
                await until(axi.wready)
            ctx.set(axi.wvalid, 0)
            self.writes.popleft()
        while not self.done:
            _, _, valid, identity = await ctx.tick().sample(axi.bvalid, axi.bid)
            if valid:
                self.answered.append(identity)

    async def host(self, ctx):
        """Registers, of which each access takes some cycles."""
        control = self.dut.control
        while not self.done:
            ctx.set(control.arready, 1)
            ctx.set(control.awready, 1)
            ctx.set(control.wready, 1)
            _, _, reads, address, writes, place, value = await ctx.tick().sample(
                control.arvalid, control.araddr, control.awvalid, control.awaddr, control.wdata
            )
            for ready in (control.arready, control.awready, control.wready):
                ctx.set(ready, 0)
            if writes:
                self.registers[place] = value
            if reads:
                while not self.now():
                    await ctx.tick()
                ctx.set(control.rvalid, 1)
                ctx.set(control.rdata, self.registers[address])
                while True:
                    _, _, taken = await ctx.tick().sample(control.rready)
                    if taken:
                        break
                ctx.set(control.rvalid, 0)

    def run(self):
        self.beats = sum(last + 1 for *_, last in self.reads)
        self.bursts = len(self.writes)
        self.asked = sum(kind == "r" for kind, *_ in self.accesses)
        play(self.dut, self.computer, self.line, self.master, self.writer, self.host)


@pytest.mark.parametrize(("chance", "address_width"), [(1.0, 32), (0.5, 24), (0.2, 64)])
def test_bursts_and_registers_pass(chance, address_width):
    generator = random.Random(3)
    # Reads from the lower half of the memory, writes to the upper.
    lasts = [generator.choice((0, 1, 15, generator.randrange(32))) for _ in range(24)]
    reads = [(number % 6, 16 * generator.randrange(1024), last) for number, last in enumerate(lasts)]
    writes = []
    for number in range(8):
        halves = [generator.choice((0xFFFF, 0xFF00, 0x00FF)) for _ in range(number % 4 + 1)]
        beats = [(generator.getrandbits(128), strobes) for strobes in halves]
        writes.append((number % 3, SIZE // 2 + 1024 * number, beats))
    accesses = [("w", 12, 0x8000_0001), ("r", 12), ("r", 4 * 200), ("w", 12, 7), ("r", 12), *[("r", 16)] * 9]
    bench = Bench(5, chance, reads, writes, accesses, address_width)
    before = bytes(bench.memory)
    other = bench.registers[4 * 200]
    bench.run()
    assert bench.values[:3] == [0x8000_0001, other, 7]
    assert sorted(bench.answered) == sorted(identity for identity, *_ in writes)
    expected = bytearray(before)
    for _, address, beats in writes:
        for number, (data, strobes) in enumerate(beats):
            for place, value in enumerate(data.to_bytes(16, "little")):
                if strobes >> place & 1:
                    expected[address + 16 * number + place] = value
    assert bench.memory == expected


def test_no_more_beats_are_asked_for_than_there_is_room_for():
    bench = Bench(1, 1.0, [(0, 0, 31)] * 2 * BURSTS)
    bench.run()
    assert BEATS // 2 < bench.most <= BEATS


def test_a_byte_that_begins_no_message_is_told():
    dut = SerialBus(AcceleratorConfig(), 10)

    async def testbench(ctx):
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, ord("?"))
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        ctx.set(dut.o.ready, 1)
        told = []
        while len(told) < 5:
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            told += [byte] * valid
        assert told == [*b"E?", 0, 0, 0]

    play(dut, testbench)


@pytest.mark.parametrize(
    ("received", "message"),
    [
        (b"", "must send 1 bytes, not 0"),
        (b"x", "must begin with its kind, not b'x'"),
        (b"A12", "must send 4 bytes, not 2"),
        (b"E?\0\0\0", r"must get whole messages, not b'\?'"),
        (b"R\xf0\xff\0\0\x01", "must end within the memory of 65536 bytes, not at 65552"),
        (b"W\xf0\xff\0\0\x01", "must end within the memory of 65536 bytes, not at 65552"),
    ],
)
def test_a_computer_refuses_what_is_no_message(received, message):
    waiting = deque(received)

    def take(count):
        return bytes(waiting.popleft() for _ in range(min(count, len(waiting))))

    computer = rtnerf_serial.Computer(take, lambda data: None, bytearray(SIZE))
    with pytest.raises(RuntimeError, match=message):
        computer.read(0)
