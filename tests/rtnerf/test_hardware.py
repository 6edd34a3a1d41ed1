import json
from dataclasses import dataclass, field

import numpy as np

from nerf.contract.memory import MemoryTiming


@dataclass
class Outcome:
    pixel_mismatches: int
    error: str = "NONE"
    picture: np.ndarray = field(default_factory=lambda: np.full((2, 2, 3), 0.25, np.float32))

    def record(self):
        counts = {"pixels": 4, "pixel_mismatches": self.pixel_mismatches, "cycles_rtl": 9, "transaction_mismatches": 0}
        return {**counts, "error": self.error}


def test_cosim_passes_its_options_and_fails_on_a_mismatch(call, fakes, monkeypatch, tmp_path):
    def cosimulate(job, camera, progress, **options):
        fakes["cosim"] = (job.config.name, job.encoding, camera.window, options)
        return Outcome(fakes.get("mismatches", 0), fakes.get("error", "NONE"))

    monkeypatch.setattr("cosim.run.cosimulate", cosimulate)
    results = tmp_path / "cosim.json"
    arguments = ["--size", 16, "--engine", "icarus", "--seed", 5, "--pause", 0.25]
    arguments += ["--latency", 30, "--beat-interval", 2, "--encoding", "bitmap", "--build-dir", tmp_path]
    assert call("cosim", *arguments, "--json", results)[0] == 0
    timing = MemoryTiming(30, 2, 0.25, 5)
    options = {"engine": "icarus", "memory": "verilog", "timing": timing, "build_dir": tmp_path, "wave": None}
    assert fakes["cosim"] == ("tiny", "bitmap", (0, 0, 16, 16), options)
    assert json.loads(results.read_text())["memory"] == timing.record() | {"kind": "verilog"}
    fakes["mismatches"] = 3
    status, out, _ = call("cosim", *arguments, "--json", results)
    assert status == 1
    assert "pixel_mismatches: 3" in out
    assert json.loads(results.read_text())["pixel_mismatches"] == 3
    fakes |= {"mismatches": 0, "error": "BUS"}
    assert call("cosim", "--out", tmp_path / "rgb.npy")[0] == 1
    assert np.load(tmp_path / "rgb.npy").shape == (2, 2, 3)


def test_a_system_round_an_asic_is_refused(call, tmp_path):
    status, _, err = call("generate", "--target", "asic", "--soc", "--out", tmp_path / "out")
    assert (status, err) == (2, "error: soc must be absent with target asic, whose memories are macros, not True\n")
    assert not (tmp_path / "out").exists()


def test_a_target_beside_hand_off_must_be_asic(call, tmp_path):
    out = tmp_path / "out"
    status, _, err = call("generate", "--target", "simulation", "--hand-off", "orfs", "--out", out)
    message = "error: target must be absent with hand-off, which is for target asic, not simulation\n"
    assert (status, err) == (2, message)
    assert not out.exists()
