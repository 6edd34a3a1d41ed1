"""A unit small enough to be counted by hand, and what comes along."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from nerf.contract.activity import Accesses, Activity
from nerf.contract.config import load_config
from rtnerf.base.errors import InputError
from rtnerf.base.folders import ROOT
from rtnerf.physical.energy import (
    CAUSES,
    DRAM_PJ_PER_BIT,
    GATE_CHANGES,
    REGISTER_CHANGES,
    _prices,
    family,
    frame_energy,
    operation_pj,
    recorded_prices,
)
from rtnerf.physical.kept import Synthesis, SynthesisedUnit, kept_synthesis, read_synthesis
from rtnerf.physical.memories import ASAP7
from rtnerf.physical.netlist import Memory

STORE = Memory("store.bank_0", 1024, 64, 1, 1, synchronous=True, forwards=False, initialised=False)
LANE = SynthesisedUnit(2, 10, 4.0, 6.0, 3.0, {"mul 8x8": 2, "add 32": 1}, (STORE,))
SYNTHESIS = Synthesis("by hand", "compact", "here", "box.lane_0", 500.0, 0.1, {"box.lane_0": LANE})
ACTIVITY = Activity(
    cycles=1000,
    busy={"box": 400},
    passes={"box.lane": 300},
    accesses={"box.lane.store*": Accesses(700, 50)},
    read_bytes=1500,
    written_bytes=500,
)


@pytest.fixture
def found():
    return frame_energy(ACTIVITY, SYNTHESIS)


def test_a_unit_by_hand(found):
    prices, parts = _prices(), found["energy_parts_mj"]
    pj = {cause: np.array(energy) * 1e9 for cause, energy in parts["box.lane_0"].items()}
    # 300 passes of two products and a sum: their energies are the file's, in fJ.
    product, total = np.array(prices["mul"]["64"]), np.array(prices["add"]["32"])
    assert pj["operations"] == pytest.approx(300 * (2 * product + total) / 1000)
    # Two lanes of 4 um2 of gates and 10 flip-flops; the box is busy in 400 of 1,000 cycles.
    assert pj["control"] == pytest.approx(2 * 4 * 400 * prices["gate_per_um2"] / 1000 * np.array(GATE_CHANGES))
    clock, data = prices["register_clock"] / 1000, prices["register_data"] / 1000
    assert pj["registers"] == pytest.approx(20 * 400 * (clock + data * np.array(REGISTER_CHANGES)))
    assert pj["idle"] == pytest.approx([20 * 600 * clock] * 2)
    price = ASAP7.price(STORE)
    assert pj["memories"][0] == pytest.approx(700 * price["read_pj"] + 50 * price["write_pj"])
    # Capacitance by length, not by area.
    assert pj["memories"][1] / pj["memories"][0] == pytest.approx((3.24 / 0.029) ** 0.5)
    # 1,000 cycles at 500 MHz are 2 us; 3 uW of cells and what the memory leaks, in two lanes.
    assert pj["leakage"] == pytest.approx([2 * (3 + price["leakage_nw"] / 1000) * 2] * 2)
    assert parts["dram"]["dram"] == pytest.approx(np.array(DRAM_PJ_PER_BIT) * 16_000e-9)
    assert found["operations"] == {"box.lane_0": {"mul 8x8": 600, "add 32": 300}}
    assert found["memory_accesses"] == {"box.lane.store.bank_0": [700, 50]}


def test_a_unit_with_recorded_activity_by_hand(monkeypatch):
    rows = {
        "busy": {"gates_fj_per_um2": [1.0, 2.0], "register_fj": [0.1, 0.2]},
        "other": {"gates_fj_per_um2": [0.01, 0.02], "register_fj": [0.001, 0.001]},
    }
    recorded = {"box.lane": {"passes_per_busy_cycle": 0.5, **rows}}
    monkeypatch.setattr("rtnerf.physical.energy.recorded_prices", lambda: recorded)
    found = frame_energy(ACTIVITY, SYNTHESIS)
    pj = {cause: np.array(energy) * 1e9 for cause, energy in found["energy_parts_mj"]["box.lane_0"].items()}
    # 300 passes, one in every second busy cycle: 600 of the 2,000 cycles of two lanes with 10 um2 of gates each.
    assert pj["operations"] == pytest.approx([600 * 10 * 1.0e-3, 600 * 10 * 2.0e-3])
    clock = _prices()["register_clock"] / 1000
    assert pj["registers"] == pytest.approx([600 * 10 * (clock + 0.1e-3), 600 * 10 * (clock + 0.2e-3)])
    assert pj["idle"] == pytest.approx([1400 * (10 * (clock + 1e-6) + 10 * fj * 1e-3) for fj in (0.01, 0.02)])
    assert not pj["control"].any()
    assert found["energy_assumptions"]["recorded"] == ["box.lane_0"]


def test_lanes_that_differ_share_the_passes_of_their_family():
    other = dataclasses.replace(LANE, instances=1)
    both = dataclasses.replace(SYNTHESIS, units={"box.lane_0": LANE, "box.lane_2": other})
    found = frame_energy(ACTIVITY, both)["operations"]
    assert found == {
        "box.lane_0": {"mul 8x8": 400, "add 32": 200}, "box.lane_2": {"mul 8x8": 200, "add 32": 100},
    }  # fmt: skip


def test_recorded_prices_come_from_the_kept_result():
    kept = json.loads((ROOT / "reports" / "results" / "recorded_energy.json").read_text())
    assert {family(name) for name in kept["units"]} == set(recorded_prices())
    for name, unit in kept["units"].items():
        assert unit["outputs_different"] == 0
        assert unit["outputs_compared"] > 0
        for kind in ("busy", "other"):
            lower, upper = unit[kind]["gate_changes"]
            assert 0 <= lower <= upper
            assert unit[kind]["gates_fj_per_um2"] == recorded_prices()[family(name)][kind]["gates_fj_per_um2"]


def test_parts_add_up(found):
    whole = np.array(found["energy_mj"])
    assert whole[0] < whole[1]
    assert set(found["energy_by_cause_mj"]) == set(CAUSES)
    for sums in ("energy_by_unit_mj", "energy_by_cause_mj"):
        assert np.sum(list(found[sums].values()), axis=0) == pytest.approx(whole)
    parts = [energy for row in found["energy_parts_mj"].values() for energy in row.values()]
    assert np.sum(parts, axis=0) == pytest.approx(whole)


def test_operations_between_and_beyond_the_widths_of_the_file():
    assert operation_pj("mul 8x8") == pytest.approx(np.array(_prices()["mul"]["64"]) / 1000)
    assert operation_pj("mul 32x8") == pytest.approx(np.array(_prices()["mul"]["256"]) / 1000)
    costs = [operation_pj(f"mul {width}x{width}") for width in (4, 12, 20, 42)]
    assert all((low < high).all() for low, high in itertools.pairwise(costs))
    assert operation_pj("add 64") == pytest.approx(2 * operation_pj("add 32"), rel=0.2)


def test_dram_energy_is_that_of_the_runs_it_is_derived_from():
    assert list(DRAM_PJ_PER_BIT) == pytest.approx([10.1, 17.25], abs=0.02)


def test_what_comes_along_is_of_today_s_tiny():
    synthesis = kept_synthesis(load_config("tiny"))
    assert synthesis.library == "asap7"
    assert len(synthesis.units) == 33
    assert synthesis.units["mlp_engine.sample_0"].operations["mul 16x8"] == 74
    assert kept_synthesis(load_config("cloud")) is None


def test_a_file_of_another_configuration_is_refused(tmp_path):
    path = tmp_path / "s.json"
    for text, why in (
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"config": "edge", "config_digest": "0"}', r"of edge\)$"),
        (json.dumps({"config_digest": load_config("tiny").digest, "config": "tiny"}), "KeyError"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=f"^synthesis must be what rtnerf synth --json writes .*{why}"):
            read_synthesis(path, load_config("tiny"))
