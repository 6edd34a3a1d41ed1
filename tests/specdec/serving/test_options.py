"""What servers of today do besides: prompts in parts or read elsewhere, prefixes held once, a host that overlaps."""

import dataclasses

import pytest

from rtnerf.base.errors import InputError
from specdec.serving.controllers import controller
from specdec.serving.engine import simulate
from specdec.serving.workload import MILLISECOND, poisson
from tests.specdec.serving.test_serving import REQUESTS, SERVER, SMALL, alone, workload


def test_a_prompt_read_in_parts_takes_the_steps_that_it_fills():
    server = dataclasses.replace(alone(), chunked=True, prefill_tokens=40)
    outcome = simulate(server, controller("off"), workload([0], 100, 3), 0)
    assert outcome.first[0] == 30 * MILLISECOND
    assert outcome.finish[0] == 50 * MILLISECOND


def test_a_long_prompt_read_in_parts_does_not_hold_up_the_others():
    """What chunked prefill is for (arXiv 2403.02310): nobody waits for a whole prompt of another."""
    load = workload([0, 50 * MILLISECOND], [10, 900], [40, 2])
    whole, parts = (
        simulate(dataclasses.replace(SERVER, prefill_tokens=100, chunked=chunked), controller("off"), load, 0)
        for chunked in (False, True)
    )
    assert parts.finish[0] < whole.finish[0]
    assert parts.first[1] > whole.first[1]


def test_what_all_prompts_begin_with_is_read_and_held_once():
    load = workload([0, 0], 100, 2)
    once, twice = (
        simulate(dataclasses.replace(SERVER, prefix=prefix), controller("off"), load, 0) for prefix in (90, 0)
    )
    # Five whole blocks of 16; two of each request's seven are its own.
    assert (once.peak, twice.peak) == (4, 14)
    assert once.first[0] == pytest.approx((SERVER.host_ms + SERVER.target(0).ms(1, 40)) * MILLISECOND, rel=1e-6)
    with pytest.raises(InputError, match="prefix must be below the 1280 tokens of the cache, not 1300"):
        dataclasses.replace(SMALL, prefix=1300, max_length=2048)


def test_an_overlapped_host_hides_behind_the_machine():
    load = workload([0], 10, 3)
    slow, hidden, bound = (
        simulate(dataclasses.replace(alone(), host_ms=host, overlap=overlap), controller("off"), load, 0).finish[0]
        for host, overlap in ((4.0, False), (4.0, True), (12.0, True))
    )
    assert (slow, hidden, bound) == (42 * MILLISECOND, 30 * MILLISECOND, 36 * MILLISECOND)


def test_machines_that_only_read_leave_decoding_alone():
    """What disaggregation is for (arXiv 2401.09670): a long prompt of another delays no token."""
    server = dataclasses.replace(alone(max_batch=2), readers=1, transfer_us=50.0)
    load = workload([0, 0, 25 * MILLISECOND], [100, 60, 40], [1, 3, 2])
    outcome = simulate(server, controller("off"), load, 0)
    # Read one after the other; the first has all it wants once it is brought, the others take steps.
    assert (outcome.first / MILLISECOND).tolist() == [10, 20, 35]
    assert (outcome.finish / MILLISECOND).tolist() == [15, 43, 53]
    two = simulate(dataclasses.replace(server, readers=2), controller("off"), load, 0)
    assert (two.first / MILLISECOND).tolist() == [10, 10, 35]
    # The shorter prompt is brought first.
    assert (two.finish / MILLISECOND).tolist() == [23, 33, 47]


def test_decoding_elsewhere_than_reading_loses_no_token():
    server = dataclasses.replace(SMALL, readers=2, transfer_us=100.0)
    load = poisson(30, 2000, REQUESTS, 4)
    outcome = simulate(server, controller("off"), load, 0)
    assert outcome.preemptions > 0
    assert outcome.by_rung.sum() + len(load) + outcome.preemptions == load.output.sum()
    assert (outcome.finish >= outcome.first).all()
