"""The command that says what to deploy."""

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.errors import require
from rtnerf.base.options import (
    PATH,
    Number,
    OneOf,
    Whole,
    Wholes,
    example,
    refuse,
    refuse_given,
)
from specdec.command_line.machines import MOST_CONTEXT, TIME, model_options, split
from specdec.command_line.results import Results, result_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from specdec.advice.advise import Advice
    from specdec.advice.answer import Answer

METHODS = ("model", "eagle", "eagle2", "eagle3", "mtp", "medusa", "hydra", "parallel", "ngram", "retrieval")
"""The names in `specdec.advice.drafters.METHODS`, which would be slow to import."""

DRAFTLESS = {"ngram", "retrieval"}
"""Of those, the ones without a model."""

MOST_CELLS = 1000
"""Batches and contexts together."""

MOST_BATCH = 65536

MOST_DRAFTED = 64

MOST_NODES = 1000


class Lengths(click.ParamType):
    """Acceptance lengths by drafted tokens: ``3.2@4``, or several, ``1.8@1,2.3@2``."""

    name = "AL@K"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[int, float]:
        """Return the lengths, or refuse them."""
        if isinstance(value, dict):
            return value
        found: dict[int, float] = {}
        try:
            for word in value.split(","):
                length, _, drafted = word.partition("@")
                repeated = int(drafted) in found
                found[int(drafted)] = 0.0 if repeated else float(length)
        except ValueError:
            found = {0: 0.0}
        fits = all(1 <= drafted <= MOST_DRAFTED and isfinite(length) for drafted, length in found.items())
        if not fits or not all(1 <= length <= drafted + 1 for drafted, length in found.items()):
            shown = value if len(value) <= 60 else f"{value[:60]}..."
            refuse(param, f"AL@K, an acceptance length from 1 to K + 1, one for each K from 1 to {MOST_DRAFTED}", shown)
        return found


@click.command(
    **example(
        "rtnerf specdec advise --target config.json --hardware h100 --tensor-parallel 4 --method eagle3 --al 3.2@4"
        " --batch 1,8,64 --context 1000,32000",
        "rtnerf specdec advise --rows published.toml --method mtp --batch 4,32,256",
        "rtnerf specdec advise --target llama-3.1-70b --hardware h200 --tensor-parallel 2 --weights fp8 --nodes 64"
        " --method eagle3 --al 1.8@1,2.4@2,2.8@3 --method ngram --al 1.6@4 --tpot-ms 20 --csv advice.csv",
    )
)
@click.option(
    "--rows", type=PATH, help="Instead of a target: a TOML file of a server's measured rows, see docs/rows.md."
)
@click.option("--series", help="The name of one of its series, where it has several.")
@click.option("--step-times", type=PATH, help="Instead: CSV of its passes, tokens,ms or batch,tokens,context,ms.")
@click.option("--draft-ms", type=TIME, help="With step-times: one pass of the draft, ms, the host's included.")
@model_options()
@click.option(
    "--method", "methods", type=OneOf(*METHODS), multiple=True, required=True,
    help="May be repeated; without a draft its head is derived from the target.",
)  # fmt: skip
@click.option(
    "--al", "lengths", type=Lengths(), multiple=True,
    help="Acceptance lengths, bonus included, by drafted tokens: 3.2@4 or 1.8@1,2.3@2; for all methods or each.",
)  # fmt: skip
@click.option("--batch", "batches", type=Wholes(MOST_BATCH), default="1,8,64", show_default=True, help="Requests.")
@click.option(
    "--context", "contexts", type=Wholes(MOST_CONTEXT), default="1000", show_default=True, help="Tokens of a request."
)
@click.option("--nodes", type=Whole(2, MOST_NODES), help="Look at trees of up to so many nodes, the root included.")
@click.option("--tree", "trees", type=PATH, multiple=True, help="And at this tree of rank paths; may be repeated.")
@click.option("--longest", type=Whole(1, MOST_DRAFTED), help="Drafted tokens of a chain.  [default: 8]")
@click.option("--host-ms", type=TIME, default=0.0, show_default=True, help="Of a step outside the machines.")
@click.option("--draft-host-ms", type=TIME, default=0.8, show_default=True, help="Of a draft's pass, likewise.")
@click.option("--tpot-ms", type=Number(0, min_open=True), help="Time per output token that is allowed.")
@click.option("--ttft-ms", type=Number(0, min_open=True), help="Time to the first token that is allowed.")
@result_options("a method, context and batch", "speedup by batch")
def advise(results: Results, **options: Any) -> None:
    """Say which method, how many tokens or which tree to draft at each batch and context, what it gains, and why.

    Times are those of a roofline, of measured passes, or of a fit to a server's rows; what does not fit in memory is
    marked, with what would. The schedules are ready for vLLM, SGLang and TensorRT-LLM in the JSON file.
    """
    results.check()
    if {*options["methods"]} <= DRAFTLESS:
        refuse_given("where nothing drafts by passes", "draft-host-ms", "draft-vocabulary", "draft-ms")
    cells = len(options["batches"]) * len(options["contexts"])
    require(cells <= MOST_CELLS, "batch and context", f"at most {MOST_CELLS} pairs", cells)
    methods = options["methods"]
    require(len({*methods}) == len(methods), "method", "each given once", ", ".join(methods))
    answer = _answer(options)

    def picture() -> "Figure":
        from specdec.view.advice import gains

        return gains(answer)

    results.write({"command": "specdec advise", **answer.record()}, answer.rows(), picture)
    click.echo(answer.summary)


MODELLED = (
    "target", "hardware", "tensor-parallel", "expert-parallel", "weights", "kv", "kernels", "activations", "draft",
    "draft-vocabulary", "ttft-ms",
)  # fmt: skip
"""Options of a model on machines, and what only that tells."""


def _answer(options: dict[str, Any]) -> "Answer":
    from specdec.advice.answer import Answer, Limits

    limits = Limits(options.pop("tpot_ms"), options.pop("ttft_ms"))
    if options["rows"] is not None:
        others = ("al", "context", "nodes", "tree", "longest", "host-ms", "draft-host-ms", "step-times", "draft-ms")
        refuse_given("with rows", *MODELLED, *others)
        return Answer(_by_rows(**options), limits)
    refuse_given("without rows", "series")
    known, count = options["lengths"], len(options["methods"])
    rule = f"given once, or once for each of the {count} methods"
    require(len(known) in {1, count}, "al", rule, f"{len(known)} times")
    options["lengths"] = known * count if len(known) == 1 else known
    for name in ("rows", "series"):
        del options[name]
    if options["step_times"] is not None:
        refuse_given("with step-times", *MODELLED, "draft-host-ms")
        return Answer(_by_step_times(**options), limits)
    refuse_given("without step-times", "draft-ms")
    for name in ("step_times", "draft_ms"):
        del options[name]
    return Answer(_by_model(**options), limits)


def _by_rows(
    rows: Path, series: str | None, methods: tuple[str, ...], batches: tuple[int, ...], **_others: Any
) -> "list[Advice]":
    from specdec.evidence.rows import fit_series
    from specdec.evidence.schedule import advise_rows

    require(len(methods) == 1, "method", "one, with rows", ", ".join(methods))
    return [advise_rows(*fit_series(rows, series), methods[0], batches)]


def _by_step_times(
    step_times: Path, methods: tuple[str, ...], lengths: tuple[dict[int, float], ...], draft_ms: float | None,
    host_ms: float, contexts: tuple[int, ...], batches: tuple[int, ...], trees: tuple[Path, ...],
    nodes: int | None, longest: int | None, **_others: Any,
) -> "list[Advice]":  # fmt: skip
    from specdec.advice.advise import advise_timed
    from specdec.advice.drafters import way
    from specdec.advice.plans import Timed
    from specdec.cost.pass_time import Linear
    from specdec.cost.predict import read_step_times, read_tree

    free = {*methods} <= DRAFTLESS
    require(free or draft_ms is not None, "draft-ms", "given with step-times for a method with passes", "missing")
    times = read_step_times(step_times)
    if not isinstance(times, Linear):
        refuse_given("with times by tokens alone", "context")
        contexts = (0,)
    fixed = {f"tree {path.stem}": read_tree(path) for path in trees}
    found = []
    for name, known, budget in zip(methods, lengths, _budgets(methods, nodes), strict=True):
        costs = [
            Timed(way(name), one, times.at(one) if isinstance(times, Linear) else times, draft_ms or 0.0, host_ms)
            for one in contexts
        ]
        found.append(advise_timed(costs, known, batches, None, budget, longest, fixed))
    return found


def _budgets(methods: tuple[str, ...], nodes: int | None) -> list[int | None]:
    """Return the nodes of each method's trees: beside others that have any, what makes chains has none."""
    from specdec.advice.drafters import way

    branching = [way(name).branches for name in methods]
    return [nodes if branches or not any(branching) else None for branches in branching]


def _by_model(
    methods: tuple[str, ...], lengths: tuple[dict[int, float], ...], trees: tuple[Path, ...],
    draft: Any, draft_vocabulary: int | None, draft_host_ms: float, **options: Any,
) -> "list[Advice]":  # fmt: skip
    from specdec.advice.advise import Question, advise
    from specdec.cost.predict import read_tree

    for name in ("target", "hardware"):
        require(options[name] is not None, name, "given, or else rows or step-times", "missing")
    deployment, question = split(options)
    fixed = {f"tree {path.stem}": read_tree(path) for path in trees}
    asked = Question(deployment=deployment, fixed=fixed, pass_host_ms=draft_host_ms, **question)
    drafting = [name not in DRAFTLESS for name in methods]
    require(any(drafting) or draft is None, "draft", f"left out with method {methods[0]}", draft)
    asking = [replace(asked, nodes=budget) for budget in _budgets(methods, asked.nodes)]
    return [
        advise(one, name, known, draft if drafts else None, draft_vocabulary if drafts else None)
        for one, name, known, drafts in zip(asking, methods, lengths, drafting, strict=True)
    ]
