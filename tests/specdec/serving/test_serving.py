"""The engine: queueing theory, conservation, memory, and equality with the SimPy statement of the same rules."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest

import rtnerf
from rtnerf.base.errors import InputError
from specdec.cost.pass_time import Constant, Linear
from specdec.serving import engine, reference
from specdec.serving.controllers import controller
from specdec.serving.engine import simulate
from specdec.serving.outcome import Outcome
from specdec.serving.server import Server
from specdec.serving.sweep import Load, sweep
from specdec.serving.workload import MILLISECOND, SECOND, Requests, Workload, closed_loop, poisson, read_trace

SERVER = Server(
    target=Linear((8.0, 0.01, 0.06, 1e-4)).at,
    draft=Linear((0.5, 0.01, 0.002, 1e-5)).at,
    host_ms=0.3,
    max_batch=24,
    max_length=1024,
    cache_tokens=16384,
    prefill_tokens=300,
)
SMALL = dataclasses.replace(SERVER, cache_tokens=1280)
REQUESTS = Requests(prompt=60, output=40)


def alone(target_ms=10.0, draft_ms=0.0, max_batch=1):
    """A server whose passes always take as long, with one request at a time unless told otherwise."""
    return Server(lambda _: Constant(target_ms), lambda _: Constant(draft_ms), max_batch=max_batch)


def workload(arrival, prompt, output, acceptance=0.7):
    arrival = np.asarray(arrival, np.int64)
    full = [np.broadcast_to(np.asarray(value, np.int64), arrival.shape).copy() for value in (prompt, output)]
    return Workload(arrival, *full, np.full(len(arrival), acceptance))


# ---- Time ----


def test_a_request_alone_takes_a_prefill_and_a_step_for_each_further_token():
    outcome = simulate(alone(), controller("off"), workload([5 * SECOND], 10, 5), 0)
    assert outcome.first[0] - outcome.arrival[0] == 10 * MILLISECOND
    assert outcome.finish[0] - outcome.arrival[0] == 50 * MILLISECOND


def test_a_chain_that_is_always_accepted_gives_its_length_and_one_more_in_a_step():
    outcome = simulate(alone(draft_ms=1.0), controller("fixed:3"), workload([0], 10, 9, acceptance=1.0), 0)
    # A prefill of both models, and two steps of a target's and three of the draft's passes.
    assert outcome.finish[0] == (10 + 1 + 2 * (10 + 3)) * MILLISECOND


def test_a_step_takes_the_time_of_its_batch_and_context():
    outcome = simulate(SERVER, controller("off"), workload([0, 0], 100, 3), 0)
    prefill = SERVER.host_ms + SERVER.target(0).ms(1, 200)
    steps = [SERVER.host_ms + SERVER.target(context).ms(2, 1) for context in (100, 101)]
    assert outcome.finish == pytest.approx([(prefill + sum(steps)) * MILLISECOND] * 2, rel=1e-6)


def test_waiting_is_that_of_a_queue_with_constant_service():
    rate, service = 35.0, 0.020
    load = dataclasses.replace(poisson(rate, 200_000, REQUESTS, 1), output=np.full(200_000, 2))
    outcome = simulate(alone(), controller("off"), load, 0)
    busy = rate * service
    waited = (outcome.first - outcome.arrival).mean() / SECOND - 0.010
    assert waited == pytest.approx(busy * service / (2 * (1 - busy)), rel=0.03)
    assert outcome.summary()["utilisation"] == pytest.approx(busy, rel=0.01)


def test_waiting_is_that_of_pollaczek_and_khinchine():
    load = poisson(2.0, 200_000, Requests(prompt=10, output=30), 2)
    outcome = simulate(alone(), controller("off"), load, 0)
    service = load.output * 0.010
    rate = len(load) * SECOND / load.arrival[-1]
    expected = rate * np.square(service).mean() / (2 * (1 - rate * service.mean()))
    assert (outcome.first - outcome.arrival).mean() / SECOND - 0.010 == pytest.approx(expected, rel=0.05)


def test_clients_in_a_closed_loop_obey_littles_law():
    found = simulate(SERVER, controller("smartspec"), closed_loop(20, 4000, REQUESTS, 3), 0).summary()
    assert found["requests_per_s"] * found["latency_ms"]["mean"] / 1000 == pytest.approx(20, rel=0.01)
    assert found["utilisation"] == 1


# ---- Requests and memory ----


@pytest.mark.parametrize("server", [SERVER, SMALL], ids=["roomy", "tight"])
def test_no_token_is_lost_or_made_up(server):
    load = poisson(30, 2000, REQUESTS, 4)
    outcome = simulate(server, controller("off"), load, 0)
    # Each prefill gives a token, and each request's decoding step one more.
    prefills = len(load) + outcome.preemptions
    assert outcome.by_rung.sum() + prefills == load.output.sum()
    assert (outcome.first > outcome.arrival).all()
    assert (outcome.finish >= outcome.first).all()
    assert outcome.busy <= outcome.finish.max() - outcome.arrival[0]


def test_requests_are_admitted_in_the_order_of_their_arrival():
    outcome = simulate(SMALL, controller("fixed:2"), poisson(30, 2000, REQUESTS, 4), 0)
    assert outcome.preemptions > 0
    assert (np.diff(outcome.first) >= 0).all()


def test_memory_runs_out_and_is_never_exceeded():
    load = poisson(30, 2000, REQUESTS, 4)
    outcomes = {name: simulate(SMALL, controller(name), load, 0) for name in ("off", "fixed:8", "smartspec")}
    for outcome in outcomes.values():
        assert 0 < outcome.peak <= SMALL.blocks
        assert outcome.preemptions > 0
    # Requests that wait for their next token hold their memory longer.
    assert outcomes["smartspec"].preemptions < outcomes["off"].preemptions
    assert simulate(SERVER, controller("off"), load, 0).preemptions == 0


def test_a_request_that_can_never_fit_is_refused():
    rule = "prompt and output must be at most 1024 tokens, which the server can hold, not 1100"
    with pytest.raises(InputError, match=rule):
        simulate(SERVER, controller("off"), workload([0], 1000, 100), 0)


# ---- Two engines ----


@pytest.mark.parametrize("server", [SERVER, SMALL], ids=["roomy", "tight"])
@pytest.mark.parametrize("name", ["off", "fixed:3", "smartspec", "smartspec:profile", "tree"])
def test_the_compiled_engine_equals_simpy_exactly(server, name):
    for load in (
        poisson(30, 300, REQUESTS, 5),
        closed_loop(12, 300, REQUESTS, 5),
        # Many requests at once, and at the very moment when a step ends.
        workload(np.repeat(np.arange(40), 5) * 11 * MILLISECOND, 50, 30),
    ):
        fast, plain = (engine(server, controller(name), load, 6) for engine in (simulate, reference.simulate))
        for field in dataclasses.fields(fast):
            np.testing.assert_array_equal(getattr(fast, field.name), getattr(plain, field.name), field.name)


@pytest.mark.parametrize(
    "more",
    [
        {"prefix": 40},
        {"chunked": True},
        {"chunked": True, "prefill_tokens": 30, "prefix": 20, "overlap": True},
        {"readers": 1},
        {"readers": 3, "transfer_us": 700.0, "prefix": 20},
    ],
)
def test_both_engines_share_prefixes_and_read_in_parts_or_elsewhere(more):
    server = dataclasses.replace(SMALL, **more)
    for load in (poisson(30, 150, REQUESTS, 5), closed_loop(12, 150, REQUESTS, 5)):
        fast, plain = (engine(server, controller("smartspec"), load, 6) for engine in (simulate, reference.simulate))
        for field in dataclasses.fields(fast):
            np.testing.assert_array_equal(getattr(fast, field.name), getattr(plain, field.name), field.name)


def test_equal_seeds_give_equal_outcomes_and_others_do_not():
    outcomes = [simulate(SERVER, controller("smartspec"), poisson(10, 200, REQUESTS, 7), seed) for seed in (1, 1, 2)]
    assert outcomes[0].summary() == outcomes[1].summary()
    assert outcomes[0].summary() != outcomes[2].summary()


def test_the_summary_counts_what_its_names_say():
    times = [np.array(row) * MILLISECOND for row in ([0, 100], [50, 200], [450, 500])]
    outcome = Outcome(*times, np.array([9, 4]), np.array([1, 3]), np.array([1, 5]), 300 * MILLISECOND, 2, 7)
    found = outcome.summary()
    assert found["seconds"] == 0.5
    assert found["requests_per_s"] == 4
    assert found["goodput_tokens_per_s"] == 13 / 0.5
    assert found["throughput_tokens_per_s"] == (1 * 1 + 3 * 5 + 2) / 0.5
    assert found["latency_ms"] == {"mean": 425, "p50": 425, "p90": 445, "p99": pytest.approx(449.5), "max": 450}
    assert found["first_token_ms"]["mean"] == 75
    assert found["token_ms"]["mean"] == (450 / 9 + 400 / 4) / 2
    assert found["drafted"] == 3
    assert found["steps_by_verified_tokens"] == {"1": 1, "5": 3}
    assert found["requests_in_system"] == pytest.approx(0.85 / 0.5)
    assert found["utilisation"] == pytest.approx(0.6)
    assert (found["preemptions"], found["peak_cache_blocks"]) == (2, 7)


# ---- Workloads ----


def test_random_requests_have_the_moments_asked_for():
    load = poisson(20, 100_000, Requests(50, 80, 0.6, 0.15), 8)
    assert len(load) * SECOND / load.arrival[-1] == pytest.approx(20, rel=0.01)
    assert load.prompt.mean() == pytest.approx(50, rel=0.01)
    assert load.output.mean() == pytest.approx(80, rel=0.01)
    assert load.acceptance.mean() == pytest.approx(0.6, rel=0.01)
    assert load.acceptance.std() == pytest.approx(0.15, rel=0.02)


def test_another_rate_brings_the_same_requests_faster():
    slow, fast = poisson(1, 100, REQUESTS, 9), poisson(4, 100, REQUESTS, 9)
    np.testing.assert_array_equal(slow.output, fast.output)
    np.testing.assert_allclose(slow.arrival, 4 * fast.arrival, atol=4)


def test_a_trace_is_sorted_and_its_acceptance_may_be_drawn(tmp_path):
    (tmp_path / "trace.csv").write_text("arrival_s,prompt,output\n0.5,20,7\n0.25,10,5\n")
    load = read_trace(tmp_path / "trace.csv", Requests(deviation=0), 0)
    assert load.arrival.tolist() == [SECOND // 4, SECOND // 2]
    assert load.prompt.tolist() == [10, 20]
    assert load.output.tolist() == [5, 7]
    assert load.acceptance.tolist() == [0.7, 0.7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "trace must be a CSV file, not {} (an empty file)"),
        ("arrival_s,prompt,output\n", "trace must be a CSV file with a header and requests, not {}"),
        ("arrival_s,prompt,output\n0,5,0\n", "trace line 2: output must be a number from 1 to 1e+09, not 0"),
        ("arrival_s,prompt,output\n0,5,5\n1,x,5\n", "trace line 3: prompt must be a number from 1 to 1e+09, not x"),
        ("arrival_s,prompt\n0,5\n", "trace line 2: output must be a number from 1 to 1e+09, not None"),
        (
            "arrival_s,prompt,output,acceptance\n0,5,5,2\n",
            "trace line 2: acceptance must be a number from 0 to 1, not 2",
        ),
    ],
)
def test_a_bad_trace_is_named(tmp_path, text, message):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_trace(path, REQUESTS, 0)
    assert str(raised.value) == message.format(path)


def test_bad_requests_are_refused():
    with pytest.raises(InputError, match=r"^deviation must be at least 0 and below 0.5, not 0.5$"):
        Requests(acceptance=0.5, deviation=0.5)
    with pytest.raises(InputError, match=r"^rate must be above 0, not 0$"):
        poisson(0, 1, REQUESTS, 0)
    with pytest.raises(InputError, match=r"^rate must be so high that all requests come within 1e\+09 s, not 1e-09$"):
        poisson(1e-9, 10, REQUESTS, 0)


# ---- Sweeps and the command line ----


LOADS = [Load(rate, partial(poisson, rate, 100, REQUESTS, 0)) for rate in (5, 10)]
CONTROLLERS = [controller("off"), controller("smartspec")]


@pytest.fixture(scope="module")
def in_process():
    return sweep(SERVER, CONTROLLERS, LOADS, seed=3)


def test_a_sweep_serves_each_load_with_each_controller(in_process):
    assert [(run["controller"], run["load"]) for run in in_process] == [
        ("off", 5), ("off", 10), ("smartspec", 5), ("smartspec", 10)
    ]  # fmt: skip
    outcome = simulate(SERVER, controller("smartspec"), LOADS[1].make(), 3)
    assert in_process[3].items() >= outcome.summary().items()
    ratio = in_process[1]["latency_ms"]["mean"] / in_process[3]["latency_ms"]["mean"]
    assert in_process[3]["latency_gain"] == ratio > 1


def test_results_do_not_depend_on_the_workers(in_process):
    assert sweep(SERVER, CONTROLLERS, LOADS, seed=3, workers=2) == in_process


@pytest.mark.slow
def test_results_do_not_depend_on_a_cluster(in_process):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(1, processes=False, threads_per_worker=2, dashboard_address=None) as cluster:
        assert sweep(SERVER, CONTROLLERS, LOADS, seed=3, scheduler=cluster.scheduler_address) == in_process


@pytest.fixture
def call(capsys):
    """Run ``rtnerf specdec serve`` in this process; returns (exit code, stdout, stderr)."""

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            rtnerf.main(["specdec", "serve", *map(str, arguments)])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def test_the_command_writes_results_and_a_picture(call, tmp_path):
    (tmp_path / "times.csv").write_text("tokens,ms\n1,10\n64,11\n512,60\n")
    status, out, _ = call(
        "--rate", "2:8:3", "--requests", 50, "--max-batch", 8, "--step-times", tmp_path / "times.csv",
        "--json", tmp_path / "found.json", "--csv", tmp_path / "found.csv", "--plot", tmp_path / "load.svg",
    )  # fmt: skip
    assert status == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(run["controller"], run["load"]) for run in found["runs"]] == [
        (name, load) for name in ("off", "smartspec:profile") for load in (2, 4, 8)
    ]
    assert found["published_gain"] == 3.2
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    assert [float(row["latency_ms_mean"]) for row in rows] == [run["latency_ms"]["mean"] for run in found["runs"]]
    assert {"latency_ms", "goodput_tokens_per_s", "throughput_tokens_per_s", "drafted"} <= set(found["runs"][0])
    assert (tmp_path / "load.svg").read_text().startswith("<?xml")
    assert "smartspec" in out


def test_the_command_serves_a_trace(call, tmp_path):
    (tmp_path / "trace.csv").write_text("arrival_s,prompt,output,acceptance\n0,20,2,0.5\n0,20,2,0.5\n")
    (tmp_path / "times.csv").write_text("tokens,ms\n1,10\n2048,10\n")
    options = ["--trace", tmp_path / "trace.csv", "--step-times", tmp_path / "times.csv", "--max-batch", 8]
    status, _, _ = call(*options, "--controller", "off", "--json", tmp_path / "found.json")
    assert status == 0
    (run,) = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert run["latency_ms"]["mean"] == pytest.approx(20)
    for name in ("requests", "prompt", "acceptance"):
        where = "a trace that has acceptance" if name == "acceptance" else "trace"
        assert call(*options, f"--{name}", 1)[2].startswith(f"error: {name} must be absent with {where}, not 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "load must be given once, by rate, clients or trace, not missing"),
        (["--rate", 1, "--clients", 1], "load must be given once, by rate, clients or trace, not rate and clients"),
        (["--rate", "1:4:1"], "rate must be at most 1000 numbers above 0, such as 1,2,4 or 0.5:32:12, not 1:4:1"),
        (
            ["--rate", "1:2:99999999"],
            "rate must be at most 1000 numbers above 0, such as 1,2,4 or 0.5:32:12, not 1:2:99999999",
        ),
        (["--rate", "0"], "rate must be at most 1000 numbers above 0, such as 1,2,4 or 0.5:32:12, not 0"),
        (
            ["--rate", 1, "--controller", "fixed:0"],
            "controller must be off, fixed:K with K from 1 to 64, smartspec, smartspec:profile or tree, not fixed:0",
        ),
        (["--rate", 1, "--cache-tokens", 1000], "cache-tokens must be a multiple of 16, not 1000"),
        (["--rate", 1, "--draft", "x", "--draft-ms", 1], "draft must be given by its time or by name, not both"),
        (["--rate", 1, "--transfer-us", 1], "transfer-us must be absent without prefill-machines, not 1.0"),
        (
            ["--rate", 1, "--prefill-machines", 1, "--chunked"],
            "chunked must be absent with prefill-machines, not True",
        ),
        (["--rate", 1, "--overlap"], "overlap must be absent where the host takes no time, not True"),
        (["--rate", "1e-308"], "rate must be so high that all requests come within 1e+09 s, not 1e-308"),
        (["--clients", "1000000000"], "clients must be from 1 to 4000, the requests, not 1000000000"),
        (["--rate", "1", "--deviation", "1e308"], "deviation must be at least 0 and below 0.458, not 1e+308"),
        (["--clients", "2.5"], "clients must be whole numbers, such as 1,2,4 or 1:32:6, not 2.5"),
        (
            ["--rate", 1, "--controller", "off", "--tax-ms", 1],
            "tax-ms must be absent where nothing speculates, not 1.0",
        ),
        (["--rate", 1, "--scheduler", "here", "--workers", 2], "workers must be absent with scheduler, not 2"),
        (
            ["--rate", 1, "--step-times", "t.csv", "--hardware", "h100"],
            "hardware must be absent beside step-times without a named draft, not h100",
        ),
    ],
)
def test_bad_options_are_named(call, tmp_path, arguments, message):
    status, out, err = call(*arguments, "--json", tmp_path / "found.json")
    assert (status, out, err) == (2, "", f"error: {message}\n")
    assert not list(tmp_path.iterdir())


# ---- Speed ----

QUARTER_MILLION = """
import resource, time
from specdec.serving.controllers import controller
from specdec.serving.engine import simulate
from specdec.serving.outcome import Outcome
from specdec.serving.experiment import server_of
from specdec.serving.workload import Requests, poisson
server = server_of()
simulate(server, controller("smartspec"), poisson(8, 10, Requests(), 0), 0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
outcome = simulate(server, controller("smartspec"), poisson(8, 250_000, Requests(), 0), 0)
outcome.summary()
print(time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_a_million_requests_take_ten_seconds_and_bounded_memory():
    result = subprocess.run([sys.executable, "-c", QUARTER_MILLION], capture_output=True, text=True, check=True)
    seconds, megabytes = (4 * float(word) for word in result.stdout.split())
    assert seconds < 10
    assert megabytes < 300


# ---- Ends ----


def test_ctrl_c_is_heard():
    """A million requests at low load take many seconds; they end as soon as they are asked to."""
    server, plain = Server(lambda _: Constant(10), lambda _: Constant(0)), controller("off")
    simulate(server, plain, poisson(0.5, 10, Requests(), 0), seed=0)
    workload = poisson(0.5, 2_000_000, Requests(), 0)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.process_time()
    with pytest.raises(KeyboardInterrupt):
        simulate(server, plain, workload, seed=0)
    assert time.process_time() - started < 2


def test_ctrl_c_is_heard_while_the_loop_is_compiled():
    """That takes seconds, and does not look at what the loop is told."""
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        engine._interruptible(lambda stop: time.sleep(20))
    assert time.monotonic() - started < 10


def test_traces_may_have_a_mark_and_spaces(tmp_path):
    (tmp_path / "trace.csv").write_bytes(b"\xef\xbb\xbfarrival_s, prompt, output\n0, 10, 20\n1.5, 11, 21\n")
    found = read_trace(tmp_path / "trace.csv", Requests(), 0)
    assert found.prompt.tolist() == [10, 11]
    assert found.output.tolist() == [20, 21]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "1e308"], "prompt must be from 1 to 1000000, not 1e+308"),
        (["--requests", "1000000000000"], "requests must be from 1 to 20000000, not 1000000000000"),
        (["--max-batch", "1000000"], "max-batch must be from 1 to 4096, not 1000000"),
    ],
)
def test_what_would_never_end_is_refused(call, arguments, message):
    assert call("--rate", "1", *arguments) == (2, "", f"error: {message}\n")


def test_a_scheduler_that_does_not_answer_is_one_line(call, monkeypatch):
    monkeypatch.setattr("rtnerf.base.executors.SCHEDULER_SECONDS", 1)
    message = "scheduler must be the address of one that answers, not tcp://127.0.0.1:1"
    assert call("--rate", "1", "--requests", "10", "--scheduler", "tcp://127.0.0.1:1") == (2, "", f"error: {message}\n")
