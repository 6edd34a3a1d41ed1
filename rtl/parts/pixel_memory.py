"""A value for each pixel of two tiles: one tile is initialised while the other is in use."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.payloads import LookUp


class PixelWrite(wiring.Signature):
    """A user's side of a memory write port: ``data`` goes to ``address`` while ``enable`` is set."""

    def __init__(self, address_bits: int, shape) -> None:
        super().__init__({"address": Out(address_bits), "enable": Out(1), "data": Out(shape)})


class PixelMemory(wiring.Component):
    """Hold a value for each pixel, in a bank for each of the two tiles that the top bit of a pixel names.

    ``initialise`` and ``update`` write, never to the same tile in the same cycle.

    Latency: 1 cycle from ``address`` to ``data``, which then stays until the next cycle with ``enable``; ``read`` also
    finds what is updated in the same cycle, a look-up what was there before.
    Throughput: an initialisation, an update, a read and all look-ups a cycle.

    Parameters
    ----------
    pixel_bits : int
        Bits of a pixel index.
    shape : ShapeLike
    look_ups : int

    Members
    -------
    initialise, update : In(PixelWrite)
    read : In(LookUp)
    look_ups : array of In(LookUp)
    """

    def __init__(self, pixel_bits: int, shape, look_ups: int = 1) -> None:
        self._pixels_of_tile, self._shape = 1 << pixel_bits - 1, shape
        super().__init__(
            {
                "initialise": In(PixelWrite(pixel_bits, shape)),
                "update": In(PixelWrite(pixel_bits, shape)),
                "read": In(LookUp(pixel_bits, shape)),
                "look_ups": In(LookUp(pixel_bits, shape)).array(look_ups),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return the banks, and what chooses among their answers."""
        m = Module()
        readers = [self.read, *self.look_ups]
        answers = []
        for bank in range(2):
            m.submodules[f"bank_{bank}"] = memory = Memory(shape=self._shape, depth=self._pixels_of_tile, init=[])
            write = memory.write_port()
            initialises = Signal(name=f"initialises_{bank}")
            m.d.comb += [
                initialises.eq(self.initialise.enable & (self.initialise.address[-1] == bank)),
                write.en.eq(initialises | self.update.enable & (self.update.address[-1] == bank)),
                write.addr.eq(Mux(initialises, self.initialise.address, self.update.address)),
                Value.cast(write.data).eq(
                    Mux(initialises, Value.cast(self.initialise.data), Value.cast(self.update.data))
                ),
            ]
            ports = [memory.read_port(transparent_for=[write] if user is self.read else []) for user in readers]
            for port, user in zip(ports, readers, strict=True):
                m.d.comb += [port.addr.eq(user.address), port.en.eq(user.enable)]
            answers.append(ports)
        for number, (user, first, second) in enumerate(zip(readers, *answers, strict=True)):
            in_second = Signal(name=f"in_second_{number}")
            with m.If(user.enable):
                m.d.sync += in_second.eq(user.address[-1])
            m.d.comb += Value.cast(user.data).eq(Mux(in_second, Value.cast(second.data), Value.cast(first.data)))
        return m
