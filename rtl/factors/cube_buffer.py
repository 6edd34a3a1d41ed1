"""The cube buffer: decoded factors around a cube, read as all that one interpolation needs of a component group."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import AXES
from nerf.contract.scene_image import PAIRS
from rtl.parts.lanes import each, of_lane, several
from rtl.payloads import BlockLayouts, FactorLookUp, vector3


class CubeBuffer(wiring.Component):
    """Hold, per pair and component group, a window of plane tiles (a square) and line blocks that wraps around.

    With a window of 8 a plane has 32 x 32 vertices, addressed by the low 5 bits of their coordinates, a line
    128. Every pair has its own memories, and neighbouring vertices lie in different ones (by the parity of their
    coordinates), so that a read never conflicts.

    A memory is as wide as the components that an interpolator takes at a time, ``cfg.interpolated_components`` of a
    group: a vector is written, and read, in ``cfg.vector_parts``.

    A write is seen by reads from the next cycle on. A read returns what it asked for until the next ``enable``.

    Latency: 1 cycle from ``enable`` to ``data``.
    Throughput: 1 part of a write and 1 read (that part of 4 plane and 2 line vectors of each pair, of ``lanes`` groups)
    a cycle and copy.

    Parameters
    ----------
    cfg : AcceleratorConfig
    kind : str
        ``density`` or ``appearance``: its component groups and window.
    lanes : int
        Component groups that are read at a time, each from memories of its own: 1, or all of them.
    copies : int
        Reads at a time, each from memories of its own that hold the same.

    Members
    -------
    i : In(stream)
        `VectorWrite`, always taken.
    factors : In(FactorLookUp)
        `cell_factors` by `FactorAddress`, modulo the window. Of several copies, one each.
    """

    LATENCY = 1

    def __init__(self, cfg: AcceleratorConfig, kind: str, lanes: int = 1, copies: int = 1) -> None:
        self._groups, self._lanes, self._copies = cfg.groups[kind], lanes, copies
        self._window_bits = cfg.window_bits[kind]
        self._parts = cfg.vector_parts
        super().__init__(
            {
                "i": In(stream.Signature(BlockLayouts(cfg).VectorWrite)),
                "factors": several(In(FactorLookUp(cfg, lanes)), copies),
            }
        )

    def elaborate(self, platform) -> Module:
        """Return four plane memories and two line memories a pair and copy."""
        m = Module()
        m.d.comb += self.i.ready.eq(1)
        for copy, port in enumerate(each(self.factors, self._copies)):
            odd = Signal(vector3(1))
            with m.If(port.enable):
                for axis in AXES:
                    m.d.sync += odd[axis].eq(port.address.cell[axis][0])
            for pair, axes in enumerate(PAIRS):
                first, second, along = (AXES[axis] for axis in axes)
                name = of_lane(str(pair), copy, self._copies)
                self._plane(m, port, name, pair, first, second, odd)
                self._line(m, port, name, pair, along, odd)
        return m

    def _bank(self, m: Module, port, name: str, depth: int, here, write_place, read_place) -> Value:
        """Add memories, one a lane, of ``depth`` vectors a group; return what is read."""
        written, found = self.i.payload, []
        group = written.to.group

        def row(part: Value, place: Value, group: Value) -> Value:
            return Cat(part, place, group) if self._parts > 1 else Cat(place, group)

        for lane in range(self._lanes):
            rows = self._groups // self._lanes * depth * self._parts
            memory = Memory(shape=written.values.shape(), depth=rows, init=[])
            alone = self._lanes == 1
            m.submodules[name if alone else f"{name}_{lane}"] = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                write.addr.eq(row(written.part, write_place, group)),
                write.data.eq(written.values),
                write.en.eq(self.i.valid & here & (alone or group == lane)),
                read.addr.eq(row(port.part, read_place, port.address.group)),
                read.en.eq(port.enable),
            ]
            found.append(read.data.as_value())
        return Cat(found)

    def _plane(self, m: Module, port, name: str, pair: int, first: str, second: str, odd: data.View) -> None:
        """Add a pair's plane."""
        to, position = self.i.payload.to, self.i.payload.position
        cell = port.address.cell
        window_bits = self._window_bits
        # The low bits of a vertex coordinate address the window of a plane.
        plane_bits = window_bits + 2
        written = Cat(position[1], to.slot[:window_bits], position[3], to.slot[window_bits : 2 * window_bits])
        banks = {}
        for bank_first in range(2):
            for bank_second in range(2):
                banks[bank_first, bank_second] = self._bank(
                    m,
                    port,
                    f"plane_{name}_{bank_first}{bank_second}",
                    1 << 2 * (plane_bits - 1),
                    ~to.line & (to.pair == pair) & (position[0] == bank_first) & (position[2] == bank_second),
                    written,
                    Cat(_half(cell[first][:plane_bits], bank_first), _half(cell[second][:plane_bits], bank_second)),
                )
        for corner, vector in enumerate(port.data[pair].corners):
            # The corner's parity is that of the first vertex, turned over one step further.
            step_first, step_second = corner & 1, corner >> 1
            low = Mux(odd[first] ^ step_first, banks[1, 0], banks[0, 0])
            high = Mux(odd[first] ^ step_first, banks[1, 1], banks[0, 1])
            m.d.comb += vector.as_value().eq(Mux(odd[second] ^ step_second, high, low))

    def _line(self, m: Module, port, name: str, pair: int, along: str, odd: data.View) -> None:
        """Add a pair's line."""
        to, position = self.i.payload.to, self.i.payload.position
        cell = port.address.cell[along][: self._window_bits + 4]
        banks = [
            self._bank(
                m,
                port,
                f"line_{name}_{bank}",
                1 << len(cell) - 1,
                to.line & (to.pair == pair) & (position[0] == bank),
                Cat(position[1:], to.slot[: self._window_bits]),
                _half(cell, bank),
            )
            for bank in range(2)
        ]
        for end, vector in enumerate(port.data[pair].ends):
            m.d.comb += vector.as_value().eq(Mux(odd[along] ^ end, banks[1], banks[0]))


def _half(coordinate, bank: int):
    """Return the place, in a bank, of the one of two neighbouring vertices that lies in it; it wraps around."""
    place = coordinate[1:]
    return (place + coordinate[0])[: len(place)] if bank == 0 else place
