"""The AXI4-Lite register file that the host programs: see `nerf.contract.registers`."""

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import (
    AXES,
    CAMERA_TABLE,
    CONTROL_ABORT,
    CONTROL_START,
    COUNTERS,
    IDENTITY,
    REGISTERS,
    STATUS_CODE_SHIFT,
)
from rtl.memory.axi import Axi4Lite
from rtl.payloads import ViewRegisters

ADDRESS_BITS = 10


def view_fields(view: data.View) -> dict[str, Value]:
    """Return the fields of a `ViewRegisters` view, by the names of the registers that set them."""
    fields: dict[str, Value] = {}
    for register in CAMERA_TABLE:
        parts = [view[register.name][axis] for axis in AXES] if register.vector else [view[register.name]]
        fields |= zip(register.names, parts, strict=True)
    return fields


class ControlRegisters(wiring.Component):
    """Answer the host.

    Camera and address registers take writes only while the accelerator is not busy, so they are stable in a frame.
    Writing the status register clears done, error and with them the interrupt. Unknown addresses read 0 and
    ignore writes; byte strobes are ignored: registers are written whole. What is read of a register that is written is
    what was written last, since reset, bits above its format included: all of them together are a memory beside the
    registers, for which a multiplexer of so many words would take more room than the registers.

    Latency: 1 cycle from address (and data) to answer. Throughput: one access in 2 cycles; a register is read after it
    is written.

    Members
    -------
    control : In(Axi4Lite)
    busy : In(1)
    finished : In(1)
        Strobe at the end of a frame.
    code : In(8)
        `ErrorCode` that goes with ``finished``.
    counters : In
        One 32-bit value for each of `COUNTERS`, ``counter_NAME``.
    start, abort : Out(1)
        Strobes.
    interrupt : Out(1)
        Level: done and enabled.
    view : Out(ViewRegisters)
    scene_base, frame_base, list_base : Out
    """

    def __init__(self, cfg: AcceleratorConfig) -> None:
        self.cfg = cfg
        super().__init__(
            {
                "control": In(Axi4Lite(ADDRESS_BITS)),
                "busy": In(1),
                "finished": In(1),
                "code": In(8),
                "start": Out(1),
                "abort": Out(1),
                "interrupt": Out(1),
                "view": Out(ViewRegisters),
                "scene_base": Out(cfg.address_width),
                "frame_base": Out(cfg.address_width),
                "list_base": Out(cfg.address_width),
            }
            | {f"counter_{name}": In(32) for name in COUNTERS}
        )

    def elaborate(self, platform) -> Module:
        """Return the register file and its bus side."""
        m = Module()
        done = Signal()
        error = Signal()
        enable = Signal()
        code = Signal(8)
        bases = {name: Signal(64, name=name) for name in ("scene", "frame", "list")}
        m.d.comb += [
            self.scene_base.eq(bases["scene"]),
            self.frame_base.eq(bases["frame"]),
            self.list_base.eq(bases["list"]),
            self.interrupt.eq(done & enable),
        ]
        writable = {f"{base}_{half}": word for base, value in bases.items()
                    for half, word in (("low", value[:32]), ("high", value[32:]))}  # fmt: skip
        writable |= view_fields(self.view)
        taken, cleared = self._write(m, writable, enable)
        with m.If(self.start | cleared):
            m.d.sync += [done.eq(0), error.eq(0), code.eq(0)]
        with m.If(self.finished):
            m.d.sync += [done.eq(1), error.eq(self.code != 0), code.eq(self.code)]
        readable = {
            "status": self.busy | done << 1 | error << 2 | code << STATUS_CODE_SHIFT,
            "interrupt_enable": enable,
            "identity": IDENTITY,
            "config_digest": self.cfg.digest_word,
            **{name: getattr(self, f"counter_{name}") for name in COUNTERS},
        }
        self._read(m, readable, writable, taken)
        return m

    def _write(self, m: Module, writable: Mapping[str, Value], enable: Signal) -> tuple[Signal, Signal]:
        """Take what the host writes; return strobes: it goes to a register of a frame, and to the status."""
        bus = self.control
        write = Signal()
        taken = Signal()
        cleared = Signal()
        m.d.comb += [
            write.eq(bus.awvalid & bus.wvalid & (~bus.bvalid | bus.bready)),
            bus.awready.eq(write),
            bus.wready.eq(write),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += bus.bvalid.eq(1)
            with m.Switch(bus.awaddr):
                with m.Case(REGISTERS["control"]):
                    m.d.comb += [
                        self.start.eq((bus.wdata & CONTROL_START).any() & ~self.busy),
                        self.abort.eq((bus.wdata & CONTROL_ABORT).any() & self.busy),
                    ]
                with m.Case(REGISTERS["status"]):
                    m.d.comb += cleared.eq(1)
                with m.Case(REGISTERS["interrupt_enable"]):
                    m.d.sync += enable.eq(bus.wdata)
                for name, target in writable.items():
                    with m.Case(REGISTERS[name]), m.If(~self.busy):
                        m.d.comb += taken.eq(1)
                        m.d.sync += target.eq(bus.wdata)
        return taken, cleared

    def _read(self, m: Module, readable: Mapping[str, Any], writable: Iterable[str], taken: Signal) -> None:
        """Answer the host: with a value, or from the memory of what was written."""
        bus = self.control
        m.submodules.written = memory = Memory(shape=32, depth=1 + max(map(_row, writable)), init=[])
        put, get = memory.write_port(), memory.read_port()
        known, of_memory = Signal(memory.depth), Signal()
        value = Signal(32)
        read = bus.arvalid & (~bus.rvalid | bus.rready) & ~(taken & (bus.araddr == bus.awaddr))
        m.d.comb += [
            put.addr.eq(bus.awaddr[2:]),
            put.data.eq(bus.wdata),
            put.en.eq(taken),
            get.addr.eq(bus.araddr[2:]),
            get.en.eq(read),
            bus.arready.eq(read),
            bus.rdata.eq(Mux(of_memory, get.data, value)),
        ]
        with m.If(taken):
            m.d.sync += known.bit_select(put.addr, 1).eq(1)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(read):
            m.d.sync += [bus.rvalid.eq(1), of_memory.eq(0), value.eq(0)]
            with m.Switch(bus.araddr):
                for name, here in readable.items():
                    with m.Case(REGISTERS[name]):
                        m.d.sync += value.eq(here)
                for name in writable:
                    with m.Case(REGISTERS[name]):
                        m.d.sync += of_memory.eq(known[_row(name)])


def _row(name: str) -> int:
    """Return where a register is in the memory of what was written."""
    return REGISTERS[name] // 4
