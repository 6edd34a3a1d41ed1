import json
import tomllib

import pytest
from pyarrow import parquet

from nerf.contract.config import AcceleratorConfig, load_config
from rtnerf.explore import evaluate
from rtnerf.explore.optimise import OBJECTIVES, Bound, Trial, front
from rtnerf.explore.points import point_of

SPECIFICATION = """
seed = 5
[fixed]
config = "edge"
psnr_size = 0
views = [0, 1]
[space]
mlp_batch = {low = 1, high = 64}
sample_queue = {low = 4, high = 64}
step_ratio = {low = 0.5, high = 1.0}
lanes = [{mlp_lanes = 64, hidden = 32}, {mlp_lanes = 32, hidden = 32}, {mlp_lanes = 128}]
"""


@pytest.fixture
def ran(monkeypatch):
    """A stand-in for the simulator, which more multipliers make faster; returns the points that it was asked for."""
    asked = []

    def run(task):
        asked.append(task.point.digest)
        config = task.point.config
        fps = float(min(config.mlp_batch, 20) * config.mlp_lanes)
        frame = {"config": config.name, "dram_read_bytes": 8, "dram_write_bytes": 1, "energy_missing": "no synthesis"}
        bytes_on_chip = config.multipliers + 100 * config.sample_queue
        frames = [{**frame, "fps_at_clock": fps}, {**frame, "fps_at_clock": 2 * fps}]
        return {"frames": frames, "on_chip_bytes": bytes_on_chip, "memory_mm2": 0.1, "area_mm2": None, "seconds": 0.1}

    monkeypatch.setattr(evaluate, "run", run)
    return asked


@pytest.fixture
def specification(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(SPECIFICATION)
    return path


def test_a_search_ends_in_a_front_and_goes_on(call, specification, ran, tmp_path):
    out, results = tmp_path / "d", tmp_path / "r.json"
    options = ["--out", out, "--at-least", "fps=500", "--json", results]
    assert call("optimise", specification, *options, "--points", 6)[0] == 0
    before = list(ran)
    status, said, _ = call("optimise", specification, *options, "--points", 24)
    assert status == 0
    assert len(set(ran)) == len(ran) > len(before)  # None twice.

    found = json.loads(results.read_text())
    assert any(row["rule"] == "mlp_lanes must be at most hidden (32), not 64" for row in found["refused"])
    assert "refused, " in said
    winners = found["front"]
    for number, winner in enumerate(winners, 1):
        assert winner["figures"]["fps"] >= 500
        config = load_config(out / "front" / f"{number:02}.toml")
        assert config.digest == AcceleratorConfig(**winner["config_parameters"]).digest
    assert len(list((out / "front").glob("*.toml"))) == len(winners)
    rates = [winner["figures"]["fps"] for winner in winners]
    held = [winner["figures"]["on_chip_bytes"] for winner in winners]
    assert rates == sorted(rates, reverse=True)
    assert held == sorted(held, reverse=True)
    table = parquet.read_table(out / "results.parquet").to_pylist()
    assert {winner["point"] for winner in winners} <= {row["point"] for row in table}
    assert len(table) == 2 * len(ran)  # Of each view.
    assert (out / "front.svg").read_text().startswith("<?xml")

    # From the beginning in another folder: the same.
    again = tmp_path / "again"
    assert call("optimise", specification, *options[2:], "--out", again, "--points", 24)[0] == 0
    assert json.loads(results.read_text())["front"] == winners


def test_points_that_break_a_rule_do_not_count(call, ran, tmp_path):
    path = tmp_path / "space.toml"
    space = "[space]\nmlp_lanes = [32, 64]\nsample_queue = {low = 4, high = 1024}\n"
    path.write_text("[fixed]\npsnr_size = 0\nviews = [0, 1]\nhidden = 32\n" + space)
    assert call("optimise", path, "--out", tmp_path / "d", "--points", 4, "--json", tmp_path / "r.json")[0] == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert len(ran) == found["points"] == 4
    assert found["refused"]


def test_winners_are_cosimulated_on_a_crop(call, specification, ran, tmp_path, monkeypatch):
    seen = []

    class Outcome:
        def record(self):
            found = {"error": "NONE", "pixel_mismatches": 0, "transaction_mismatches": 0, "first_difference": None}
            return found | ({"transaction_mismatches": 1, "first_difference": "density"} if len(seen) == 2 else {})

    def cosimulate(job, camera, engine, termination):
        seen.append((job.config.digest, camera.crop, engine, job.model.step_ratio))
        return Outcome()

    monkeypatch.setattr("rtnerf.api.Job.cosimulate", cosimulate)
    options = ["--out", tmp_path / "d", "--points", 8, "--json", tmp_path / "r.json"]
    assert call("optimise", specification, *options, "--verify", 1, "--engine", "cxxrtl")[0] == 0
    status, said, _ = call("optimise", specification, *options, "--verify", 1)
    assert status == 1
    assert "front/01.toml in verilator: density" in said
    winner = json.loads((tmp_path / "r.json").read_text())["front"][0]
    first = load_config(tmp_path / "d" / "front" / "01.toml").digest
    assert seen[0] == (first, (92, 92, 16, 16), "cxxrtl", winner["settings"]["step_ratio"])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("[fixed]\ntile = 16", [], "space must be given for a search, not missing"),
        (f"samples = 2\n{SPECIFICATION}", [], "samples must be absent for a search, not 2"),
        (
            SPECIFICATION,
            ["--at-least", "fps=many"],
            "at-least must be NAME=NUMBER, NAME one of fps, psnr_db, energy_mj, ",
        ),
        (SPECIFICATION, ["--at-most", "speed=1"], "at-most must be NAME=NUMBER, "),
        (SPECIFICATION, ["--objective", "speed"], "objective must be one of fps, "),
        (SPECIFICATION, ["--engine", "icarus"], "engine must be absent without verify, not icarus"),
        (
            "[fixed]\nhidden = 32\n[space]\nmlp_lanes = [64, 128]",
            [],
            "space must have points that keep the rules, not 200 that do not (mlp_lanes must be at most hidden (32)",
        ),
        (SPECIFICATION, ["--at-least", "fps=1e9"], "bounds must be kept by a point, not by none of 4"),
        (
            SPECIFICATION,
            ["--at-most", "area_mm2=5"],
            "space must have points with fps, on_chip_bytes, area_mm2, not 4 ",
        ),
    ],
)
def test_bad_searches_are_refused_in_a_line(call, ran, tmp_path, text, options, message):
    path = tmp_path / "space.toml"
    path.write_text(text)
    status, _, err = call("optimise", path, "--out", tmp_path / "d", "--points", 4, *options)
    assert status == 2
    assert err.splitlines()[-1].startswith(f"error: {message}")


def test_the_front_is_what_no_point_within_the_bounds_beats(tmp_path):
    figures = [(10, 5), (9, 5), (12, 9), (12, 9), (3, 1), (20, 50)]
    trials = [
        Trial({}, point_of({"sample_queue": 4 << number}, tmp_path), {"fps": fps, "bytes": held})
        for number, (fps, held) in enumerate(figures)
    ]
    trials.append(Trial({}, None, rule="refused"))
    best = front(trials, ("fps", "bytes"), [Bound("bytes", 10, least=False)])
    assert [tuple(trial.figures.values()) for trial in best] == [(12, 9), (12, 9), (10, 5), (3, 1)]
    assert Bound("fps", 8, least=True).excess({"fps": 6}) == 0.25
    assert Bound("fps", 8, least=True).excess({"fps": 8}) == 0


def test_the_words_of_the_command_are_those_of_the_search():
    from rtnerf.search import OBJECTIVES as WORDS

    assert set(WORDS) == set(OBJECTIVES)


@pytest.mark.full
@pytest.mark.simulator
def test_a_winner_is_equal_to_its_rtl(call, tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        "[fixed]\npsnr_size = 0\nsize = 8\nmemory = 'fixed'\n[space]\nsample_queue = [8, 16]\nlane_queue = [4, 8]\n"
    )
    out = tmp_path / "d"
    options = ["--points", 3, "--verify", 1, "--json", tmp_path / "r.json"]
    assert call("optimise", path, "--out", out, *options)[0] == 0
    (checked,) = json.loads((tmp_path / "r.json").read_text())["verified"]
    assert (checked["transaction_mismatches"], checked["cycles_rtl"]) == (0, checked["cycles_sim"])
    assert tomllib.loads((out / "front" / "01.toml").read_text())["sample_queue"] in (8, 16)
