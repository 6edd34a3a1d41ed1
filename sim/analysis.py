"""From a simulated frame to its activity: what its transfers make each unit and each memory do."""

from __future__ import annotations

from nerf.contract.activity import Accesses, Activity
from nerf.contract.config import AcceleratorConfig
from nerf.contract.network import Stage
from nerf.contract.scene_image import BEAT, PAIRS
from sim.result import Simulation

RAY_PRODUCTS = 25
"""Of a ray, on the one multiplier of its unit."""
PLANE_BANKS, LINE_BANKS = 4 * len(PAIRS), 2 * len(PAIRS)
"""Of a cube buffer: all are read at a time."""
UNIT_OF_BLOCK = {
    "controller": "frame_controller",
    "ray_buffer": "ray_setup",
    "density_buffer": "density_interpolator",
    "appearance_buffer": "appearance_interpolator",
}
"""Units of the RTL whose work the simulator counts under another block."""


def activity_of(frame: Simulation) -> Activity:
    """Return the activity of a frame.

    Passes are transfers, counted one by one, times what a transfer takes: a sample one pass through the density units
    of its lane for each group of components, a visible sample likewise, a shaded sample its multiplications over the
    network's lanes. Units that work on one thing for several cycles have a pass in each busy cycle, which is an upper
    bound.
    """
    busy = {name: spent["busy"] for name, spent in frame.activity.items()}
    busy |= {unit: busy[block] for unit, block in UNIT_OF_BLOCK.items()}
    samples = frame.generated
    # The end of a tile passes like a sample, and is none.
    visible = max(frame.moved["visible"] - frame.tiles, 0)
    groups, lanes, parts = frame.config.groups, frame.config.density_lanes, frame.config.vector_parts
    passes = {
        "ray_setup.unit": RAY_PRODUCTS * frame.moved["rays"],
        "sample_generator.lane": samples,
        "density_interpolator": parts * groups["density"] * samples / lanes,
        "density": samples / lanes,
        "compositor": frame.samples / lanes,
        "appearance_interpolator": parts * frame.config.appearance_transfers * visible,
        "mlp_engine.sample": frame.shaded * network_passes(frame.config),
        "tile_buffer": frame.shaded,
    }
    return Activity(
        cycles=frame.cycles,
        busy=busy,
        passes=passes,
        accesses=_accesses(frame, samples, visible, busy),
        read_bytes=sum(frame.read_bytes.values()),
        written_bytes=frame.written_bytes,
    )


def network_passes(config: AcceleratorConfig) -> float:
    """Return how often each multiplier of a sample's lanes works for it, in the mean."""
    return config.network.multiply_accumulates / sum(stage.lanes for stage in config.stages)


def _accesses(frame: Simulation, samples: int, visible: int, busy: dict[str, int]) -> dict[str, Accesses]:
    """Return the accesses of memories; those of single blocks' queues stay with their busy cycles."""
    moved, groups, jobs = frame.moved, frame.config.groups, frame.shaded
    # Of a vector a part in a busy cycle of the decoder; how many are of density, by the blocks that were asked for.
    requests = max(moved["density_requests"] + moved["appearance_requests"], 1)
    vector_parts = busy["hybrid_decoder"]
    density_parts = vector_parts * moved["density_requests"] / requests
    banks, parts = PLANE_BANKS + LINE_BANKS, frame.config.vector_parts
    found = {}
    for name, reads, writes in (
        ("density", groups["density"] * samples, frame.config.density_lanes * density_parts),
        ("appearance", groups["appearance"] * visible, vector_parts - density_parts),
    ):
        found[f"{name}_buffer.plane_*"] = Accesses(PLANE_BANKS * parts * reads, writes * PLANE_BANKS / banks)
        found[f"{name}_buffer.line_*"] = Accesses(LINE_BANKS * parts * reads, writes * LINE_BANKS / banks)
    # Each pixel with a ray is read once; the others are put out unread.
    rays, written = moved["rays"], frame.written_bytes / BEAT
    return {
        **found,
        "density.alpha_table*": Accesses(samples, 0),
        "compositor.transmittance*": Accesses(samples + rays, frame.samples + rays),
        "compositor.flags*": Accesses(2 * samples, frame.samples + rays),
        "visible_samples.*": Accesses(visible, visible),
        "tile_buffer.colours*": Accesses(jobs + rays, jobs + rays),
        "ray_buffer.*": Accesses(3 * busy["sample_generator"], 3 * rays),
        "write_master.*": Accesses(written, written),
        **_of_network(frame.config, jobs),
    }


def _of_network(config: AcceleratorConfig, jobs: int) -> dict[str, Accesses]:
    """Return the accesses of the network's memories: weights a batch, activations a job."""
    batches = -(-jobs // config.mlp_batch)
    basis, hidden, last = config.stages
    first, second = (_rows(hidden, layer.number) for layer in hidden.layers)

    def tables(name: str, stage: Stage) -> dict[str, Accesses]:
        return {
            f"mlp_engine.{name}.weights": Accesses(batches * stage.rows, 0),
            f"mlp_engine.{name}.entries": Accesses(batches * stage.outputs, 0),
        }

    return {
        **tables("basis", basis),
        **tables("hidden", hidden),
        **tables("last", last),
        "mlp_engine.sigmoid": Accesses(3 * jobs, 0),
        "mlp_engine.sample.products*": Accesses(jobs * basis.rows, jobs * config.groups["appearance"]),
        "mlp_engine.sample.features": Accesses(jobs * first, jobs * basis.outputs),
        "mlp_engine.sample.sine_table": Accesses(jobs * first, 0),
        "mlp_engine.sample.first_hidden": Accesses(jobs * second, jobs * config.hidden),
        "mlp_engine.sample.second_hidden": Accesses(jobs * last.rows, jobs * config.hidden),
    }


def _rows(stage: Stage, layer: int) -> int:
    return sum(one.inputs for one in stage.passes if one.layer == layer)
