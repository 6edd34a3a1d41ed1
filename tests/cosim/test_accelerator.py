"""The whole accelerator in Verilator: every value the golden model's, every cycle the simulator's, whatever comes."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosim import toolchain
from cosim.cycles import compare_cycles
from cosim.run import cosimulate, run_rtl
from cosim.scoreboard import compare
from cosim.simulation import lint
from nerf.cameras import load_cameras
from nerf.checkpoint import load_model
from nerf.contract.blocks import Form, unpack_header
from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.memory import MEMORY_TIMINGS, MemoryTiming
from nerf.contract.registers import ErrorCode
from nerf.contract.scene_image import BEAT, RECORD_BYTES
from nerf.prepared import Prepared
from rtl.verilog.export import TOP, design, generate
from tests import sizes
from tests.golden.models import EDGE_CASES, look_at, small_model
from tests.sim.control.test_scene_loader import bursts_of

TINY = load_config("tiny")
WIDE = replace(load_config("edge"), name="wide", mlp_batch=4, ray_units=8)
"""As `edge`, which takes Verilator minutes to build: ``make verify-full`` does."""
SMALL = replace(
    sizes.SMALL, tile=8, mlp_lanes=16, mlp_batch=4, ray_units=4, sample_lanes=4, sample_queue=4, payload_queue=32,
    interpolated_components=4,
)  # fmt: skip
DEFERRED = replace(
    SMALL, name="deferred", shading="deferred", tiles=4, ray_units=2, sample_lanes=2, mlp_lanes=16,
    density_window_scale=2, density_components=32, appearance_components=80, interpolated_components=16,
)  # fmt: skip
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "simulation"

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed"),
]


def under_full(*values):
    """Parameters for ``make verify-full`` alone."""
    return [pytest.param(*(value if isinstance(value, tuple) else [value]), marks=pytest.mark.full) for value in values]


def render(model, camera, config=TINY, **settings):
    """Run RTL, golden model and simulator; assert that every pixel, every recorded value and cycle is equal."""
    result = cosimulate(Prepared(model, config), camera, build_dir=FOLDER, **settings)
    assert result.error == "NONE"
    assert result.first_difference is None, result.first_difference
    assert result.pixel_mismatches == 0
    assert result.transaction_mismatches == 0
    assert result.cycles_sim in (result.cycles_rtl, None)
    return result


@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_are_bit_exact(case):
    factory, arguments, camera = EDGE_CASES[case]
    result = render(factory(**arguments), camera)
    assert result.pixels == camera.width * camera.height
    if case in ("all rays miss", "empty occupancy"):
        assert result.samples == 0


@pytest.mark.parametrize(("width", "height"), [(33, 1), (1, 40), *under_full((70, 37))])
def test_images_of_several_tiles(width, height):
    camera = look_at((2.2, 1.0, 0.8), width=width, height=height, focal=60)
    assert render(small_model(), camera).samples > 0


def test_a_crop_far_from_the_origin():
    """With two focal lengths, a principal point beside the middle and a coloured background."""
    camera = look_at((2.2, 1.0, 0.8), width=200, height=120, focal=200)
    camera = replace(camera, focal_y=170.0, centre=(95.5, 66.25), background=(12, 200, 0)).cropped(83, 51, 35, 33)
    assert render(small_model(), camera).samples > 500


def test_termination_off():
    _, _, camera = EDGE_CASES["outside"]
    assert render(small_model(), camera, termination=0.0).samples >= render(small_model(), camera).samples


@pytest.mark.parametrize(
    ("memory", "pause"), [("cocotbext", 0), ("cocotbext", 0.3), ("verilog", 0.2), ("verilog", 0.8)]
)
def test_back_pressure_changes_no_value(memory, pause):
    _, _, camera = EDGE_CASES["inside the box"]
    render(small_model(), camera, memory=memory, timing=MemoryTiming(pause=pause, seed=5))


def deferred_model():
    return replace(small_model(components=(24, 72)), shading="deferred", shading_threshold=1e-3)


@pytest.mark.full
@pytest.mark.parametrize("config", [WIDE, SMALL])
@pytest.mark.parametrize("timing", ["ideal", "slow"])
def test_widths_and_depths_and_memories_change_no_value(config, timing):
    camera = look_at((2.2, 1.0, 0.8), width=12, height=9, focal=20)
    render(small_model(), camera, config=config, timing=MEMORY_TIMINGS[timing])


@pytest.mark.parametrize(("timing", "lanes"), [("ideal", 1), ("slow", 1), *under_full(("ideal", 5), ("slow", 5))])
def test_deferred_shading(timing, lanes):
    camera = look_at((2.2, 1.0, 0.8), width=28, height=21, focal=40)
    config = replace(DEFERRED, appearance_lanes=lanes)
    result = render(deferred_model(), camera, config=config, timing=MEMORY_TIMINGS[timing])
    assert 0 < result.samples_shaded < 28 * 21


def test_a_difference_of_a_cycle_is_explained():
    job, camera = Prepared(small_model(), TINY), EDGE_CASES["outside"][2]
    view = job.view(camera)
    trace = run_rtl(job.scene.data, view, TINY, build_dir=FOLDER).trace
    index = next(n for n, one in enumerate(trace) if one.stream == "opaque" and n > 2000)
    trace[index] = replace(trace[index], cycle=trace[index].cycle + 1)
    found = compare_cycles(trace, job.decoded, view, TINY, MemoryTiming())
    assert found.cycles_rtl == found.cycles_sim
    assert sum(found.mismatches.values()) == found.mismatches["opaque"] == 1
    cycle = trace[index].cycle - next(one.cycle for one in trace if one.stream == "frame")
    assert found.first.startswith("opaque ")
    assert f"comes in cycle {cycle} in the RTL and in cycle {cycle - 1} in the simulator" in found.first
    assert "mlp_engine busy" in found.first


def test_dense_bitmap_and_coordinate_blocks_are_all_used():
    model = small_model(seed=3, components=(16, 20))
    for plane in (*model.density_planes, *model.app_planes):
        plane[:, :6, :] += 1.5
        plane[1:, 10:, :] = 0
    table = Prepared(model, TINY).encoded.size_table()["total"]
    assert min(table["dense_blocks"], table["bitmap_blocks"], table["coordinate_blocks"]) > 5, table
    render(model, EDGE_CASES["outside"][2])


def test_the_scoreboard_explains_a_difference():
    job, camera = Prepared(small_model(), TINY), EDGE_CASES["outside"][2]
    view = job.view(camera)
    rtl = run_rtl(job.scene.data, view, TINY, build_dir=FOLDER)
    golden = job.frame(camera)
    pixel = int(golden.samples[40, 0])
    golden.samples[40, 6] += 1
    first = compare(rtl.trace, rtl.sidecar, golden, view, TINY.tile).first
    assert (first.y * view.window_width + first.x, first.stage) == (pixel, "opaque")
    assert first.expected["alpha"] == first.got["alpha"] + 1
    assert f"pixel ({first.x}, {first.y}), opaque" in str(first)


# ---- Damage ----


def used_bitmap_block(job):
    """Return the offsets of header and payload of a bitmap block that the view reads."""
    scene = job.scene
    for x, y, _ in job.frame(EDGE_CASES["outside"][2]).samples[:, 2:5] >> 18:
        index = int(y * scene.cubes[0] + x)
        header = unpack_header(scene.block_header("density", "plane", 0, index))
        if header.form == Form.BITMAP and header.count:
            return scene.density_headers[0] + 8 * index, scene.payload_offset + 8 * header.pointer
    raise AssertionError("no bitmap block is read")


def damaged(place):
    """Return the view, a scene image with one bit flipped, and the error that the hardware must report."""
    job = Prepared(small_model(), TINY)
    scene = job.scene
    data = bytearray(scene.data)
    live_row = next(
        offset for offset in range(scene.rows_offset, scene.records_offset, BEAT) if any(data[offset : offset + 12])
    )
    header, payload = used_bitmap_block(job)
    places = {
        "magic": (1, ErrorCode.SCENE_HEADER),
        "header": (4 * 31, ErrorCode.SCENE_HEADER),
        "tables": (scene.tables_offset + 1000, ErrorCode.TABLES),
        "weights": (scene.tables_offset + 16 * 2000, ErrorCode.TABLES),
        "row": (live_row + 2, ErrorCode.ROW),
        "record": (scene.records_offset + 40 * RECORD_BYTES + 7, ErrorCode.RECORD),
        "block header": (header + 4, ErrorCode.BLOCK_HEADER),
        "block payload": (payload, ErrorCode.BLOCK_PAYLOAD),
    }
    position, code = places[place]
    data[position] ^= 4
    return job.view(EDGE_CASES["outside"][2]), bytes(data), code


@pytest.mark.parametrize(
    "place", ["magic", "header", "tables", "weights", "row", "record", "block header", "block payload"]
)
def test_a_damaged_image_is_reported(place):
    view, data, code = damaged(place)
    assert run_rtl(data, view, TINY, build_dir=FOLDER, watchdog_cycles=10**7).error == code


def test_an_image_of_another_configuration_is_reported():
    job = Prepared(small_model(), AcceleratorConfig(tile=64))
    rtl = run_rtl(job.scene.data, job.view(EDGE_CASES["outside"][2]), TINY, build_dir=FOLDER, watchdog_cycles=10**7)
    assert rtl.error == ErrorCode.CONFIG


@pytest.mark.parametrize("burst", [0, 3, 300, 700])
def test_a_failing_memory_is_reported(burst):
    job = Prepared(small_model(), TINY)
    rtl = run_rtl(
        job.scene.data,
        job.view(EDGE_CASES["outside"][2]),
        TINY,
        build_dir=FOLDER,
        fail_read=burst,
        watchdog_cycles=10**7,
    )
    assert rtl.error == ErrorCode.BUS


@pytest.mark.parametrize("cycle", [5000, *under_full(50, 40_000, 200_000)])
def test_the_host_can_abort_at_any_time_and_render_again(cycle):
    job, camera = Prepared(small_model(), TINY), EDGE_CASES["outside"][2]
    image, view = job.scene.data, job.view(camera)
    settings = {"memory": "cocotbext", "build_dir": FOLDER, "abort_after": cycle, "watchdog_cycles": 10**7}
    assert run_rtl(image, view, TINY, **settings).error == ErrorCode.ABORTED
    again = run_rtl(image, view, TINY, render_again=True, timing=MemoryTiming(pause=51 / 256), **settings)
    assert again.error == ErrorCode.NONE
    assert np.array_equal(again.pixels, job.frame(camera).pixels)


LISTED = look_at((2.2, 1.0, 0.8), width=20, height=9, focal=25)
"""Several tiles of `DEFERRED`, so that the list of cubes is read several times."""


@pytest.mark.parametrize("stream", ["rectangles", *under_full("rays", "footprints", "pixels")])
def test_an_abort_in_the_midst_of_a_work_leaves_nothing_of_it(stream):
    """While rays are set up, the list of cubes is written, or read, or pixels are collected."""
    job = Prepared(deferred_model(), DEFERRED)
    image, view = job.scene.data, job.view(LISTED)
    settings = {"build_dir": FOLDER, "watchdog_cycles": 10**7}
    whole = run_rtl(image, view, DEFERRED, **settings)
    start = next(one.cycle for one in whole.trace if one.stream == "frame")
    cycles = [one.cycle - start for one in whole.trace if one.stream == stream]
    settings["abort_after"] = cycles[30]
    first = run_rtl(image, view, DEFERRED, **settings)
    assert first.error == ErrorCode.ABORTED
    assert 0 < sum(one.stream == stream for one in first.trace) < len(cycles)
    again = run_rtl(image, view, DEFERRED, render_again=True, **settings)
    assert again.counters == whole.counters
    assert np.array_equal(again.pixels, job.frame(LISTED).pixels)


def test_a_list_that_cannot_be_read_is_reported():
    job = Prepared(deferred_model(), DEFERRED)
    scene, view = job.scene, job.view(LISTED)
    before = len(bursts_of(scene)) + scene.cubes[1] * scene.cubes[2]
    rtl = run_rtl(scene.data, view, DEFERRED, build_dir=FOLDER, fail_read=before, watchdog_cycles=10**7)
    assert rtl.error == ErrorCode.BUS
    assert {one.stream for one in rtl.trace} <= {"frame", "rays", "visits", "footprints", "rectangles"}


# ---- Verilog ----


@pytest.mark.parametrize("config", [TINY, *under_full(DEFERRED)])
def test_verilog_is_clean_and_names_no_machine(tmp_path, config):
    text, sidecar = design(config)
    path = tmp_path / f"{TOP}.v"
    path.write_text(text)
    lint(path, TOP)
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)
    assert "(* src" not in text
    assert not re.search(r"always @\*\n\s+[^\n=]+ = \d+'h[0-9a-f]+;", text), "never runs"
    names = {port["name"] for port in sidecar["ports"]}
    assert {"clk", "rst", "interrupt", "axi__araddr", "axi__wstrb", "control__awvalid", "control__rdata"} <= names
    for probe in sidecar["probes"]:
        assert {probe["fire"], probe["payload"]} <= names
    for module in (f"mlp_datapath_{config.mlp_lanes}", f"ray_unit_{config.tile}"):
        assert text.count(f"\nmodule {module}(") == 1
    assert text.count("(* top") == 1
    module = re.search(rf"^module {TOP}\((.*?)\);", text, re.S | re.M)[1]
    assert {name.strip() for name in module.split(",")} == names


def test_generation_is_reproducible_in_any_process_and_folder(tmp_path):
    program = "import sys; from nerf.contract.config import load_config; from rtl.verilog import export; "
    program += (
        "export.kept_folder = lambda kind: export.Path(sys.argv[1]); export.generate(load_config('tiny'), sys.argv[1])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "b")], env=environment, cwd=tmp_path, check=True)
    generate(TINY, tmp_path / "a")
    for name in (f"{TOP}.v", f"{TOP}.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# ---- A scene that the original program trained ----


@pytest.mark.data
@pytest.mark.parametrize(("index", "size"), [(7, 10), *under_full((2, 32), (7, 32), (13, 32))])
def test_lego_views_are_bit_exact(lego_model, lego_cameras, index, size):
    result = render(lego_model, lego_cameras.camera(index, size))
    assert result.samples > 10 * size**2
    assert result.psnr_vs_float_db > 55


@pytest.mark.data
@pytest.mark.parametrize("side", [6, *under_full(16)])
def test_a_lego_crop_at_200_pixels_is_bit_exact(lego_model, lego_cameras, side):
    result = render(lego_model, lego_cameras.camera(7, 200).cropped(92, 100, side, side))
    assert result.samples > 20 * side**2


@pytest.mark.parametrize("size", [10, *under_full(24)])
def test_the_embedded_scene_is_bit_exact(size):
    assert render(load_model(), load_cameras().camera(0, size)).samples > 8 * size**2
