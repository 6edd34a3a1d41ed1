"""The whole simulator: what it skips, what it adds up, what it repeats."""

import numpy as np
import pytest

from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.memory import MEMORY_TIMINGS, MemoryTiming, place
from nerf.contract.registers import LIST_ENTRY_BYTES
from nerf.golden.frame import render_frame
from nerf.golden.occupancy_walker import walk
from nerf.golden.projector import project
from nerf.prepared import Prepared
from sim.ablation import ORDERINGS, with_ordering
from sim.clock import new_clock, settle_all
from sim.frame import new_frame
from sim.machine import run
from sim.memory import memory
from sim.memory.dram import Dram
from sim.samples import marches
from sim.simulate import Values, simulate, simulate_all
from sim.wiring import PROBES, new_blocks, new_wires
from tests.golden.models import EDGE_CASES, look_at, small_model

SMALL = AcceleratorConfig(
    tile=4, mlp_lanes=128, mlp_batch=4, ray_units=4, sample_lanes=2, sample_queue=4, payload_queue=32
)


def scene_and_view(config=SMALL, **view):
    job = Prepared(small_model(), config)
    return job.decoded, job.view(look_at((2.2, 1.0, 0.8), width=10, height=5, focal=13), **view)


@pytest.fixture(scope="module")
def small():
    return scene_and_view()


def every_cycle(decoded, view, timing):
    """Step every block in every cycle."""
    blocks = new_blocks(SMALL, memory.new(timing), place(1 << 20, view, SMALL), view)
    wires, clock = new_wires(), new_clock(True)
    frame = new_frame(decoded, view, SMALL, Values(decoded, view).marches)
    everyone, entries = int(clock["following"]), []
    now = run(0, 1, blocks, wires, frame, clock)
    settle_all(clock, now)
    clock["spent"] = 0
    while not wires["finished"]["set"]:
        clock["following"] = everyone
        now = run(now, now + 1, blocks, wires, frame, clock)
        entries += clock["trace"]["entries"][: clock["trace"]["count"]].tolist()
        clock["trace"]["count"] = 0
    settle_all(clock, now)
    return now - 1, np.array(entries), clock["spent"].copy()


@pytest.mark.parametrize("timing", [MEMORY_TIMINGS["slow"], MemoryTiming(pause=128 / 256, seed=9)])
def test_what_is_skipped_changes_nothing(small, timing):
    cycles, entries, spent = every_cycle(*small, timing)
    quick = simulate(*small, SMALL, timing, record=True)
    assert quick.cycles == cycles
    for index, name in enumerate(PROBES):
        assert np.array_equal(quick.transfers[name], entries[entries[:, 1] == index, 0]), name
    assert [list(row.values()) for row in quick.activity.values()] == spent.tolist()
    if not timing.pause:
        assert quick.steps < 0.7 * cycles


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("timing", [MEMORY_TIMINGS["ideal"], Dram()])
def test_cycles_bytes_and_samples_add_up(small, timing, uniform):
    decoded, view = small
    result = simulate(decoded, view, SMALL, timing, uniform=uniform, record=True)
    for name, row in result.activity.items():
        assert sum(row.values()) == result.cycles, name
    assert np.array_equal(result.windows.sum(axis=0), [list(row.values()) for row in result.activity.values()])
    golden = render_frame(decoded, view)
    assert (result.samples, result.shaded) == (len(golden.samples), len(golden.shaded))
    cubes = [] if uniform else [cube[:3] for cube in walk(decoded.scene, tuple(view.vector("start_cube").tolist()))]
    rectangles = [rectangle for rectangle in (project(cube, view) for cube in cubes) if rectangle]
    assert len(result.transfers["footprints"]) == (0 if uniform else len(rectangles) + 1)
    entries = sum(last_y // SMALL.tile - first_y // SMALL.tile + 1 for _, first_y, _, last_y in rectangles)
    assert entries > len(rectangles) or uniform
    assert result.written_bytes == 8 * view.window_width * view.window_height + LIST_ENTRY_BYTES * entries
    # Each tile of a row reads the list of the row.
    columns = -(-view.window_width // SMALL.tile)
    assert result.read_bytes["cube_list"] == columns * LIST_ENTRY_BYTES * entries
    assert result.read_bytes["tables"] >= 16 * decoded.scene.tables_beats
    if isinstance(timing, Dram):
        assert sum(result.rows.values()) > 0


def test_a_frame_of_nothing_ends():
    factory, arguments, camera = EDGE_CASES["all rays miss"]
    job = Prepared(factory(**arguments), SMALL)
    result = simulate(job.decoded, job.view(camera), SMALL)
    assert (result.samples, result.shaded) == (0, 0)


def test_repeats_bit_for_bit_and_stops_where_told(small):
    first, second = (simulate(*small, SMALL, record=True) for _ in range(2))
    assert first.cycles == second.cycles
    assert all(np.array_equal(first.transfers[name], second.transfers[name]) for name in PROBES)
    part = simulate(*small, SMALL, record=True, end=first.cycles // 2)
    assert part.cycles == first.cycles // 2 - 1
    samples = first.transfers["samples"]
    assert np.array_equal(part.transfers["samples"], samples[samples < first.cycles // 2])


@pytest.mark.parametrize("uniform", [False, True])
def test_values_at_hand_change_nothing(small, uniform, monkeypatch):
    """Frames of another configuration have looked up others of them, in another order, and made room twice."""
    decoded, view = small
    monkeypatch.setattr(marches, "LEAST_POINTS", 0)
    values = Values(decoded, view)
    room = len(values.marches.points)
    with_few_lanes = AcceleratorConfig(tile=8, mlp_lanes=128, sample_queue=16)
    for config in (with_few_lanes, SMALL, with_few_lanes):
        alone, shared = (
            simulate(decoded, view, config, uniform=uniform, record=True, **more) for more in ({}, {"values": values})
        )
        assert alone.activity == shared.activity
        assert (alone.samples, alone.shaded) == (shared.samples, shared.shaded)
        assert all(np.array_equal(alone.transfers[name], shared.transfers[name]) for name in PROBES)
    assert uniform or 0 < values.marches.used[0] <= len(values.marches.points)
    assert uniform or len(values.marches.points) > room


def test_frames_are_the_same_for_any_number_of_workers(small):
    decoded, view = small
    views = [view, scene_and_view(termination=0.5)[1], with_ordering(view, decoded.scene, "none")]
    alone, *others = (
        simulate_all(decoded, views, SMALL, workers, timing=Dram(), record=True) for workers in (1, 2, 3)
    )  # fmt: skip
    assert len({frame.cycles for frame in alone}) == 3
    for together in others:
        for one, other in zip(alone, together, strict=True):
            assert one.activity == other.activity
            assert all(np.array_equal(one.transfers[name], other.transfers[name]) for name in PROBES)


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_told_up_to_the_end_of_the_last_frame(small, workers):
    decoded, view = small
    told = []
    simulate_all(decoded, [view, view], SMALL, workers, lambda *so_far: told.append(so_far))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {2 * view.window_width * view.window_height if workers == 1 else 2}
    assert told[-1][0] == told[-1][1]


def test_wider_is_faster_and_slower_memory_slower(small):
    cycles = {name: simulate(*small, SMALL, timing).cycles for name, timing in MEMORY_TIMINGS.items()}
    assert cycles["ideal"] < cycles["default"] < cycles["slow"]
    edge = load_config("edge")
    assert simulate(*scene_and_view(edge), edge).cycles < cycles["default"]


def test_the_report_adds_up(small):
    decoded, view = small
    result = simulate(decoded, view, SMALL, Dram())
    table = result.units
    for name, row in table.items():
        assert row["busy_cycles"] + row["idle_cycles"] + sum(row["stall_cycles"].values()) == result.cycles, name
    assert "uniform_sampler" not in table
    assert result.bottleneck in table
    roof = result.roofline
    assert 0 < roof["macs_per_cycle"] < min(roof["compute_roof_macs_per_cycle"], roof["memory_roof_macs_per_cycle"])
    events = result.timeline()["traceEvents"]
    for event in events:
        assert event["ph"] in "MXC"
        assert event.get("ts", 0) + event.get("dur", 0) <= (result.cycles + 1) * 1e-3 + 1e-9
    busy = sum(event["dur"] for event in events if event["ph"] == "X")
    assert busy > 0


def test_other_orders_visit_the_same_cubes():
    decoded, view = scene_and_view()
    visits = {}
    for ordering in ORDERINGS:
        other = with_ordering(view, decoded.scene, ordering)
        visits[ordering] = len(simulate(decoded, other, SMALL, record=True).transfers["visits"])
    assert len(set(visits.values())) == 1
