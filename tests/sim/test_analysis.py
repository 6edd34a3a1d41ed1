"""What a frame makes the hardware do, against counts from the integer model and by hand."""

import pytest

from nerf.contract.activity import Accesses
from nerf.contract.config import AcceleratorConfig, load_config
from nerf.contract.memory import MEMORY_TIMINGS
from nerf.golden.frame import render_frame
from nerf.prepared import Prepared
from sim.analysis import activity_of, network_passes
from sim.simulate import simulate
from tests.golden.models import look_at, small_model

SMALL = AcceleratorConfig(
    tile=4, mlp_lanes=128, mlp_batch=4, ray_units=4, sample_lanes=2, sample_queue=4, payload_queue=32
)


@pytest.fixture(scope="module")
def frame():
    # Without termination every sample that is generated is composited. 10 x 5 pixels in tiles of 4 x 4: 3 x 2 of them.
    job = Prepared(small_model(), SMALL)
    view = job.view(look_at((2.2, 1.0, 0.8), width=10, height=5, focal=13), termination=0.0)
    return simulate(job.decoded, view, SMALL, MEMORY_TIMINGS["ideal"], record=True), render_frame(job.decoded, view)


def test_transfers_are_counted_whether_or_not_they_are_kept(frame):
    found, _ = frame
    assert found.moved == {name: len(cycles) for name, cycles in found.transfers.items()}
    assert found.tiles == 6


def test_passes_are_those_of_the_integer_model(frame):
    found, golden = frame
    activity = activity_of(found)
    samples, shaded = len(golden.samples), len(golden.shaded)
    assert 0 < shaded < samples
    assert activity.passes_of("density") == activity.passes_of("density_interpolator") == samples
    assert activity.passes_of("compositor") == samples
    assert activity.passes_of("appearance_interpolator") == 3 * shaded
    assert activity.passes_of("tile_buffer") == shaded
    assert activity.passes_of("ray_setup.unit") == 25 * 50
    # Of everything else: its busy cycles.
    assert activity.passes_of("projector") == found.activity["projector"]["busy"]
    assert activity.passes_of("top") == 0


def test_accesses_of_memories(frame):
    found, golden = frame
    activity = activity_of(found)
    samples, shaded = len(golden.samples), len(golden.shaded)
    accesses = activity.accesses
    # A sample reads four corners of three planes, and two of three lines; a visible one those of three groups.
    assert accesses["density_buffer.plane_*"].reads == 12 * samples
    assert accesses["appearance_buffer.line_*"].reads == 6 * 3 * shaded
    assert accesses["compositor.transmittance*"] == Accesses(samples + 50, samples + 50)
    assert accesses["tile_buffer.colours*"] == Accesses(shaded + 50, shaded + 50)
    # A batch of four reads a row of weights a cycle; 128 lanes take a hidden layer of 150 or 128 inputs in one pass.
    assert accesses["mlp_engine.hidden.weights"].reads == -(-shaded // 4) * 278
    assert activity.pattern_of("mlp_engine.sample.products$91") == "mlp_engine.sample.products*"
    assert activity.pattern_of("cube_list.counts") is None
    # Every vector that the decoder puts out is written once.
    writes = sum(count.writes for name, count in accesses.items() if "_buffer.plane" in name or "_buffer.line" in name)
    assert writes == pytest.approx(found.activity["hybrid_decoder"]["busy"])


def test_the_network_s_multiplications_are_its_own():
    tiny = load_config("tiny")
    lanes = sum(stage.lanes for stage in tiny.stages)
    # 144 x 27, 150 x 128, 128 x 128 and 128 x 3 multiplications.
    assert network_passes(tiny) * lanes == 3888 + 19200 + 16384 + 384
