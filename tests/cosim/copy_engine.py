"""A small AXI4 master under AXI4-Lite control, with the port names of the accelerator.

It reads bursts, writes the inverse of their data elsewhere, counts idle cycles and raises the
interrupt. What it lacks on purpose: errors, several outstanding writes.
"""

from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from cosim.wrapper import Port, Probe

TOP = "copy_engine"
BURST_BEATS = 8
WORD_BYTES = 8
BURST_BYTES = BURST_BEATS * WORD_BYTES
READ_AHEAD = 4

# Register offsets in bytes.
START, SOURCE, TARGET, BURSTS, IDLE, CYCLES = range(0, 24, 4)

PROBE = Probe("read", "axi__rvalid_probe", "axi__rready", ("beat_probe",))


def axi4(address, data, identifier):
    return wiring.Signature(
        {
            **{f"a{c}id": Out(identifier) for c in "rw"},
            **{f"a{c}addr": Out(address) for c in "rw"},
            **{f"a{c}len": Out(8) for c in "rw"},
            **{f"a{c}size": Out(3) for c in "rw"},
            **{f"a{c}burst": Out(2) for c in "rw"},
            **{f"a{c}valid": Out(1) for c in "rw"},
            **{f"a{c}ready": In(1) for c in "rw"},
            "rid": In(identifier), "rdata": In(data), "rresp": In(2), "rlast": In(1),
            "rvalid": In(1), "rready": Out(1),
            "wdata": Out(data), "wstrb": Out(data // 8), "wlast": Out(1),
            "wvalid": Out(1), "wready": In(1),
            "bid": In(identifier), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        }
    )  # fmt: skip


def axi4_lite(address):
    return wiring.Signature(
        {
            **{f"a{c}addr": Out(address) for c in "rw"},
            **{f"a{c}prot": Out(3) for c in "rw"},
            **{f"a{c}valid": Out(1) for c in "rw"},
            **{f"a{c}ready": In(1) for c in "rw"},
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        }
    )  # fmt: skip


class CopyEngine(wiring.Component):
    axi: Out(axi4(32, 8 * WORD_BYTES, 1))
    control: In(axi4_lite(8))
    interrupt: Out(1)
    axi__rvalid_probe: Out(1)
    beat_probe: Out(4)

    def elaborate(self, platform):
        m = Module()
        axi, control = self.axi, self.control
        start, done = Signal(), Signal()
        source, target, bursts, idle, cycles = (
            Signal(32, name=name) for name in ("source", "target", "bursts", "idle", "cycles")
        )
        registers = {SOURCE: source, TARGET: target, BURSTS: bursts, IDLE: idle, CYCLES: cycles}

        # ---- Registers ----
        m.d.sync += start.eq(0)
        m.d.comb += [
            control.awready.eq(control.awvalid & control.wvalid & ~control.bvalid),
            control.wready.eq(control.awready),
            control.arready.eq(control.arvalid & ~control.rvalid),
            self.interrupt.eq(done),
        ]
        with m.If(control.bvalid & control.bready):
            m.d.sync += control.bvalid.eq(0)
        with m.If(control.rvalid & control.rready):
            m.d.sync += control.rvalid.eq(0)
        with m.If(control.awready):
            m.d.sync += control.bvalid.eq(1)
            with m.Switch(control.awaddr):
                with m.Case(START):
                    m.d.sync += start.eq(control.wdata[0])
                for offset, register in registers.items():
                    with m.Case(offset):
                        m.d.sync += register.eq(control.wdata)
        with m.If(control.arready):
            m.d.sync += control.rvalid.eq(1)
            with m.Switch(control.araddr):
                for offset, register in registers.items():
                    with m.Case(offset):
                        m.d.sync += control.rdata.eq(register)

        # ---- Copying ----
        m.submodules.buffer = buffer = Memory(shape=8 * WORD_BYTES, depth=BURST_BEATS, init=[])
        write, read = buffer.write_port(), buffer.read_port(domain="comb")
        beat = Signal(range(BURST_BEATS))
        asked, taken = Signal(32), Signal(32)
        m.d.comb += [
            axi.arlen.eq(BURST_BEATS - 1), axi.awlen.eq(BURST_BEATS - 1),
            axi.arsize.eq(3), axi.awsize.eq(3), axi.arburst.eq(1), axi.awburst.eq(1),
            axi.araddr.eq(source), axi.awaddr.eq(target),
            axi.wstrb.eq(~0), axi.wdata.eq(~read.data), axi.wlast.eq(beat == BURST_BEATS - 1),
            write.addr.eq(beat), write.data.eq(axi.rdata), write.en.eq(axi.rvalid & axi.rready),
            read.addr.eq(beat),
            self.axi__rvalid_probe.eq(axi.rvalid), self.beat_probe.eq(beat),
        ]  # fmt: skip
        with m.If(~done):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [source.eq(source + BURST_BYTES), asked.eq(asked + 1)]
        with m.FSM() as fsm:
            m.d.comb += axi.arvalid.eq((asked != bursts) & (asked - taken < READ_AHEAD) & ~fsm.ongoing("WAIT"))
            with m.State("WAIT"), m.If(start):
                m.d.sync += [done.eq(0), cycles.eq(0), asked.eq(0), taken.eq(0)]
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += axi.rready.eq(1)
                with m.If(axi.rvalid):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(axi.rlast):
                        m.d.sync += [beat.eq(0), taken.eq(taken + 1)]
                        m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.comb += axi.awvalid.eq(1)
                with m.If(axi.awready):
                    m.d.sync += target.eq(target + BURST_BYTES)
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += axi.wvalid.eq(1)
                with m.If(axi.wready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(axi.wlast):
                        m.d.sync += beat.eq(0)
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += axi.bready.eq(1)
                with m.If(axi.bvalid):
                    m.next = "READ"
                    with m.If(taken == bursts):
                        m.next = "IDLE"
            with m.State("IDLE"):
                m.d.sync += idle.eq(idle - 1)
                with m.If(idle == 0):
                    m.d.sync += done.eq(1)
                    m.next = "WAIT"
        return m


def generate():
    """Verilog text and ports."""
    engine = CopyEngine()
    text = verilog.convert(engine, name=TOP, emit_src=False)
    ports = [Port("clk", "input", 1), Port("rst", "input", 1)]
    for path, member, value in engine.signature.flatten(engine):
        direction = "output" if member.flow is Out else "input"
        ports.append(Port("__".join(map(str, path)), direction, len(value)))
    return text, tuple(ports)
