"""Parts that the benches of the shading chain share."""

from amaranth.hdl import Module, Signal
from amaranth.lib.fifo import SyncFIFO


def record(m: Module, name: str, strobe, value, port, depth: int = 512) -> None:
    """Keep what a strobe brings in a queue that is read through an output stream of the harness."""
    queue = SyncFIFO(width=len(value), depth=depth)
    m.submodules[name] = queue
    m.d.comb += [
        queue.w_en.eq(strobe),
        queue.w_data.eq(value),
        port.payload.eq(queue.r_data),
        port.valid.eq(queue.r_rdy),
        queue.r_en.eq(port.ready & port.valid),
    ]


def noise(m: Module, name: str) -> Signal:
    """Return a bit that is 1 in about half of the cycles (16-bit linear feedback register)."""
    state = Signal(16, init=0xACE1, name=name)
    m.d.sync += state.eq((state >> 1) ^ ((state & 1) * 0xB400))
    return state[0]


def fields(constant) -> dict:
    """Return a payload, `data.Const` of a structure, as nested dictionaries and lists of integers."""

    def plain(value, shape):
        if hasattr(value, "as_value") or hasattr(value, "shape"):
            members = getattr(value.shape(), "members", None)
            if members is not None:
                return {name: plain(value[name], member) for name, member in members.items()}
            return [plain(value[index], None) for index in range(value.shape().length)]
        return value

    return plain(constant, None)
