"""The AXI4-Lite register file that the host programs: see `nerf.contract.registers`."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
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
    ignore writes; byte strobes are ignored: registers are written whole.

    Latency: 1 cycle from address (and data) to answer. Throughput: one access in 2 cycles.

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
        bus = self.control
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

        write = Signal()
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
                    m.d.sync += [done.eq(0), error.eq(0), code.eq(0)]
                with m.Case(REGISTERS["interrupt_enable"]):
                    m.d.sync += enable.eq(bus.wdata)
                for name, target in writable.items():
                    with m.Case(REGISTERS[name]), m.If(~self.busy):
                        m.d.sync += target.eq(bus.wdata)
        with m.If(self.start):
            m.d.sync += [done.eq(0), error.eq(0), code.eq(0)]
        with m.If(self.finished):
            m.d.sync += [done.eq(1), error.eq(self.code != 0), code.eq(self.code)]

        readable = {
            "status": self.busy | done << 1 | error << 2 | code << STATUS_CODE_SHIFT,
            "interrupt_enable": enable,
            "identity": IDENTITY,
            "config_digest": self.cfg.digest_word,
            **writable,
            **{name: getattr(self, f"counter_{name}") for name in COUNTERS},
        }
        read = bus.arvalid & (~bus.rvalid | bus.rready)
        m.d.comb += bus.arready.eq(read)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(read):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0)]
            with m.Switch(bus.araddr):
                for name, value in readable.items():
                    with m.Case(REGISTERS[name]):
                        m.d.sync += bus.rdata.eq(value)
        return m
