"""The banked memory against what its data sheet times imply."""

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from rtnerf.options import MEMORIES
from sim.memory import dram
from sim.memory.dram import BURST_BYTES, PRESETS, Dram, access

CLOCK = 1e9


def serve(addresses, memory=None, writes=None, gap=0):
    """Cycles in which bursts end that are asked for one after the other, ``gap`` cycles apart."""
    state = dram.new(memory or Dram(), CLOCK)
    writes = np.zeros(len(addresses), bool) if writes is None else writes
    return state, [
        access(state, gap * n, int(a), bool(w)) for n, (a, w) in enumerate(zip(addresses, writes, strict=True))
    ]


@pytest.mark.parametrize("memory", PRESETS.values(), ids=PRESETS)
def test_first_access_opens_a_row_and_a_second_one_hits(memory):
    state, (first, second) = serve([0, 32], memory)
    burst = BURST_BYTES / (memory.peak_bytes_per_second / memory.channels) * CLOCK
    assert first == np.ceil(2 * memory.controller + memory.activate + memory.read_latency + burst)
    assert burst - 1 < second - first < burst + 1
    assert (state["row_hits"], state["row_misses"], state["row_conflicts"]) == (1, 1, 0)


@pytest.mark.parametrize(("standard", "peak"), [("lpddr4", 19.2e9), ("lpddr5", 51.2e9), ("hbm2", 256e9)])
def test_a_stream_reaches_the_peak_but_for_refresh(standard, peak):
    memory = PRESETS[standard]
    count = 200_000
    _, cycles = serve(np.arange(count) * BURST_BYTES, memory)
    rate = count * BURST_BYTES / (cycles[-1] / CLOCK)
    lost = (memory.refresh + memory.precharge) / memory.refresh_interval
    assert memory.peak_bytes_per_second == pytest.approx(peak)
    assert peak * (1 - 2 * lost) < rate < peak * 1.001


def test_the_command_line_names_every_memory():
    assert (*PRESETS, "fixed") == MEMORIES


def test_conflicts_in_one_bank_take_a_row_cycle_each():
    memory = Dram(channels=1, refresh_interval=1e9)
    stride = memory.row_bytes * memory.banks
    state, cycles = serve(np.arange(100) * stride, memory)
    assert state["row_conflicts"] == 99
    assert (cycles[-1] - cycles[0]) / 99 == pytest.approx(memory.row_active + memory.precharge, abs=0.5)


def test_four_activations_in_a_window():
    memory = Dram(channels=1, refresh_interval=1e9)
    state, cycles = serve(np.arange(8) * memory.row_bytes, memory)
    assert state["row_misses"] == 8
    assert cycles[4] - cycles[0] == pytest.approx(memory.four_activates, abs=1)


def test_turns_of_the_bus_cost_time():
    addresses = np.arange(200) % 2 * BURST_BYTES
    one_way = serve(addresses, writes=np.zeros(200, bool))[1][-1]
    turning = serve(addresses, writes=np.arange(200) % 2 == 1)[1][-1]
    assert turning > 3 * one_way


def test_refresh_closes_rows_and_comes_in_time():
    memory = Dram(channels=1)
    state, _ = serve(np.zeros(100), memory, gap=1000)
    assert state["refreshes"] == int((99_000 + memory.controller) / memory.refresh_interval)
    assert state["row_misses"] == state["refreshes"] + 1


def test_requests_never_overtake_on_a_channel():
    random = np.random.default_rng(3)
    addresses = random.integers(0, 1 << 22, 5000) * BURST_BYTES
    writes = random.random(5000) < 0.3
    _, cycles = serve(addresses, Dram(channels=1), writes, gap=3)
    assert (np.diff(cycles) >= 6).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("channels", 3), ("channels", 32), ("banks", 32), ("channel_bits", 12), ("activate", 0), ("row_bytes", 100)],
)
def test_bad_parameters_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} must be"):
        Dram(**{name: value})
