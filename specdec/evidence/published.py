"""Published figures beside the model, series by series. The figures and their sources are in ``data/published.json``.

A series fits one parameter at most, and says which. What it fits on and what it predicts are named in its rows.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import spearmanr

from specdec.cost import leviathan
from specdec.cost.models import MODELS
from specdec.cost.pass_time import Constant, Measured
from specdec.cost.predict import predict, tokens_per_step
from specdec.cost.ranks import ranks_of_one
from specdec.cost.roofline import named_pass
from specdec.cost.segments import saving
from specdec.cost.step import Speculation
from specdec.evidence.reversal import duel, unlikely_draws
from specdec.evidence.series import Bound, Row, Series
from specdec.trees.sequoia import SequoiaProgramme, fastest_tree
from specdec.trees.shape import RankPath, Shape, expected_tokens

DATA = Path(__file__).parents[1] / "data" / "published.json"


@cache
def published() -> dict[str, Any]:
    """Return the published figures."""
    return json.loads(DATA.read_bytes())


def every_series() -> Iterator[Series]:
    """Evaluate all series, in the order of the report."""
    for series in (
        batch_sweep, medusa_tau, treepo_counts, specexec_rates, stree_tau, stree_rates, stree_packing, spec_bench,
        leviathan_optima, dyspec_orders, dyspec_reversal, rooflines, sequoia_trees, llama_cpp, vocab_trim,
    ):  # fmt: skip
        yield series()


def measured_pass(machine: str) -> Measured:
    """Return vidur's times of Llama-2-7B on one of its machines."""
    data = published()["vidur"]
    points = [(tokens, ms) for tokens, ms in zip(data["tokens"], data[machine], strict=True) if ms is not None]
    return Measured(*zip(*points, strict=True))


def tree(children: dict[str, int]) -> Shape:
    """Return the tree whose nodes, named by dotted rank paths, have so many children."""
    paths: list[RankPath] = []
    for name, count in children.items():
        above = tuple(int(rank) for rank in name.split(".") if rank)
        paths += [(*above, rank) for rank in range(count)]
    return Shape(paths)


# ---- Batch ----


def batch_sweep() -> Series:
    """Medusa's speedup by concurrency: the other machine's and model's pass times, one effective tau."""
    data = published()["vllm_medusa"]
    shape = Shape.constant([1, 1, 1, 1])
    measured = np.array(data["medusa"]) / np.array(data["plain"])
    speculation = Speculation(shape, measured_pass("h100"), draft_passes=0)
    cost = np.array([speculation.step(batch).slowdown for batch in data["concurrency"]])
    tau = float(np.exp(np.mean(np.log(measured * cost))))
    found = predict(tau, speculation, data["concurrency"])
    rows = [
        Row(f"speedup at {batch}", value, found.speedup(batch))
        for batch, value in zip(data["concurrency"], measured, strict=True)
    ]
    flat = measured / np.exp(np.mean(np.log(measured)))
    rows.append(Row("batch from which it loses", None, found.break_even_batch, "measured: between 16 and 32"))
    rows.append(Row("RMS log error without the batch term", None, float(np.sqrt(np.mean(np.log(flat) ** 2)))))
    errors = [row.log_error for row in rows if row.log_error is not None]
    bound = Bound("RMS log error", float(np.sqrt(np.mean(np.square(errors)))), 0.06)
    return Series(
        "vLLM's Medusa by concurrency", data["source"], f"effective tau {tau:.3f}, with all proposer and host costs",
        rows, bound,
    )  # fmt: skip


# ---- Tokens per step ----


def medusa_tau() -> Series:
    """Tokens per step of the shipped tree from the heads' accuracies."""
    data = published()["medusa"]
    single = np.diff(data["top_accuracy"], axis=1, prepend=0).tolist()
    tau = tokens_per_step(tree(data["children"]), single)
    rows = [Row(f"tau of the 63 candidates, {name}", value, tau) for name, value in data["tau"].items()]
    return Series("Medusa's tau", data["source"], "nothing", rows, _largest_error(rows, 0.06))


def stree_tau() -> Series:
    """One acceptance from the chains gives the tree."""
    data = published()["stree"]
    chains = {row["length"]: row["tau"] for row in data["chains"]}

    def misfit(acceptance: float) -> float:
        return sum(np.log(leviathan.expected_tokens(acceptance, n) / tau) ** 2 for n, tau in chains.items())

    acceptance = minimize_scalar(misfit, bounds=(0, 1), method="bounded").x
    shape, known = tree(data["tree"]["children"]), data["tree"]
    tau = expected_tokens(shape, ranks_of_one(acceptance, 3))
    rows = [Row(f"chain of {n}", value, leviathan.expected_tokens(acceptance, n)) for n, value in chains.items()]
    rows.append(Row(known["name"], known["tau"], tau, "not in the fit; ranks 2 and 3 share what is left as Sequoia's"))
    chain = leviathan.expected_tokens(acceptance, 3)
    rows.append(Row("the tree over the chain of 3", known["tau"] / chains[3], tau / chain))
    for name, other in data["shape_not_published"].items():
        rows.append(Row(name, other["tau"], None, "its shape is not published"))
    fitted = f"acceptance {acceptance:.3f}, on the chains"
    return Series("STree's tau", data["source"], fitted, rows, _largest_error(rows, 0.08))


def stree_rates() -> Series:
    """Rates over plain decoding: the fitted taus above and one cost of a node, the root included."""
    data = published()["stree"]
    taus = {row.name: row.model for row in stree_tau().rows}
    points = [(f"chain of {row['length']}", row["length"] + 1, row["rate"]) for row in data["chains"]]
    points.append((data["tree"]["name"], len(tree(data["tree"]["children"])), data["tree"]["rate"]))
    published_ratio = np.array([rate for _, _, rate in points]) / data["plain_rate"]
    tau = np.array([taus[name] for name, _, _ in points])
    nodes = np.array([count for _, count, _ in points])

    def misfit(cost: float) -> float:
        return float(np.sum(np.log(tau / (1 + cost * nodes) / published_ratio) ** 2))

    cost = minimize_scalar(misfit, bounds=(0, 1), method="bounded").x
    model = tau / (1 + cost * nodes)
    rows = [
        Row(f"{name} over plain", value, predicted)
        for (name, _, _), value, predicted in zip(points, published_ratio, model, strict=True)
    ]
    rows.append(Row("the tree over the chain of 3", published_ratio[3] / published_ratio[0], model[3] / model[0]))
    for name, other in data["shape_not_published"].items():
        rows.append(Row(f"{name} over plain", other["rate"] / data["plain_rate"], None, "its shape is not published"))
    fitted = f"a node costs {cost:.3f} plain steps: its draft pass, scan, replay and verification together"
    return Series("STree's rates", data["source"], fitted, rows, _largest_error(rows, 0.08))


def stree_packing() -> Series:
    """One packed scan against one sequence a path, on which the same tau makes rates inverse to step times."""
    data = published()["stree"]["packed"]
    children: dict[str, int] = {}
    layer: list[RankPath] = [()]
    for branches in data["branches"]:
        children |= {".".join(map(str, path)): count for path, count in zip(layer, branches, strict=False)}
        layer = [(*path, rank) for path, count in zip(layer, branches, strict=False) for rank in range(count)]
    shape = tree(children)
    leaves = [path for path in shape.paths if not shape.branching(path)]
    unrolled = sum(len(path) + 1 for path in leaves)
    passes = named_pass("mamba2-2.7b", "rtx-3090")
    model = MODELS["mamba2-2.7b"]
    rows = [
        Row(f"packed over unrolled rate, tau {tau}", packed / apart, None, "which tree it is, is not published")
        for tau, packed, apart in zip(data["tau"], data["packed_rate"], data["unrolled_rate"], strict=True)
    ]
    # Unrolled: every path a request, with a recurrent state of its own to read and write.
    longest = max(len(path) for path in leaves) + 1
    ratio = passes.ms(len(leaves), longest) / passes.ms(1, len(shape))
    rows.append(Row("packed over unrolled, the target's pass alone", None, ratio, f"{len(shape)} nodes for {unrolled}"))
    states = (len(leaves) * model.state_bytes / 1e6, model.state_bytes / 1e6)
    rows.append(Row("states held, unrolled over packed", None, len(leaves), "{:.0f} MB for {:.0f} MB".format(*states)))
    explanation = "No verdict: a pass on fewer nodes and states is the faster one in any model of time."
    return Series("STree's packing", data["source"], "nothing", rows, explanation=explanation)


def sequoia_trees() -> Series:
    """Values of the best trees, and the demo's choice; the shipped trees stay a little below the best."""
    data = published()["sequoia"]
    acceptance, demo = np.array(data["acceptance"]), data["demo"]
    programme = SequoiaProgramme(acceptance, nodes=128, levels=12)
    best = [
        Row(f"tau of {nodes} nodes", value, programme.expected[-1, int(nodes)], "the best there is")
        for nodes, value in data["shipped_trees"].items()
    ]
    times = {int(tokens): ms for tokens, ms in demo["target_ms"].items()}
    choice = fastest_tree(acceptance, times, demo["draft_ms"], demo["levels"])
    rows = [
        Row("demo: nodes", demo["nodes"], choice.nodes),
        Row("demo: levels", demo["depth"], choice.levels),
        Row("demo: ms a token", demo["ms_per_token"], round(choice.time_per_token, 3)),
        Row("demo: speedup", demo["speedup"], round(choice.speedup, 3)),
    ]
    return Series("Sequoia's trees", data["source"], "nothing", best + rows, _largest_error(rows, 0))


# ---- Time per step ----


def specexec_rates() -> Series:
    """Tokens over the sum of the two times."""
    data = published()["specexec"]
    rows = []
    for index, budget in enumerate(data["budget"]):
        seconds = data["draft_s"][index] + data["verify_s"][index]
        rows.append(Row(f"tokens/s, budget {budget}", data["rate"][index], data["tokens"][index] / seconds))
    return Series("SpecExec's rates", data["source"], "nothing", rows, _largest_error(rows, 0.02))


def llama_cpp() -> Series:
    """A chain from its parts' rates: five draft passes, a pass on six tokens at the rate of batched verification."""
    data = published()["llama_cpp"]
    length = data["length"]
    tau = 1 + data["accepted_share"] * length
    target = Measured([1, length + 1], [1000 / data["plain_rate"], 1000 * (length + 1) / data["verify_rate"]])
    speculation = Speculation(Shape.constant([1] * length), target, Constant(1000 / data["draft_rate"]))
    row = Row("tokens/s", data["rate"], tau / speculation.step(1).ms * 1000)
    return Series("llama.cpp's chain", data["source"], "nothing", [row])


SPEC_BENCH = {
    "PLD": (11, 0, 0.0),
    "Lookahead": (57, 0, 0.0),
    "REST": (65, 0, 0.0),
    "Recycling": (81, 0, 0.0),
    "Medusa": (64, 1, 4 * (4096**2 + 4096 * 32000)),
    "SpS": (6, 5, MODELS["llama-68m"].body + MODELS["llama-68m"].head),
    "Hydra": (64, 4, 4096 * 32000 + 4 * 4096**2),
    "EAGLE": (26, 5, MODELS["eagle-7b"].body + MODELS["eagle-7b"].head + 2 * 4096**2),
    "SAMD[EAGLE2]": (61, 6, MODELS["eagle-7b"].body + MODELS["eagle-7b"].head + 2 * 4096**2),
    "EAGLE2": (61, 6, MODELS["eagle-7b"].body + MODELS["eagle-7b"].head + 2 * 4096**2),
}
"""Tokens verified, sequential draft passes, weights of one. From Spec-Bench's scripts: 10 candidates; level 5, window 7
and guess 7; trees of 63, 80 and 25; EAGLE-2's 60 and depth 5. Recalled: REST's 64, SpS's 5 and the heads' weights."""


def spec_bench() -> Series:
    """Step cost, tau over speedup: the target's pass on the candidates, the draft's weights, a cost of a draft pass."""
    data = published()["spec_bench"]
    target = measured_pass("a100-80g")
    measured = {name: row["tau"] / row["speedup"] for name, row in data["methods"].items()}
    byte_ms = target.ms(1, 1) / (MODELS["llama-2-7b"].body + MODELS["llama-2-7b"].head)

    def cost(name: str, overhead: float) -> float:
        tokens, passes, weights = SPEC_BENCH[name]
        return (target.ms(1, tokens) + passes * weights * byte_ms) / target.ms(1, 1) + passes * overhead

    def misfit(overhead: float) -> float:
        return sum(np.log(cost(name, overhead) / value) ** 2 for name, value in measured.items())

    overhead = minimize_scalar(misfit, bounds=(0, 1), method="bounded").x
    rows = [Row(name, value, cost(name, overhead)) for name, value in measured.items()]
    rank = float(spearmanr([row.published for row in rows], [row.model for row in rows]).statistic)
    fitted = f"a draft pass costs the host {overhead:.3f} plain steps"
    return Series("Spec-Bench's step costs", data["source"], fitted, rows, Bound("Spearman", rank, 0.8, at_least=True))


def rooflines() -> Series:
    """The roofline against measured passes: its two shares come from the A100, the rest is predicted."""
    data = published()["vidur"]
    rows, errors = [], []
    for machine in ("a100-80g", "h100", "a40"):
        passes = named_pass("llama-2-7b", machine)
        for tokens, ms in zip(data["tokens"], data[machine], strict=True):
            if ms is not None:
                rows.append(Row(f"{machine}, {tokens} tokens, ms", ms, passes.ms(tokens, 1)))
                if machine != "a100-80g":
                    errors.append(rows[-1].log_error or 0.0)
    fitted = "shares reached of bandwidth and peak, and the time of starting a block's kernels, on the A100"
    bound = Bound("RMS log error on H100 and A40", float(np.sqrt(np.mean(np.square(errors)))), 0.1)
    return Series("Rooflines of Llama-2-7B", data["source"], fitted, rows, bound)


def vocab_trim() -> Series:
    """Memory-bound speedup by kept rows: the head's cost from its weights, the draft's other cost fitted."""
    data = published()["vocab_trim"]
    target = MODELS["llama-3.2-3b"]
    passes = 4
    per_row = passes * target.width / (target.body + target.head)
    kept, tau, measured = (np.array(column) for column in zip(*data["rows"], strict=True))
    body = brentq(lambda body: np.log(tau / (1 + body + per_row * kept) / measured).sum(), 0, 10)
    model = tau / (1 + body + per_row * kept)
    rows = [Row(f"{rows} rows kept", value, found) for rows, value, found in zip(kept, measured, model, strict=True)]
    rows.append(Row("best number of rows", int(kept[measured.argmax()]), int(kept[model.argmax()])))
    fitted = f"the draft without its head costs {body:.3f} plain steps; {passes} passes are assumed"
    return Series("VocabTrim's kept rows", data["source"], fitted, rows)


# ---- Counts and optima ----


def treepo_counts() -> Series:
    """Calls saved by sharing segments: a counting model."""
    data = published()["treepo"]
    rows, worst = [], 0.0
    for row in data["rows"]:
        model = saving(row["samples"], row["depth"], row["children"])
        name = f"calls saved, depth {row['depth']}, {row['children']} children, %"
        counted = 1 - row["tree"] / row["linear"]
        rows.append(Row(name, 100 * counted, 100 * model))
        worst = max(worst, 100 * abs(counted - model))
    for depth in (6, 7, 14, 28):
        note = "the abstract's 35 %, if this is its setting" if depth == 6 else ""
        row = Row(f"tokens saved, 16 samples, depth {depth}, %", None, 100 * saving(16, depth, 2, roots=2), note)
        rows.append(row)
    bound = Bound("largest difference, points", worst, 1.5)
    return Series("TreePO's counts", data["source"], "nothing", rows, bound)


def leviathan_optima() -> Series:
    """Best lengths and their speedups, exactly as printed."""
    data = published()["leviathan"]
    rows, wrong = [], 0
    for acceptance, cost, length, speedup in data["rows"]:
        found = leviathan.best_length(acceptance, cost)
        value = leviathan.speedup(acceptance, found, cost)
        rows.append(Row(f"acceptance {acceptance}, cost {cost}: length", length, found))
        rows.append(Row(f"acceptance {acceptance}, cost {cost}: speedup", speedup, value))
        wrong += found != length or f"{value:.4f}" != f"{speedup:.4f}"
    return Series("Leviathan's optima", data["source"], "nothing", rows, Bound("optima that differ", float(wrong), 0))


# ---- DySpec ----

DRAFT_PASSES = {"DySpec": 9, "Sequoia": 10, "SpecInfer": 10}
"""Of a tree of 64 nodes: DySpec says fewer than 10; Sequoia's shipped tree for this pair has 10 levels, and its cost
formula counts one each; SpecInfer's is not published and taken to be Sequoia's."""

SMALL, LARGE = 64, 384
"""Budgets of the reversal."""

OFFLOADED_COST = 0.025 / 5
"""A draft pass over a target pass of the offloaded pair, as published."""


def dyspec_orders() -> Series:
    """Who is faster, from the published accepted counts and each method's draft passes: ``(1 + e) / (1 + D c)``."""
    data = published()["dyspec"]
    resident, offloaded = "68M to 7B, A100", "7B to 70B, offloaded"

    def speeds(row: list[list[float]], cost: float) -> list[float]:
        return [
            (1 + accepted) / (1 + DRAFT_PASSES[name] * cost)
            for name, (_, accepted) in zip(data["columns"], row, strict=True)
        ]

    def agrees(model: list[float], row: list[list[float]]) -> bool:
        return np.argsort(model).tolist() == np.argsort([speed for speed, _ in row]).tolist()

    def misfit(cost: float) -> float:
        pairs = (
            (model, speed)
            for row in data[resident].values()
            for model, (speed, _) in zip(speeds(row, cost), row, strict=True)
        )
        return sum(np.log(model / speed) ** 2 for model, speed in pairs)

    cost = minimize_scalar(misfit, bounds=(0, 1), method="bounded").x
    rows, right, by_counts = [], 0, 0
    for pair, ratio in ((resident, cost), (offloaded, OFFLOADED_COST)):
        for name, row in data[pair].items():
            model, known = speeds(row, ratio), agrees(speeds(row, ratio), row)
            right += known
            by_counts += agrees([accepted for _, accepted in row], row)
            order = " > ".join(data["columns"][index] for index in np.argsort(model)[::-1])
            for method, (speed, _), value in zip(data["columns"], row, model, strict=True):
                note = ("" if known else "not the published order: ") + order if method == "DySpec" else ""
                rows.append(Row(f"{pair}, {name}: {method}", speed, value, note))
    rows.append(Row("rows of 20 in order by accepted counts alone", None, by_counts, "with equal draft passes"))
    fitted = f"a draft pass of the resident pair costs {cost:.3f} plain steps; the offloaded pair's {OFFLOADED_COST}"
    rows.append(Row("rows of 20 in order by the model", None, right, "with the draft passes of each method"))
    explanation = "No verdict: most orders follow from the accepted counts, which are published too and go in."
    return Series("DySpec's orders", data["source"], fitted, rows, explanation=explanation)


def dyspec_reversal() -> Series:
    """Accepted tokens of DySpec's tree over Sequoia's by temperature and budget, for `specdec.evidence.reversal`."""
    data = published()["dyspec"]
    rows = []
    for temperature, mark in ((0, " 0"), (0.6, " .6")):
        ratios = [
            row[0][1] / row[1][1]
            for pair in ("68M to 7B, A100", "7B to 70B, offloaded")
            for name, row in data[pair].items()
            if name.endswith(mark)
        ]
        mean = float(np.exp(np.mean(np.log(ratios))))
        for nodes in (SMALL, LARGE):
            found = duel(temperature, nodes).ratio
            rows.append(Row(f"T = {temperature}, {nodes} nodes", mean if nodes == SMALL else None, found))
    for temperature in (0, 0.6):
        expected, accepted = unlikely_draws(temperature)
        note = f"DySpec's value expects {expected:.3f}"
        rows.append(Row(f"T = {temperature}, draws of probability < 0.1 accepted", None, accepted, note))
    explanation = (
        "No verdict: the published direction at T = 0.6 and 64 nodes is not met.\n"
        "DySpec takes a draw's draft probability for its chance of acceptance. At T = 0 that is right for a good\n"
        "draft. Above, the ratio rule accepts a draw y with min(1, p(y)/q(y)), however unlikely it was: values of\n"
        "unlikely draws are too low, and siblings are added where depth would pay. Small budgets are spent at values\n"
        "near 1, where both agree; large ones are not, and Sequoia's measured acceptance wins. Besides, DySpec's\n"
        "threshold leaves budget unused: 552 of 768 nodes at T = 0.6. The pair is synthetic and fitted to nothing:\n"
        "it shows the mechanism, and at 64 nodes and T = 0.6 it reverses already, as the published does not."
    )
    source = f"{data['source']}; geometric means over the 10 rows of a temperature"
    name = "DySpec's reversal: accepted tokens over Sequoia's"
    return Series(name, source, "nothing", rows, explanation=explanation)


def _largest_error(rows: list[Row], limit: float) -> Bound:
    errors = [abs(row.error) for row in rows if row.error is not None]
    return Bound("largest error", max(errors), limit)
