"""The simulator's hybrid decoder with its tree against the RTL's, cycle for cycle."""

import random

import numpy as np
import pytest

from cosim.unit import run, shared
from nerf.contract.blocks import Form, encode
from sim.factors import hybrid_decoder, tree_server
from sim.parts.streams import DECODE_JOB, READ_BEAT, TREE_REQUEST, TREE_RESPONSE, VECTOR, new
from tests.rtl.factors.test_hybrid_decoder import Harness, block, build, edge_blocks, random_blocks
from tests.sim.replay import replay

DECODER = 1
"""Number of the decoder at the tree."""


def simulate(jobs, beats, stalls, seed, skip, parts):
    decoder, server = hybrid_decoder.new(parts), tree_server.new()
    i_job, i_payload, vector = new(DECODE_JOB), new(READ_BEAT), new(VECTOR)
    requests, responses = np.zeros(3, TREE_REQUEST), np.zeros(3, TREE_RESPONSE)
    image = np.frombuffer(b"".join(int(beat["data"]).to_bytes(16, "little") for beat in beats), np.uint8)
    image = np.append(image, np.zeros(16, np.uint8))

    def offer(now):
        tree_server.offer_all(now, server, responses)
        hybrid_decoder.offer(now, decoder, vector)

    def step(now):
        served = tree_server.step(now, server, requests, responses)
        request, response = requests[DECODER], responses[DECODER]
        return min(served, hybrid_decoder.step(now, decoder, i_job, i_payload, request, response, image))

    return replay(
        step,
        {
            "i_job": (
                i_job,
                [
                    (job["appearance"], *job["to"].values(), job["form"], job["mask"], job["count"], job["skip"])
                    for job in jobs
                ],
            ),
            "i_payload": (i_payload, [(0, 16 * index, beat["last"]) for index, beat in enumerate(beats)]),
        },
        {"o": (vector, 16 * len(jobs))},
        stalls=stalls,
        seed=seed,
        offer=offer,
        skip=skip,
    )


def check(blocks, noise, stalls, seed=0, skips=None, parts=1):
    jobs, beats, _ = build(blocks, noise, skips)
    hardware = run(
        shared(Harness, parts),
        {"i_job": jobs, "i_payload": beats},
        {"o": 16 * len(jobs)},
        stalls=stalls,
        seed=seed,
        watchdog=50_000,
    )
    expected = [(entry.vector.appearance, entry.vector.block_last) for entry in hardware.outputs["o"]]
    for skip in (False, True):
        cycles, payloads = simulate(jobs, beats, stalls, seed, skip, parts)
        assert payloads["o"] == expected
        assert cycles == hardware.cycles


@pytest.mark.parametrize("parts", [1, 2, 16])
@pytest.mark.parametrize("source", [1.0, 0.7, 0.3, 0.1])
def test_blocks_of_every_form(source, parts):
    noise = np.random.default_rng(random.Random(source).getrandbits(32))
    check([*edge_blocks(noise), *random_blocks(noise, 14)], noise, (source, 1.0), seed=int(10 * source), parts=parts)


@pytest.mark.parametrize("skips", [0, 1])
def test_edge_blocks_at_both_alignments(skips):
    noise = np.random.default_rng(skips)
    check([*edge_blocks(noise)], noise, (1.0, 1.0), skips=skips)


@pytest.mark.parametrize("form", list(Form))
def test_blocks_of_one_form_on_end(form):
    noise = np.random.default_rng(form)
    density = 0.1 if form == Form.COORDINATE else 0.5
    check([encode(block(noise, density, 0.7), form) for _ in range(10)], noise, (1.0, 1.0))
