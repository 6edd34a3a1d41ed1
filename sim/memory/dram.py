"""DRAM: banks with open rows, refresh, and turns of the data bus; commands in the order of the requests.

Used for reported results; it has no counterpart in the RTL benches, which see a fixed latency and bandwidth. A burst
gives 32 bytes in each of the standards.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from rtnerf.base.compiled import compiled
from rtnerf.base.errors import require

BURST_BYTES = 32
CHANNEL_LIMIT = 16
BANK_LIMIT = 16
ACTIVATIONS = 4
"""In a window of tFAW."""
CLOSED = -1


@dataclass(frozen=True)
class Dram:
    """Organisation and timing of the memory; times in nanoseconds. The defaults are LPDDR4-2400 of 4 x 16 bits.

    Times of LPDDR4: JEDEC JESD209-4 (core timings in nanoseconds hold for the other speed grades too).

    Parameters
    ----------
    standard : str
        Name of the preset that the values began with, see `PRESETS`.
    mega_transfers : int
        Data rate of a pin, 10**6 a second. Four channels of 16 bits at 2400 give a peak of 19.2 GB/s.
    channels : int
        From 1 to 16, a power of two, of HBM pseudo channels; consecutive ``interleave_bytes`` go to consecutive ones.
    channel_bits : int
        Data pins of a channel, 8 to 128, a power of two.
    banks : int
        Of a channel, 4 to 16, a power of two; groups of banks are not told apart.
    row_bytes : int
        Page of a bank of a channel.
    activate, precharge, row_active, activate_gap, four_activates : float
        tRCD, tRPpb, tRAS, tRRD and tFAW.
    read_latency, write_latency : float
        From the column command to the first transfer: 24 and 12 clocks at this data rate.
    write_recovery, write_to_read, read_to_precharge, read_to_write : float
        tWR, tWTR, tRTP; and the gap between read and write data: tDQSCK and a preamble of two clocks.
    refresh_interval, refresh : float
        tREFI and tRFCab of 4 Gbit a channel; all banks are refreshed together.
    controller : float
        From the accelerator's request to the earliest command, and from the data back: an assumption.
    """

    standard: str = "lpddr4"
    mega_transfers: int = 2400
    channels: int = 4
    channel_bits: int = 16
    banks: int = 8
    interleave_bytes: int = 64
    row_bytes: int = 2048
    activate: float = 18.0
    precharge: float = 18.0
    row_active: float = 42.0
    activate_gap: float = 10.0
    four_activates: float = 40.0
    read_latency: float = 20.0
    write_latency: float = 10.0
    write_recovery: float = 18.0
    write_to_read: float = 10.0
    read_to_precharge: float = 7.5
    read_to_write: float = 5.2
    refresh_interval: float = 3904.0
    refresh: float = 180.0
    controller: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "standard":
                value = getattr(self, field.name)
                require(value > 0, field.name, "positive", value)
        for name, low, high in (
            ("channels", 1, CHANNEL_LIMIT),
            ("channel_bits", 8, 128),
            ("banks", 4, BANK_LIMIT),
            ("interleave_bytes", BURST_BYTES, 1 << 16),
            ("row_bytes", 64, 1 << 16),
        ):
            value = getattr(self, name)
            require(low <= value <= high and value & (value - 1) == 0, name, f"a power of two, {low} to {high}", value)

    @property
    def peak_bytes_per_second(self) -> float:
        """Of all channels together."""
        return self.mega_transfers * 1e6 * self.channel_bits / 8 * self.channels

    def record(self) -> dict[str, Any]:
        """What a result file says of it."""
        values = asdict(self)
        return {"kind": values.pop("standard"), **values}


PRESETS = {
    memory.standard: memory
    for memory in (
        Dram(),
        # JESD209-5B, 6400 at a WCK of four times the clock of 800 MHz, bank groups, 8 Gbit a channel: 51.2 GB/s. Its
        # latencies in clocks are 17 and 9, the gap from read to write two clocks. As Ramulator 2 has them.
        Dram(
            "lpddr5", mega_transfers=6400, banks=16, activate=18.75, precharge=18.75, row_active=42.5, activate_gap=5.0,
            four_activates=20.0, read_latency=21.25, write_latency=11.25, write_recovery=35.0, write_to_read=6.25,
            read_to_precharge=10.0, read_to_write=2.5, refresh_interval=3906.0, refresh=210.0,
        ),
        # JESD235D, one stack of 16 pseudo channels of 4 Gbit: 256 GB/s. As Ramulator 2 has it; tFAW is the maker's.
        Dram(
            "hbm2", mega_transfers=2000, channels=16, channel_bits=64, banks=16, row_bytes=1024, activate=14.0,
            precharge=14.0, row_active=34.0, activate_gap=4.0, four_activates=15.0, read_latency=14.0,
            write_latency=5.0, write_recovery=16.0, write_to_read=6.0, read_to_precharge=5.0, read_to_write=2.0,
            refresh_interval=3900.0, refresh=260.0,
        ),
    )
}  # fmt: skip
"""By name: LPDDR4-2400 and LPDDR5-6400 of 4 x 16 bits, HBM2-2000 of one stack."""


_TIMES = [field.name for field in fields(Dram) if field.type is float or field.type == "float"]
_SIZES = ["channels", "banks", "interleave_bytes", "row_bytes"]

STATE = np.dtype(
    [(name, np.int64) for name in (*_TIMES, *_SIZES, "burst", "cycle")]
    + [(name, np.int64) for name in ("row_hits", "row_misses", "row_conflicts", "refreshes")]
    + [
        (name, np.int64, (CHANNEL_LIMIT, BANK_LIMIT))
        for name in ("open_row", "column_from", "precharge_from", "activate_from")
    ]
    + [("recent_activates", np.int64, (CHANNEL_LIMIT, ACTIVATIONS))]
    + [(name, np.int64, (CHANNEL_LIMIT,)) for name in ("bus_free", "last_write", "next_refresh")]
)
"""Times in picoseconds. ``..._from``: when a bank may take that command; ``last_write``: the bus was last written."""


def new(memory: Dram, clock_hz: float) -> np.void:
    """Return the state of a memory beside an accelerator of some clock."""
    state = np.zeros(1, STATE)[0]
    for name in _TIMES:
        state[name] = round(1000 * getattr(memory, name))
    for name in _SIZES:
        state[name] = getattr(memory, name)
    state["burst"] = round(BURST_BYTES * 8 / memory.channel_bits * 1e6 / memory.mega_transfers)
    state["cycle"] = round(1e12 / clock_hz)
    state["open_row"] = CLOSED
    state["recent_activates"] = -(1 << 40)
    state["next_refresh"] = state["refresh_interval"]
    return state


@compiled
def access(state, cycle: int, address: int, write: bool) -> int:
    """Serve the burst of 32 bytes at an address that is asked for in a cycle; return the cycle of its last transfer.

    Requests must come in order of time.
    """
    channel = address // state.interleave_bytes % state.channels
    local = address // (state.interleave_bytes * state.channels) * state.interleave_bytes
    page = (local + address % state.interleave_bytes) // state.row_bytes
    bank, row = page % state.banks, page // state.banks
    start = cycle * state.cycle + state.controller

    while start >= state.next_refresh[channel]:
        done = state.next_refresh[channel] + state.precharge + state.refresh
        for each in range(state.banks):
            state.open_row[channel, each] = CLOSED
            state.activate_from[channel, each] = max(state.activate_from[channel, each], done)
        state.next_refresh[channel] += state.refresh_interval
        state.refreshes += 1

    if state.open_row[channel, bank] == row:
        state.row_hits += 1
    else:
        opens = max(start, state.activate_from[channel, bank])
        if state.open_row[channel, bank] == CLOSED:
            state.row_misses += 1
        else:
            state.row_conflicts += 1
            opens = max(opens, max(start, state.precharge_from[channel, bank]) + state.precharge)
        recent = state.recent_activates[channel]
        opens = max(opens, recent[ACTIVATIONS - 1] + state.activate_gap, recent[0] + state.four_activates)
        for place in range(ACTIVATIONS - 1):
            recent[place] = recent[place + 1]
        recent[ACTIVATIONS - 1] = opens
        state.open_row[channel, bank] = row
        state.column_from[channel, bank] = opens + state.activate
        state.precharge_from[channel, bank] = opens + state.row_active

    latency = state.write_latency if write else state.read_latency
    bus = state.bus_free[channel]
    if write and not state.last_write[channel]:
        bus += state.read_to_write
    if not write and state.last_write[channel]:
        bus += state.write_to_read + latency
    transfer = max(max(start, state.column_from[channel, bank]) + latency, bus)
    end = transfer + state.burst
    recovered = end + state.write_recovery if write else transfer - latency + state.read_to_precharge
    state.precharge_from[channel, bank] = max(state.precharge_from[channel, bank], recovered)
    state.bus_free[channel] = end
    state.last_write[channel] = write
    return -(-(end + state.controller) // state.cycle)
