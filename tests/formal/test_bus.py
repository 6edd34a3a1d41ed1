"""The AXI masters keep the rule of every channel that they drive: what is offered stays until it is taken."""

from amaranth.hdl import Cat, Signal

from nerf.contract.config import PRESETS
from rtl.read_master import ReadMaster
from rtl.write_master import WriteMaster
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
    accepted = Cat(port.request.valid & port.request.ready for port in ports)
    before, taken, wanted = Signal(unit.clients), Signal(), Signal.like(axi.araddr)
    bench.m.d.sync += [before.eq(accepted), taken.eq(accepted.any())]
    for index, port in enumerate(ports):
        with bench.m.If(accepted[index]):
            bench.m.d.sync += wanted.eq(port.request.payload.address)
    bench.claim("one request at a time", (accepted & (accepted - 1)[: unit.clients]) == 0)
    bench.claim("an accepted request is on the bus", ~taken | (axi.arvalid & before.bit_select(axi.arid, 1)))
    beat_bits = (unit.cfg.data_width // 8).bit_length() - 1
    bench.claim("its address is a beat's", axi.araddr[:beat_bits] == 0)
    bench.claim("its address is the client's", ~taken | (axi.araddr[beat_bits:] == wanted[beat_bits:]))
    bench.claim("nothing is accepted after an abort", ~unit.abort | (accepted == 0))
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
    assert fault.trace[1]["abort"] == 1


def test_write_master():
    bench = Bench()
    unit = bench.add("master", WriteMaster(PRESETS["tiny"]))
    axi = unit.axi
    address = (axi.awid, axi.awaddr, axi.awlen, axi.awsize, axi.awburst)
    bench.claim("AW keeps the rule", bench.held(axi.awvalid, axi.awready, *address))
    bench.claim("W keeps the rule", bench.held(axi.wvalid, axi.wready, axi.wdata, axi.wstrb, axi.wlast))
    bench.goal("AW waits", axi.awvalid & ~axi.awready & ~axi.wvalid)
    bench.goal("W waits", axi.wvalid & ~axi.wready & ~axi.awvalid)
    assert bench.prove() is None
    assert bench.unreached() == []
