"""The cube buffer: decoded factors around a cube, read as the corners that one interpolation needs."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nerf.contract.scene_image import PAIRS
from rtl.payloads import FactorVector, VectorWrite


class CubeBuffer(wiring.Component):
    """Hold, per pair and component group, a window of 4 x 4 plane tiles and 4 line blocks that wraps around.

    A plane has 16 x 16 vertices, addressed by the low 4 bits of their coordinates, a line 64. Neighbouring vertices lie
    in different memories (by the parity of their coordinates), so that a read never conflicts.

    A write is seen by reads from the next cycle on. A read returns what it asked for until the next ``read_enable``.

    Latency: 1 cycle from ``read_enable`` to ``corners`` and ``ends``.
    Throughput: 1 write and 1 read (4 plane and 2 line vectors) a cycle.

    Parameters
    ----------
    groups : int
        Component groups: 1 for density, 3 for appearance.

    Members
    -------
    i : In(stream)
        `VectorWrite`, always ready.
    read_enable : In(1)
    pair : In(2)
        0 to 2.
    group : In(2)
        Below ``groups``.
    first, second : In(4)
        Plane vertex along the plane's axes, modulo 16.
    along : In(6)
        Line vertex, modulo 64.
    corners : Out(array of 4 `FactorVector`)
        Plane vectors at (first, second), (first + 1, second), (first, second + 1), (first + 1, second + 1).
    ends : Out(array of 2 `FactorVector`)
        Line vectors at along, along + 1.
    """

    LATENCY = 1

    def __init__(self, groups: int) -> None:
        if not 1 <= groups <= 3:
            raise ValueError(f"groups must be from 1 to 3, not {groups}")
        self._groups = groups
        super().__init__(
            {
                "i": In(stream.Signature(VectorWrite, always_ready=True)),
                "read_enable": In(1),
                "pair": In(2),
                "group": In(2),
                "first": In(4),
                "second": In(4),
                "along": In(6),
                "corners": Out(data.ArrayLayout(FactorVector, 4)),
                "ends": Out(data.ArrayLayout(FactorVector, 2)),
            }
        )

    def _factor(self, pair, group):
        """Return the number of a pair's component group."""
        return pair * self._groups + group if self._groups > 1 else pair

    def elaborate(self, platform) -> Module:
        """Return four plane memories and two line memories, with their address and data crossings."""
        m = Module()
        write, to = self.i.payload, self.i.payload.to
        factors = len(PAIRS) * self._groups
        write_factor = Signal(range(factors))
        read_factor = Signal(range(factors))
        m.d.comb += [
            write_factor.eq(self._factor(to.pair, to.group)),
            read_factor.eq(self._factor(self.pair, self.group)),
        ]
        odd_first = Signal()
        odd_second = Signal()
        odd_along = Signal()
        with m.If(self.read_enable):
            m.d.sync += [odd_first.eq(self.first[0]), odd_second.eq(self.second[0]), odd_along.eq(self.along[0])]

        planes = {}
        for bank_first in range(2):
            for bank_second in range(2):
                memory = Memory(shape=FactorVector, depth=factors * 64, init=[])
                m.submodules[f"plane_{bank_first}{bank_second}"] = memory
                read, port = memory.read_port(), memory.write_port()
                planes[bank_first, bank_second] = read.data
                row = Cat(write.position[1], to.slot[:2], write.position[3], to.slot[2:])
                here = (write.position[0] == bank_first) & (write.position[2] == bank_second)
                m.d.comb += [
                    port.addr.eq(Cat(row, write_factor)),
                    port.data.eq(write.values),
                    port.en.eq(self.i.valid & ~to.line & here),
                    read.en.eq(self.read_enable),
                    read.addr.eq(Cat(_half(self.first, bank_first), _half(self.second, bank_second), read_factor)),
                ]
        for corner in range(4):
            # The corner's parity is that of the first vertex, turned over one step further.
            step_first, step_second = corner & 1, corner >> 1
            low = Mux(odd_first ^ step_first, planes[1, 0], planes[0, 0])
            high = Mux(odd_first ^ step_first, planes[1, 1], planes[0, 1])
            m.d.comb += self.corners[corner].eq(Mux(odd_second ^ step_second, high, low))

        lines = []
        for bank in range(2):
            m.submodules[f"line_{bank}"] = memory = Memory(shape=FactorVector, depth=factors * 32, init=[])
            read, port = memory.read_port(), memory.write_port()
            lines.append(read.data)
            m.d.comb += [
                port.addr.eq(Cat(write.position[1:], to.slot[:2], write_factor)),
                port.data.eq(write.values),
                port.en.eq(self.i.valid & to.line & (write.position[0] == bank)),
                read.en.eq(self.read_enable),
                read.addr.eq(Cat(_half(self.along, bank), read_factor)),
            ]
        for end in range(2):
            m.d.comb += self.ends[end].eq(Mux(odd_along ^ end, lines[1], lines[0]))
        return m


def _half(coordinate, bank: int):
    """Return the place, in a bank, of the one of two neighbouring vertices that lies in it; it wraps around."""
    place = coordinate[1:]
    return (place + coordinate[0])[: len(place)] if bank == 0 else place
