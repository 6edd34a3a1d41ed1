"""A value for each pixel of some tiles: one tile is initialised while others are in use."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.payloads import LookUp


class PixelWrite(wiring.Signature):
    """A user's side of a memory write port: ``data`` goes to ``address`` while ``enable`` is set."""

    def __init__(self, address_bits: int, shape) -> None:
        super().__init__({"address": Out(address_bits), "enable": Out(1), "data": Out(shape)})


class PixelMemory(wiring.Component):
    """Hold a value for each pixel, in a bank for each of the tiles that the top bits of a pixel name.

    ``initialise`` and ``update`` write, never to the same tile in the same cycle.

    Latency: 1 cycle from ``address`` to ``data``, which then stays until the next cycle with ``enable``; ``read`` also
    finds what is updated in the same cycle, a look-up what was there before, where it ``meets_updates``.
    Throughput: an initialisation, an update, a read and all look-ups a cycle.

    Parameters
    ----------
    pixel_bits : int
        Bits of a pixel index.
    shape : ShapeLike
    look_ups : int
    place_bits : int
        Top bits of a pixel index.
    meets_updates : bool
        Whether pixels are looked up that are written in the same cycle. A macro promises nothing for such a row, so
        look-ups have a copy of their own, which is written a cycle later.

    Members
    -------
    initialise, update : In(PixelWrite)
    read : In(LookUp)
    look_ups : array of In(LookUp)
    """

    def __init__(
        self, pixel_bits: int, shape, look_ups: int = 1, place_bits: int = 1, *, meets_updates: bool = False
    ) -> None:
        self._tile_bits, self._place_bits, self._shape = pixel_bits - place_bits, place_bits, shape
        self._meets_updates = meets_updates
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
        for bank in range(1 << self._place_bits):
            write = PixelWrite(self._tile_bits, self._shape).create(path=(f"write_{bank}",))
            initialises = Signal(name=f"initialises_{bank}")
            m.d.comb += [
                initialises.eq(self.initialise.enable & (self._place(self.initialise) == bank)),
                write.enable.eq(initialises | self.update.enable & (self._place(self.update) == bank)),
                write.address.eq(Mux(initialises, self.initialise.address, self.update.address)),
                Value.cast(write.data).eq(
                    Mux(initialises, Value.cast(self.initialise.data), Value.cast(self.update.data))
                ),
            ]
            if self._meets_updates:
                late = PixelWrite(self._tile_bits, self._shape).create(path=(f"late_{bank}",))
                for name in write.signature.members:
                    m.d.sync += Value.cast(getattr(late, name)).eq(Value.cast(getattr(write, name)))
                found = self._memory(m, f"bank_{bank}", write, [self.read])
                found += self._memory(m, f"looked_up_{bank}", late, self.look_ups, transparent=True)
            else:
                found = self._memory(m, f"bank_{bank}", write, readers)
            answers.append(found)
        for number, (user, *ports) in enumerate(zip(readers, *answers, strict=True)):
            place = Signal(self._place_bits, name=f"place_{number}")
            with m.If(user.enable):
                m.d.sync += place.eq(self._place(user))
            m.d.comb += Value.cast(user.data).eq(Array(Value.cast(port.data) for port in ports)[place])
        return m

    def _memory(self, m: Module, name: str, write, readers, *, transparent: bool = False) -> list:
        """Add a memory; return the port of each reader. ``read``, or each, finds what is written in the same cycle."""
        m.submodules[name] = memory = Memory(shape=self._shape, depth=1 << self._tile_bits, init=[])
        port = memory.write_port()
        m.d.comb += [
            port.en.eq(write.enable),
            port.addr.eq(write.address),
            Value.cast(port.data).eq(Value.cast(write.data)),
        ]
        ports = [
            memory.read_port(transparent_for=[port] if transparent or user is self.read else []) for user in readers
        ]
        for read, user in zip(ports, readers, strict=True):
            m.d.comb += [read.addr.eq(user.address), read.en.eq(user.enable)]
        return ports

    def _place(self, user) -> Value:
        return user.address[self._tile_bits :]
