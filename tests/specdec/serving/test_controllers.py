"""The controllers: what they believe, what they choose, and what that is worth over a sweep of loads."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from rtnerf.base.errors import InputError
from specdec.cost import leviathan
from specdec.cost.pass_time import Constant, Linear
from specdec.cost.ranks import ranks_of_one
from specdec.serving.controllers import believed, choose, controller, step_time
from specdec.serving.engine import simulate
from specdec.serving.experiment import server_of
from specdec.serving.ladder import CLASSES, chains, trees
from specdec.serving.server import CONTEXTS, Server
from specdec.serving.sweep import Load, sweep
from specdec.serving.workload import Requests, closed_loop, poisson
from specdec.trees.shape import expected_tokens

AFFINE = Server(Linear((8.0, 0.0, 0.05, 1e-4)).at, lambda _: Constant(0.8), max_batch=256, max_length=1024)


# ---- Ladders ----


def test_chains_gain_what_leviathan_says():
    ladder = chains(6)
    for length, acceptance in [(0, 0.3), (1, 0.5), (4, 0.7), (6, 0.95), (6, 1.0)]:
        expected = leviathan.expected_tokens(acceptance, length)
        assert ladder.expected[length, round(acceptance * 1000)] == pytest.approx(expected)


def test_trees_gain_what_their_shapes_say():
    ladder = trees()
    assert ladder.nodes.tolist() == [1, 2, 4, 8, 16, 32, 64]
    for acceptance in (0.2, 0.7, 0.9):
        for rung, shape in enumerate(ladder.shapes):
            expected = expected_tokens(shape, ranks_of_one(acceptance))
            assert ladder.expected[rung, round(acceptance * 1000)] == pytest.approx(expected)


@pytest.mark.parametrize("ladder", [chains(8), trees()], ids=["chains", "trees"])
def test_deeper_is_never_likelier(ladder):
    assert (np.diff(ladder.survival, axis=2) <= 1e-12).all()
    assert (ladder.survival <= 1 + 1e-12).all()
    assert (np.diff(ladder.expected, axis=1) >= 0).all()


# ---- Beliefs ----


def test_what_is_believed_is_what_explains_the_average():
    expected = chains(8).expected
    for rung in (1, 4, 8):
        for acceptance in (0, 1, 437, 700, 999, 1000):
            assert believed(expected[rung, acceptance], rung, expected) == acceptance
    halfway = (0.4 * expected[2, 600] + 0.6 * expected[2, 601], 0.6 * expected[2, 600] + 0.4 * expected[2, 601])
    assert [believed(average, 2, expected) for average in halfway] == [601, 600]
    assert believed(0.5, 2, expected) == 0
    assert believed(99.0, 2, expected) == CLASSES - 1


def test_step_times_are_interpolated_by_the_mean_context():
    table = AFFINE.decoding_ms(chains(2))
    assert table.shape == (3, 257, CONTEXTS)
    for rung, batch, context in [(0, 1, 0), (2, 7, 300), (1, 256, 1024)]:
        expected = AFFINE.target(context).ms(batch, rung + 1) + 0.8 * rung
        assert step_time(table, rung, batch, batch * context, 1024) == pytest.approx(expected)


def test_regressions_are_exact_where_passes_are_linear():
    ladder = chains(4)
    server = dataclasses.replace(AFFINE, draft=Linear((0.5, 0.01, 0.002, 1e-5)).at, host_ms=0.2, max_batch=32)
    np.testing.assert_allclose(server.regressed(ladder).decoding_ms(ladder), server.decoding_ms(ladder), rtol=1e-6)


def test_regressions_see_no_tiles():
    ladder, server = chains(3), server_of(max_batch=64)
    true, fitted = (one.decoding_ms(ladder)[:, 1:] for one in (server, server.regressed(ladder)))
    assert (np.diff(fitted, axis=1) > 0).all()
    assert not (np.diff(true, axis=1) > 1e-3).all()
    assert np.median(np.abs(fitted / true - 1)) < 0.06


def test_speculation_that_is_loaded_costs_its_tax_whether_it_is_used_or_not():
    taxed = dataclasses.replace(AFFINE, tax_ms=0.5, tax_request_ms=0.05)
    off, ladder = controller("off").ladder, chains(3)
    np.testing.assert_array_equal(taxed.decoding_ms(off), AFFINE.decoding_ms(off))
    more = taxed.decoding_ms(ladder) - AFFINE.decoding_ms(ladder)
    assert more[:, 1:] == pytest.approx(np.broadcast_to(0.5 + 0.05 * np.arange(1, 257)[:, None], more[:, 1:].shape))
    with pytest.raises(InputError, match="tax-ms must be at least 0, not -1"):
        dataclasses.replace(AFFINE, tax_ms=-1)


def test_measured_passes_are_of_their_context(tmp_path):
    rows = [(b, t, c, 8 + 0.02 * b * t + 1e-4 * b * c) for b in (1, 8, 64) for t in (1, 4) for c in (0, 1000)]
    path = tmp_path / "passes.csv"
    path.write_text("batch,tokens,context,ms\n" + "".join(f"{b},{t},{c},{ms}\n" for b, t, c, ms in rows))
    server = server_of(step_times=path)
    assert server.target(1000).ms(64, 4) - server.target(0).ms(64, 4) == pytest.approx(6.4, rel=1e-3)


# ---- Choices ----


def chosen(expected, predicted, batch=1, context=0, cache=10**6, preference=1.0, exhaustive=False):
    """Choose with one class of acceptance and times that depend on the rung alone."""
    expected = np.array(expected, float)[:, None]
    table = np.broadcast_to(np.array(predicted, float)[:, None, None], (len(predicted), batch + 1, 2)).copy()
    nodes = np.arange(1, len(expected) + 1)
    return choose(batch, context, 1000, cache, 0, nodes, expected, table, preference, exhaustive)


def test_the_greatest_goodput_is_chosen():
    assert chosen([1, 1.7, 2.2, 2.5], [10, 11, 12, 14]) == 2
    assert chosen([1, 1.7, 2.2, 2.5], [10, 20, 30, 40]) == 0


def test_the_search_stops_at_the_first_decrease():
    assert chosen([1, 1.1, 3.0], [10, 12, 13]) == 0
    assert chosen([1, 1.5, 1.6, 9.0], [10, 11, 12, 13]) == 1
    assert chosen([1, 1.1, 3.0], [10, 12, 13], exhaustive=True) == 2


def test_no_speculation_can_be_preferred():
    assert chosen([1, 1.05], [10, 10]) == 1
    assert chosen([1, 1.05], [10, 10], preference=1.1) == 0


def test_what_does_not_fit_in_memory_is_not_chosen():
    times = [1, 2, 3, 4], [10, 10, 10, 10]
    assert chosen(*times, batch=4, context=84, cache=100) == 3
    assert chosen(*times, batch=4, context=88, cache=100) == 2
    assert chosen(*times, batch=4, context=99, cache=100) == 0


@pytest.mark.parametrize("ladder", [chains(8), trees()], ids=["chains", "trees"])
def test_the_choice_falls_with_load_to_none_and_rises_with_acceptance(ladder):
    server = dataclasses.replace(AFFINE, cache_tokens=10**6)
    predicted = server.decoding_ms(ladder)
    choices = np.array([
        [choose(batch, 100 * batch, 1024, 10**6, acceptance, ladder.nodes, ladder.expected, predicted, 1.0, False)
         for batch in range(1, 257)]
        for acceptance in (300, 500, 700, 900)
    ])  # fmt: skip
    assert (np.diff(choices, axis=1) <= 0).all()
    assert (np.diff(choices, axis=0) >= 0).all()
    assert choices[0, -1] == 0
    assert choices[0, 0] > 0


@pytest.mark.parametrize("prior", [0.1, 0.95])
def test_a_wrong_prior_is_unlearnt(prior):
    acceptance, cost = 0.8, 0.1
    best = leviathan.best_length(acceptance, cost, 8)
    server = Server(lambda _: Constant(10.0), lambda _: Constant(1.0), max_batch=4)
    rule = dataclasses.replace(controller("smartspec"), prior=prior)
    load = closed_loop(1, 2000, Requests(16, 64, acceptance, 0), 0)
    drafted = simulate(server, rule, load, 0).by_rung
    assert drafted.argmax() == pytest.approx(best, abs=1)
    assert drafted[best - 1 : best + 2].sum() > 0.8 * drafted.sum()


def test_controllers_have_their_rungs_beliefs_and_search():
    found = {name: controller(name) for name in ("off", "fixed:3", "smartspec", "smartspec:profile", "tree")}
    assert [rule.ladder.nodes.tolist() for rule in found.values()] == [
        [1], [4], list(range(1, 10)), list(range(1, 10)), [1, 2, 4, 8, 16, 32, 64]
    ]  # fmt: skip
    assert [name for name, rule in found.items() if rule.regression] == ["smartspec"]
    assert [name for name, rule in found.items() if rule.exhaustive] == ["smartspec:profile"]
    server = server_of(max_batch=32)
    true = server.decoding_ms(found["smartspec"].ladder)
    assert (found["smartspec:profile"].predicted_ms(server) == true).all()
    assert (found["smartspec"].predicted_ms(server)[:, 1:] != true[:, 1:]).all()


@pytest.mark.parametrize("text", ["", "on", "fixed", "fixed:", "fixed:0", "fixed:65", "fixed:-1", "off:1", "tree:8"])
def test_an_unknown_controller_is_refused(text):
    rule = "off, fixed:K with K from 1 to 64, smartspec, smartspec:profile or tree"
    with pytest.raises(InputError) as raised:
        controller(text)
    assert str(raised.value) == f"controller must be {rule}, not {text}"


def test_numbers_of_a_controller_are_checked():
    with pytest.raises(InputError, match=r"^interval must be at least 1, not 0$"):
        dataclasses.replace(controller("smartspec"), interval=0)
    with pytest.raises(InputError, match=r"^prior must be in \[0, 1\], not 2$"):
        dataclasses.replace(controller("smartspec"), prior=2)


# ---- The bounds over load ----


@pytest.mark.parametrize("acceptance", [pytest.param(0.55, marks=pytest.mark.full), 0.85])
def test_smartspec_is_as_good_as_the_best_fixed_length_at_every_load(acceptance):
    """Where passes are as its regressions have them; tiles are for the profile below."""
    server = dataclasses.replace(AFFINE, max_batch=128, max_length=2048)
    rates = np.geomspace(0.5, 40, 12)
    loads = [Load(rate, partial(poisson, rate, 4000, Requests(acceptance=acceptance), 0)) for rate in rates]
    names = ["smartspec", "off", *(f"fixed:{length}" for length in range(1, 8))]
    runs = sweep(server, [controller(name) for name in names], loads, seed=0)
    shape = len(names), len(rates)
    goodput = np.reshape([run["goodput_tokens_per_s"] for run in runs], shape)
    latency = np.reshape([run["latency_ms"]["mean"] for run in runs], shape)
    drafted = np.reshape([run["drafted"] for run in runs], shape)
    gain = np.reshape([run["latency_gain"] for run in runs], shape)

    assert (goodput[0] >= 0.99 * goodput[1:].max(axis=0)).all()
    assert (np.diff(drafted[0]) <= 0).all()
    # Below saturation every length delivers what arrives: the latency tells them apart.
    assert goodput[0].sum() >= 0.998 * goodput[1:].sum(axis=1).max()
    assert np.log(latency[0]).sum() < np.log(latency[1:]).sum(axis=1).min()
    assert (gain[0] > 1.2).all()


def test_the_profile_is_as_good_with_arrivals_and_a_tax():
    loads = [Load(rate, partial(poisson, rate, 3000, Requests(), 0)) for rate in (1, 8, 20, 40)]
    server = server_of(max_batch=128, tax_ms=0.5, tax_request_ms=0.05)
    names = ["smartspec:profile", *(f"fixed:{length}" for length in range(1, 7))]
    runs = sweep(server, [controller(name) for name in names], loads, seed=0)
    goodput = np.reshape([run["goodput_tokens_per_s"] for run in runs], (len(names), len(loads)))
    latency = np.reshape([run["latency_ms"]["mean"] for run in runs], (len(names), len(loads)))
    assert (goodput[0] >= 0.98 * goodput[1:].max(axis=0)).all()
    assert (latency[0] <= 1.02 * latency[1:].min(axis=0)).all()


def test_the_profile_is_as_good_as_the_best_fixed_length_where_tiles_make_dips():
    clients = (1, 5, 12, 27, 62, 128)
    loads = [Load(count, partial(closed_loop, count, 2000, Requests(), 0)) for count in clients]
    names = ["smartspec:profile", "off", *(f"fixed:{length}" for length in range(1, 8))]
    runs = sweep(server_of(max_batch=128), [controller(name) for name in names], loads, seed=0)
    goodput = np.reshape([run["goodput_tokens_per_s"] for run in runs], (len(names), len(clients)))
    assert (goodput[0] >= 0.98 * goodput[1:].max(axis=0)).all()
    assert goodput[0].sum() > goodput[1:].sum(axis=1).max()
