"""Estimates beside what was synthesised, and what grows with what."""

from dataclasses import replace

import pytest

from nerf.contract.config import load_config
from rtnerf.physical.estimate import estimated_synthesis
from rtnerf.physical.kept import kept_synthesis

TINY = load_config("tiny")


@pytest.mark.parametrize("name", ["tiny", "edge-deferred"])
def test_at_its_ends_an_estimate_is_what_was_synthesised(name):
    config = load_config(name)
    found, kept = estimated_synthesis(config), kept_synthesis(config)
    assert found.area_mm2 == pytest.approx(kept.area_mm2, rel=1e-3)
    assert found.library == kept.library
    assert found.source.startswith("estimated")
    assert not kept.source.startswith("estimated")
    for unit, its in found.units.items():
        assert its.flip_flops == kept.units[unit].flip_flops, unit
        assert its.operations == kept.units[unit].operations, unit
        sizes, others = (
            sorted((memory.words, memory.bits) for memory in one.memories) for one in (its, kept.units[unit])
        )
        # Yosys drops bits that never change.
        for (words, bits), (kept_words, kept_bits) in zip(sizes, others, strict=True):
            assert words == kept_words, unit
            assert kept_bits <= bits <= kept_bits + 3, unit
    lanes = found.units["sample_generator.lane_0"].instances
    assert lanes == sum("lane_" in unit for unit in kept.units)


def test_what_there_is_more_of_takes_more():
    area = estimated_synthesis(TINY).area_mm2
    for field, value in {"mlp_batch": 2, "ray_units": 2, "sample_lanes": 2, "sample_queue": 1024, "tile": 64}.items():
        more = estimated_synthesis(replace(TINY, **{field: value}))
        assert more.area_mm2 > area, field
    one, two = (estimated_synthesis(replace(TINY, mlp_batch=batch)) for batch in (1, 2))
    assert two.units["mlp_engine.sample_0"].instances == 2 * one.units["mlp_engine.sample_0"].instances


def test_of_other_networks_nothing_is_known():
    assert estimated_synthesis(replace(TINY, features=26)) is None
