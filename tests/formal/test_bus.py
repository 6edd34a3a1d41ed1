"""The AXI masters keep the rule of every channel that they drive: what is offered stays until it is taken."""

import pytest
from amaranth.hdl import Cat, Mux, Signal

from nerf.contract.config import PRESETS
from rtl.memory.read_master import ReadMaster
from rtl.memory.write_master import BURST, WriteMaster
from tests.formal.prove import Bench

CLIENTS = 5


def read_bench(unit: ReadMaster) -> Bench:
    """Clients keep the stream rule or not, memory and ``abort`` do what they like."""
    bench = Bench()
    axi = bench.add("master", unit).axi
    address = (axi.arid, axi.araddr, axi.arlen, axi.arsize, axi.arburst)
    bench.claim("AR keeps the rule", bench.held(axi.arvalid, axi.arready, *address))
    bench.goal("AR waits", axi.arvalid & ~axi.arready & unit.abort)

    ports = [getattr(unit, f"client_{index}") for index in range(unit.clients)]
    # What waits for the bus by what a client sees: a request is new there when the one before is gone.
    gone, begins, waits, wanted = Signal(init=1), Signal(), Signal(unit.clients), Signal.like(axi.araddr)
    bench.m.d.sync += gone.eq(~axi.arvalid | axi.arready)
    bench.m.d.comb += begins.eq(axi.arvalid & gone)
    for index, port in enumerate(ports):
        address = Signal.like(axi.araddr, name=f"wanted_{index}")
        with bench.m.If((axi.arid == index) & begins):
            bench.m.d.sync += waits[index].eq(0)
        with bench.m.If(port.request.valid & port.request.ready):
            bench.m.d.sync += [waits[index].eq(1), address.eq(port.request.payload.address)]
        with bench.m.If(unit.abort):
            bench.m.d.sync += waits[index].eq(0)
        with bench.m.If(axi.arid == index):
            bench.m.d.comb += wanted.eq(address)
    bench.claim("what is on the bus has been accepted", ~begins | waits.bit_select(axi.arid, 1))
    bench.claim("nothing is idle while a request waits", ~unit.idle | (waits == 0))
    beat_bits = (unit.cfg.data_width // 8).bit_length() - 1
    bench.claim("its address is a beat's", axi.araddr[:beat_bits] == 0)
    bench.claim("its address is the client's", ~begins | (axi.araddr[beat_bits:] == wanted[beat_bits:]))
    bench.claim("one client sees a beat", sum(port.beats.valid for port in ports) <= 1)
    bench.claim("an abort takes all", ~unit.abort | (axi.rid >= unit.clients) | axi.rready)
    return bench


def test_read_master():
    bench = read_bench(ReadMaster(PRESETS["tiny"], CLIENTS))
    assert bench.prove() is None
    assert bench.unreached() == []


class HastyMaster(ReadMaster):
    """A read master with a fault: an abort withdraws the request that waits on the bus."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.abort):
            m.d.sync += self.axi.arvalid.eq(0)
        return m


def test_a_withdrawn_request_is_found():
    fault = read_bench(HastyMaster(PRESETS["tiny"], 2)).prove()
    assert fault.claim == "AR keeps the rule"
    assert fault.trace[2]["abort"] == 1


def write_bench(unit: WriteMaster) -> Bench:
    """Pixels and beats come as they like; the memory answers what it owes. What holds the bursts is claimed too."""
    bench = Bench()
    inside, axi = bench.add_open("master", unit), unit.axi
    address = (axi.awid, axi.awaddr, axi.awlen, axi.awsize, axi.awburst)
    bench.claim("AW keeps the rule", bench.held(axi.awvalid, axi.awready, *address))
    bench.claim("W keeps the rule", bench.held(axi.wvalid, axi.wready, axi.wdata, axi.wstrb, axi.wlast))
    bench.goal("AW waits", axi.awvalid & ~axi.awready & ~axi.wvalid)
    bench.goal("W waits", axi.wvalid & ~axi.wready & ~axi.awvalid)

    # Beats of the burst so far, the number of its last, and how many bursts were addressed, written and answered.
    count, length = Signal(8), Signal(8)
    addressed, written, answered = (Signal(4, name=name) for name in ("addressed", "bursts_written", "answered"))
    ends = axi.wvalid & axi.wready & axi.wlast
    last_beat = Mux(axi.awvalid, axi.awlen, length)
    with bench.m.If(axi.wvalid & axi.wready):
        bench.m.d.sync += count.eq(Mux(axi.wlast, 0, count + 1))
    bench.m.d.sync += [
        length.eq(last_beat),
        addressed.eq(addressed + (axi.awvalid & axi.awready)),
        written.eq(written + ends),
        answered.eq(answered + axi.bvalid),
    ]
    bench.assume(~axi.bvalid | ((addressed != answered) & (written != answered)))
    begun = (addressed + axi.awvalid)[:4]
    bench.claim("the last beat is marked and no other", ~axi.wvalid | (axi.wlast == (count == last_beat)))
    bench.claim("a burst goes on until its last beat", (count == 0) | axi.wvalid)
    bench.claim("every burst has an address and beats", begun == (written + axi.wvalid)[:4])
    bits = (unit.cfg.data_width // 8).bit_length() - 1
    bench.claim("a burst stays in its block", axi.awaddr[bits:][:4] + axi.awlen < BURST)
    bench.claim("its address is a beat's", axi.awaddr[:bits] == 0)
    bench.claim(
        "a half or all of a beat is enabled",
        ~axi.wvalid | Cat(axi.wstrb == some for some in (0xFF, 0xFF00, 0xFFFF)).any(),
    )
    quiet = ~axi.awvalid & ~axi.wvalid & (begun == answered)
    bench.claim("idle: nothing is collected, offered or owed", ~unit.idle | (quiet & ~inside["collecting"]))
    bench.goal("a whole block", axi.awvalid & (axi.awlen == BURST - 1))
    bench.goal("both ends are halves", axi.wlast & (axi.wstrb == 0xFF) & (count == 1))

    # Both places of bursts: the first and the last half of a beat, by number in their block.
    beat, collecting, address_bits = inside["beat"], inside["collecting"], len(axi.awaddr)
    places = [inside["bursts"].word_select(place, address_bits + bits + 1) for place in range(2)]
    halves = [(place[bits - 1 :][:5], place[address_bits:]) for place in places]
    bench.claim("what is outstanding is counted", inside["outstanding"] == (begun - answered)[:4])
    bench.claim("what is offered is outstanding", (inside["outstanding"] != 0) | ~(axi.awvalid | axi.wvalid))
    held = (inside["collected"] - inside["written"])[:2]
    next_place = inside["place"][bits - 1 :][:5]
    bench.claim("a row rests or is collected", ~(inside["rests"] & inside["collects"]))
    bench.claim("pixels are collected in a row", ~collecting | inside["collects"])
    bench.claim("two bursts are held at most", held + collecting <= 2)
    bench.claim("what is written is held", ~axi.wvalid | (held != 0))
    for place, (first, last) in enumerate(halves):
        next_written, next_collected = (inside[name][0] == place for name in ("written", "collected"))
        writing = axi.wvalid & next_written
        in_use = (held == 2) | ((held == 1) & next_written) | (collecting & next_collected)
        bench.claim(f"burst {place} ends behind its begin", ~in_use | (first <= last))
        follows = next_place == (last + 1)[:5]
        bench.claim(f"a pixel of burst {place} follows the one before", ~(collecting & next_collected) | follows)
        bench.claim(f"burst {place} is whole with its block", ~(collecting & next_collected) | ~last.all())
        bench.claim(
            f"beats of burst {place}", ~writing | ((first[1:] + count == beat) & (first[1:] + last_beat == last[1:]))
        )
        bench.claim(f"beats of burst {place} are left", ~writing | (beat <= last[1:]))
    return bench


def test_write_master():
    bench = write_bench(WriteMaster(PRESETS["tiny"]))
    assert bench.prove(induction=True) is None
    assert bench.unreached() == []


class OneBeatMaster(WriteMaster):
    """A write master with a fault: every beat is marked as the last of its burst."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.axi.wlast.eq(1)
        return m


@pytest.mark.full
def test_a_burst_that_ends_early_is_found():
    fault = write_bench(OneBeatMaster(PRESETS["tiny"])).prove(induction=True, cycles=6)
    assert fault.claim == "the last beat is marked and no other"
