"""The accelerator with a serial line: what goes on a board, but for its clock."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from nerf.contract.config import AcceleratorConfig
from rtl.accelerator import Accelerator
from rtl.board.serial_bus import SerialBus
from rtl.board.uart import Receiver, Transmitter
from rtl.control.control_registers import ADDRESS_BITS


class SerialAccelerator(wiring.Component):
    """Render what a computer asks for; scene, lists of cubes and picture are in its memory (`rtl.board.serial_bus`).

    Parameters
    ----------
    cfg : AcceleratorConfig
    divisor : int
        Cycles of a bit on the line, at least 4.

    Members
    -------
    from_computer : In(1)
    to_computer : Out(1)
    busy : Out(1)
        The line to the computer is at work.
    """

    def __init__(self, cfg: AcceleratorConfig, divisor: int) -> None:
        self._cfg, self._divisor = cfg, divisor
        super().__init__({"from_computer": In(1, init=1), "to_computer": Out(1), "busy": Out(1)})

    def elaborate(self, platform) -> Module:
        """Return accelerator, bus and line."""
        m = Module()
        m.submodules.accelerator = accelerator = Accelerator(self._cfg)
        m.submodules.bus = bus = SerialBus(self._cfg, ADDRESS_BITS)
        m.submodules.receiver = receiver = Receiver(self._divisor)
        m.submodules.transmitter = transmitter = Transmitter(self._divisor)
        connect(m, accelerator.axi, bus.axi)
        connect(m, bus.control, accelerator.control)
        connect(m, receiver.o, bus.i)
        connect(m, bus.o, transmitter.i)
        m.d.comb += [
            receiver.line.eq(self.from_computer),
            self.to_computer.eq(transmitter.line),
            self.busy.eq(bus.o.valid),
        ]
        return m
