import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from pyarrow import parquet

import rtnerf
from nerf.contract.config import AcceleratorConfig
from nerf.encode import IMAGE_FIELDS, encode_model
from nerf.prepared import Prepared
from rtnerf.base.errors import InputError
from rtnerf.base.executors import executor, run_all
from rtnerf.explore import evaluate
from rtnerf.explore import sweep as kept
from rtnerf.explore.points import point_of
from rtnerf.physical.inventory import macros_mm2, on_chip_bytes

SPECIFICATION = """
on_chip = false
[fixed]
memory = "fixed"
views = [0, 3]
size = 4
psnr_size = 4
[grid]
sample_queue = [16, 4]
latency = [9, 30]
"""


@pytest.fixture
def specification(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(SPECIFICATION)
    return path


def test_a_sweep_has_the_frames_of_simulate_and_goes_on_where_it_was_stopped(
    call, specification, tmp_path, monkeypatch
):
    out, results = tmp_path / "d", tmp_path / "r.json"
    ran = evaluate.run
    done = []

    def stopping(task):
        if len(done) == 2:
            raise InputError("disk must have room")
        done.append(task)
        return ran(task)

    monkeypatch.setattr(evaluate, "run", stopping)
    status, said, err = call("sweep", specification, "--out", out)
    assert (status, said) == (2, "")
    assert err.splitlines()[-1] == "error: disk must have room"
    assert len(list(out.glob("*/*.json"))) == 2

    monkeypatch.setattr(evaluate, "run", ran)
    status, said, _ = call("sweep", specification, "--out", out, "--dry-run", "--json", results)
    assert status == 0
    assert json.loads(results.read_text())["tasks_to_do"] == 3
    assert said.startswith("4 points, 8 frames; 3 tasks are to be done, about ")

    assert call("sweep", specification, "--out", out, "--json", results)[0] == 0
    assert json.loads(results.read_text())["tasks_done"] == 3
    assert len(list(out.glob("points/*.json"))) == 4
    assert len(list(out.glob("quality/*.json"))) == 1
    rows = parquet.read_table(out / kept.TABLE).to_pylist()
    assert [(row["config_parameters.sample_queue"], row["memory.latency"], row["view"]) for row in rows] == [
        (queue, latency, view) for queue in (16, 4) for latency in (9, 30) for view in (0, 3)
    ]
    about = json.loads(parquet.read_schema(out / kept.TABLE).metadata[b"rtnerf"])
    assert (about["command"], about["seed"], about["specification"]) == ("sweep", 0, SPECIFICATION)
    assert about["versions"].keys() >= {"python", "rtnerf", "numba"}

    # One with a configuration and a picture of its own.
    path = tmp_path / "mine.toml"
    path.write_text("sample_queue = 4\n")
    options = ["--size", 4, "--index", 3, "--config", path, "--memory", "fixed", "--latency", 30]
    assert call("simulate", *options, "--json", results)[0] == 0
    frame, row = json.loads(results.read_text()), rows[-1]
    assert row["config_digest"] == frame["config_digest"]
    assert row["cycles"] == frame["cycles"]
    assert row["units.density.busy_cycles"] == frame["units"]["density"]["busy_cycles"]
    assert row["dram_read_bytes_by_kind.records"] == frame["dram_read_bytes_by_kind"]["records"]
    assert rows[0]["energy_mj.low"] > 0
    assert rows[-1]["energy_mj"] is None

    # Two points side by side.
    first, second = (out / "points" / f"{rows[number]['point']}.json" for number in (0, -1))
    assert call("compare", first, second, "--json", results)[0] == 0
    wholes = json.loads(results.read_text())["wholes"]
    assert wholes["cycles"] == [sum(row["cycles"] for row in pair) for pair in (rows[:2], rows[-2:])]


def test_psnr_is_that_of_the_accelerators_pixels_once_for_equal_values(tmp_path):
    settings = {"memory": "fixed", "psnr_size": 6}
    points = [
        point_of(settings | more, tmp_path) for more in ({}, {"sample_queue": 4}, {"size": 3}, {"prune_density": 0.3})
    ]
    tasks = [task for task in kept.tasks_of(points, {}, False) if task.quality]
    assert len(tasks) == 2
    assert len([task for task in kept.tasks_of(points, {}, False) if not task.quality]) == 4
    found = evaluate.run(kept.Task(points[0], True))["psnr_db"]
    from nerf.metrics import psnr

    cameras = rtnerf.load_cameras()
    picture = rtnerf.prepare(rtnerf.load_model()).render(cameras.camera(0, 6), "integer").rgb
    assert found == psnr(picture, cameras.truth(0, 6))
    assert not kept.has_quality(point_of({"ordering": "none"}, tmp_path))


def test_estimates_say_that_they_are(tmp_path):
    point = point_of({"memory": "fixed", "psnr_size": 0, "size": 3, "sample_queue": 32}, tmp_path)
    unknown, found = (evaluate.run(kept.Task(point, estimates=estimates)) for estimates in (False, True))
    assert unknown["area_mm2"] is unknown["area_source"] is unknown["frames"][0]["energy_mj"] is None
    assert found["area_mm2"] > 0
    assert found["frames"][0]["energy_mj"][0] > 0
    assert found["area_source"].startswith("estimated")
    preset = point_of({"memory": "fixed", "psnr_size": 0, "size": 3}, tmp_path)
    assert not evaluate.run(kept.Task(preset, estimates=True))["area_source"].startswith("estimated")


def test_points_with_figures_of_another_source_are_done_again(tmp_path):
    point = point_of({"memory": "fixed", "psnr_size": 0, "size": 3, "sample_queue": 32}, tmp_path)
    folder, done = kept.open_folder(tmp_path / "out", {}), []
    for estimates in (False, True, True):
        tasks = kept.tasks_of([point], {}, False, estimates)
        done.append(kept.run(folder, tasks, None, lambda done, total: None))
    assert done == [1, 1, 0]
    (row,) = kept.rows(folder, [point])
    assert row["area_source"].startswith("estimated")
    result = tmp_path / "synthesis.json"
    result.write_text("1")
    before = kept.Task(point, synthesis=result)
    assert before.costs == kept.Task(point, synthesis=result).costs != kept.Task(point).costs


def test_an_image_depends_on_its_fields_of_the_configuration_alone():
    model = replace(rtnerf.load_model(), shading="deferred")
    usual = AcceleratorConfig(shading="deferred")
    others = {"tile": 8, "mlp_batch": 2, "ray_units": 4, "sample_lanes": 2, "data_width": 128, "address_width": 40}
    others |= {
        "appearance_lanes": 3,
        "density_lanes": 2,
        "tiles": 4,
        "density_window_scale": 2,
        "interpolated_components": 16,
    }
    names = {field.name for field in fields(AcceleratorConfig)} - {"name", *IMAGE_FIELDS}
    small = {"buffer_window", "cube_queue", "write_bursts"}
    queues = {name: 4 if name in small else 32 for name in names - others.keys()}
    config = replace(usual, name="other", **others, **queues)
    images = [encode_model(model, one).scene for one in (usual, config)]
    assert images[0].config_digest != images[1].config_digest
    parts = [image.data[4096:] for image in images]
    assert parts[0] == parts[1]


def test_a_model_that_does_not_fit_is_refused_with_the_rule_and_the_others_go_on(call, tmp_path):
    (tmp_path / "s.toml").write_text(
        "on_chip = false\n[fixed]\nmemory = 'fixed'\nsize = 2\npsnr_size = 0\n"
        "[grid]\nshading = ['sample', 'deferred']\n"
    )
    status, out, _ = call("sweep", tmp_path / "s.toml", "--out", tmp_path / "d")
    assert status == 0
    assert "refused, 1 points: config must be one with shading" in out
    assert parquet.read_table(tmp_path / "d" / kept.TABLE).num_rows == 1


def test_what_does_not_depend_on_the_configuration_is_shared(tmp_path):
    jobs = [
        evaluate.prepared(point_of(more, tmp_path)) for more in ({}, {"tile": 64}, {"memory": "slow", "mlp_batch": 4})
    ]
    assert jobs[0] is jobs[1] is jobs[2]
    assert isinstance(jobs[0], Prepared)


def test_memories_on_chip_are_those_of_the_verilog():
    from rtl.verilog.export import design

    tiny = AcceleratorConfig()
    by_block = design(tiny)[1]["on_chip_memory_bytes"]
    assert 0 <= sum(by_block.values()) - on_chip_bytes(tiny) < len(by_block)
    synthesised = json.loads((Path(rtnerf.__file__).parent / "physical/data/synthesised.json").read_text())
    assert macros_mm2(tiny) < synthesised["runs"][0]["area_mm2"]


def _exit(task):
    os._exit(9)


def test_workers_that_end_are_told_in_a_line():
    with (
        pytest.raises(InputError, match=r"^workers must last as long as their tasks, not end over them"),
        executor(2) as where,
    ):
        list(run_all(where, _exit, [1, 2]))


def test_a_scheduler_that_does_not_answer_is_refused(call, specification, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("rtnerf.base.executors.SCHEDULER_SECONDS", 0.2)
    status, out, err = call("sweep", specification, "--out", tmp_path / "d", "--scheduler", "tcp://127.0.0.1:9")
    assert (status, out) == (2, "")
    assert err == "error: scheduler must be the address of one that answers, not tcp://127.0.0.1:9\n"


def test_a_folder_that_is_a_file_is_refused(call, specification):
    status, _, err = call("sweep", specification, "--out", specification)
    assert status == 2
    assert err.count("\n") == 1
    assert "out must be" in err


@pytest.mark.full
def test_a_sweep_that_is_killed_goes_on(specification, tmp_path):
    out = tmp_path / "d"
    command = [sys.executable, "-m", "rtnerf", "sweep", str(specification), "--out", str(out), "--workers", "2"]
    process = subprocess.Popen(command, start_new_session=True)
    while not list(out.glob("points/*.json")):
        time.sleep(0.05)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("points/*.json")}
    subprocess.run(command, check=True, timeout=300)
    assert parquet.read_table(out / kept.TABLE).num_rows == 8
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("points/*.json")}.items()


@pytest.mark.full
def test_a_sweep_on_a_cluster_survives_a_worker_that_is_killed(specification, tmp_path):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "d"
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        command = [sys.executable, "-m", "rtnerf", "sweep", str(specification), "--out", str(out)]
        process = subprocess.Popen([*command, "--scheduler", cluster.scheduler_address])
        while not list(out.glob("*/*.json")):
            time.sleep(0.05)
            assert process.poll() is None
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        assert process.wait(300) == 0
    assert parquet.read_table(out / kept.TABLE).num_rows == 8
