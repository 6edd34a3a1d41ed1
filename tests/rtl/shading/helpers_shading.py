"""Parts that the benches of the shading chain share."""

import random

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


def in_lanes(samples: list[dict], chance: random.Random) -> list[dict]:
    """Return transfers of two density lanes: a sample in that of its column, mostly with the next one in the other."""
    transfers, waiting = [], list(samples)
    while waiting:
        taken = [waiting.pop(0)]
        if taken[0]["last"]:
            transfers.append({"last": 1})
            continue
        pixel = taken[0]["pixel"]
        if waiting and not waiting[0]["last"] and (waiting[0]["pixel"] ^ pixel) & 1 and chance.random() < 0.8:
            taken.append(waiting.pop(0))
        # What is not there is of a pixel that may be in use.
        lanes = [{"present": 0, "pixel": pixel & ~1 | lane} for lane in range(2)]
        for sample in taken:
            own = {name: value for name, value in sample.items() if name not in ("cube", "last")}
            lanes[sample["pixel"] & 1] = {"present": 1} | own
        transfers.append({"cube": taken[0]["cube"], "lanes": lanes, "last": 0})
    return transfers


def samples_in(transfer: dict) -> list[dict]:
    """Return the samples of a transfer of one lane or two, each as if it were alone."""
    if "lanes" not in transfer or transfer["last"]:
        return [transfer]
    return [
        {name: value for name, value in lane.items() if name != "present"} | {"cube": transfer["cube"], "last": 0}
        for lane in transfer["lanes"]
        if lane["present"]
    ]
