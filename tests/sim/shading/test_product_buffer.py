"""The simulator's product buffer against the RTL's, cycle for cycle."""

import pytest

from cosim.unit import STALLS, run, shared
from rtl.shading.product_buffer import ProductBuffer
from sim.parts.streams import PRODUCTS, SAMPLE, new
from sim.shading import product_buffer
from tests.rtl.shading.test_product_buffer import CFG, WIDE, make_tiles, transfers_in
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import MORE_STALLS, watched


@pytest.mark.parametrize("cfg", [CFG, WIDE])
@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
def test_every_transfer_comes_in_the_same_cycle(stalls, cfg):
    samples, vectors, rays, means = make_tiles(stalls, 8, most=30)
    vectors = transfers_in(cfg, vectors)
    counts = {"o_sample": len(rays), "o_vector": len(means)}
    hardware = run(
        shared(ProductBuffer, cfg), {"i_sample": samples, "i_vector": vectors}, counts, stalls=stalls, seed=1
    )
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        state = product_buffer.new(cfg)
        i_sample, i_vector, o_sample, o_vector = new(SAMPLE), new(PRODUCTS), new(SAMPLE), new(PRODUCTS)
        streams = i_sample, i_vector, o_sample, o_vector
        cycles, payloads = replay(
            lambda now, state=state, streams=streams: product_buffer.step(now, state, *streams),
            {
                "i_sample": (i_sample, [(s["pixel"], 0, 0, 0, s["weight"], s["last"]) for s in samples]),
                "i_vector": (i_vector, range(len(vectors))),
            },
            {"o_sample": (o_sample, counts["o_sample"]), "o_vector": (o_vector, counts["o_vector"])},
            offer=watched(activity, state),
            stalls=stalls,
            seed=1,
            skip=skip,
        )
        assert [(ray[0], ray[4]) for ray in payloads["o_sample"] if not ray[-1]] == [
            (ray["pixel"], ray["weight"]) for ray in rays if not ray["last"]
        ]
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]
