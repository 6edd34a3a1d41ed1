"""Commands of the cost model and the server: predict, serve."""

from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import (
    PATH,
    Number,
    Whole,
    Wholes,
    example,
    refuse,
    refuse_given,
    seed_option,
)
from specdec.command_line.machines import DRAFT_PASSES, MACHINE, MODEL, MOST_CONTEXT, TIME, model_options, split
from specdec.command_line.progress import Progress
from specdec.command_line.results import Results, result_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_REQUESTS = 65536
"""In a step."""

MOST_LOADS = 1000
"""In a sweep."""


@click.command(
    **example(
        "rtnerf specdec predict --tree tree.json --acceptance rates.json --step-times h100.csv --batch 1,8,64",
        "rtnerf specdec predict --tree tree.json --acceptance rates.json --target llama-2-7b --draft llama-68m"
        " --hardware a100-80g",
        "rtnerf specdec predict --tree tree.json --acceptance rates.json --target config.json --hardware h100"
        " --tensor-parallel 4 --weights fp8",
    )
)
@click.option("--tree", type=PATH, required=True, help="JSON list of rank paths: [[0], [1], [0, 0]] has 3 candidates.")
@click.option("--acceptance", type=PATH, required=True, help="JSON list per depth: acceptance by rank.")
@click.option(
    "--step-times", type=PATH, help="In place of a target: CSV of its passes, tokens,ms or batch,tokens,context,ms."
)
@model_options()
@click.option("--draft-ms", type=TIME, help="In place of a draft: one pass of it, ms.  [default: 0]")
@click.option("--draft-passes", type=DRAFT_PASSES, help="Of a step; default: one a level. Medusa's heads take 1.")
@click.option("--host-ms", type=TIME, default=0.0, show_default=True, help="Of a step, outside all passes.")
@click.option(
    "--context", type=Whole(0, MOST_CONTEXT), default=0, show_default=True, help="Cached tokens of a request."
)
@click.option(
    "--batch", type=Wholes(MOST_REQUESTS), default="1", show_default=True, help="Requests in a step, comma-separated."
)
@result_options("a batch", "speedup and the parts of a step by batch")
def predict(
    tree: Path, acceptance: Path, batch: tuple[int, ...], results: Results, **options: Any
) -> None:  # fmt: skip
    """Predict speedup by batch for a tree, where it stops paying, and what binds.

    Beyond the last step time the target is taken to slow down with the last two points' slope; such rows are marked.
    """
    from specdec.cost import predict as prediction

    results.check()
    shape = prediction.read_tree(tree)
    rows = prediction.read_acceptance(acceptance, len(shape.levels()) - 1)
    deployment, costs = split(options)
    speculation, search = prediction.speculation_of(shape, deployment=deployment, **costs)
    found = prediction.predict(prediction.tokens_per_step(shape, rows), speculation, batch, search)

    def picture() -> "Figure":
        from specdec.view.prediction import speedups

        return speedups(found)

    record = found.record()
    results.write(record, record["steps"], picture)
    click.echo(found.summary)


class Loads(click.ParamType):
    """Numbers above 0, separated by commas or as LOW:HIGH:POINTS, equal factors apart; they come out rising.

    Parameters
    ----------
    whole : bool
        Whether they are counts: those between LOW and HIGH are rounded, others refused.
    """

    name = "loads"

    def __init__(self, whole: bool = False) -> None:
        self._whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers, or refuse them."""
        if isinstance(value, tuple):
            return value
        try:
            loads = _spread(*value.split(":")) if ":" in value else [float(word) for word in value.split(",")]
        except (TypeError, ValueError):
            loads = [nan]
        if self._whole and ":" in value:
            loads = [float(max(round(load), 1)) if load < inf else load for load in loads]
        if self._whole and not all(load.is_integer() for load in loads if load < inf):
            refuse(param, "whole numbers, such as 1,2,4 or 1:32:6", value)
        if len(loads) > MOST_LOADS or not all(0 < load < inf for load in loads):
            refuse(param, f"at most {MOST_LOADS} numbers above 0, such as 1,2,4 or 0.5:32:12", value)
        return tuple(sorted(set(loads)))


def _spread(low: str, high: str, count: str) -> list[float]:
    """Return so many numbers from ``low`` to ``high``, equal factors apart; raise `ValueError` if there are none."""
    first, last, points = float(low), float(high), int(count)
    if not (0 < first < inf and 0 < last < inf and 2 <= points <= MOST_LOADS):
        raise ValueError
    return [first * (last / first) ** (step / (points - 1)) for step in range(points)]


@click.command(
    **example(
        "rtnerf specdec serve --rate 8 --controller off --controller smartspec",
        "rtnerf specdec serve --rate 0.5:40:12 --controller off --controller fixed:4 --controller smartspec"
        " --plot load.svg",
        "rtnerf specdec serve --trace requests.csv --step-times h100.csv --draft-ms 0.6 --json served.json",
    )
)
@click.option("--rate", type=Loads(), help="Requests a second, Poisson: a load or several, 1,2,4 or 0.5:32:12.")
@click.option(
    "--clients", type=Loads(whole=True), help="Instead: clients that each wait for an answer before they ask again."
)
@click.option("--trace", type=PATH, help="Instead: a CSV file with columns arrival_s,prompt,output[,acceptance].")
@click.option(
    "--controller", "controllers", multiple=True, default=("off", "smartspec:profile"), show_default=True,
    help="off, fixed:K, smartspec, smartspec:profile or tree; may be repeated.",
)  # fmt: skip
@click.option("--requests", type=Whole(1), default=4000, show_default=True, help="At each load.")
@click.option("--prompt", type=Number(1), default=128, show_default=True, help="Mean tokens; geometric lengths.")
@click.option("--output", type=Number(1), default=128, show_default=True, help="Mean tokens; geometric lengths.")
@click.option("--acceptance", type=Number(0), default=0.7, show_default=True, help="Mean, of the draft's first choice.")
@click.option(
    "--deviation", type=Number(0), default=0.1, show_default=True, help="Of the acceptance, from request to request."
)
@click.option("--step-times", type=PATH, help="CSV of the target's passes: tokens,ms or batch,tokens,context,ms.")
@click.option("--target", type=MODEL, help="Instead: a named model or a config.json.  [default: llama-2-7b]")
@click.option(
    "--hardware", type=MACHINE, default="a100-80g", show_default=True, help="A named machine, or a TOML file."
)
@click.option("--draft-ms", type=TIME, help="One pass of the draft, ms.  [default: 1]")
@click.option("--draft", type=MODEL, help="Instead of its time: a named model or a config.json, on the hardware.")
@click.option("--draft-passes", type=DRAFT_PASSES, help="Of a step; default: one a level. Medusa's heads take 1.")
@click.option("--host-ms", type=TIME, default=0.0, show_default=True, help="Of a step, outside all passes.")
@click.option(
    "--tax-ms",
    type=TIME,
    default=0.0,
    show_default=True,
    help="Of a step where speculation is loaded.",
)
@click.option("--tax-request-ms", type=TIME, default=0.0, show_default=True, help="The same, of each request.")
@click.option("--overlap", is_flag=True, help="Let those times pass while the machine works: a step takes the longer.")
@click.option("--max-batch", type=Whole(1), default=128, show_default=True, help="Requests that run at a time.")
@click.option("--max-length", type=Whole(1), default=2048, show_default=True, help="Tokens of the longest request.")
@click.option("--cache-tokens", type=Whole(1), default=65536, show_default=True, help="That fit in memory.")
@click.option(
    "--prefill-tokens", type=Whole(1), default=2048, show_default=True, help="That are read at a time, at most."
)
@click.option("--chunked", is_flag=True, help="Read prompts in decoding steps, in parts that fill up those tokens.")
@click.option(
    "--prefill-machines", "readers", type=Whole(), default=0, show_default=True,
    help="That only read prompts, one at a time each, so that decoding never waits.",
)  # fmt: skip
@click.option(
    "--transfer-us", type=TIME, default=0.0, show_default=True,
    help="To bring a token's keys and values from there.",
)  # fmt: skip
@click.option("--prefix", type=Whole(), default=0, show_default=True, help="Tokens that all prompts begin with.")
@seed_option
@click.option(
    "--workers", type=Whole(1), default=1, show_default=True, help="Processes; results do not depend on them."
)
@click.option("--scheduler", help="Address of a Dask scheduler whose workers are used instead.")
@result_options("a controller and load", "latency against load")
def serve(results: Results, **options: Any) -> None:
    """Serve requests by continuous batching, with controllers that choose how much to speculate.

    Simulated step by step; without --step-times or names, for Llama-2-7B on an A100.
    """
    results.check()
    _refuse_unused(**options)
    from specdec.serving import experiment
    from specdec.serving.sweep import PUBLISHED_GAIN, table

    runs = experiment.serve(**options, progress=Progress("simulations"))
    told = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    del told["workers"], told["scheduler"]
    record = {"command": "specdec serve", **told, "published_gain": PUBLISHED_GAIN, "runs": runs}
    rows = [{name: run[name] for name in run if name != "steps_by_verified_tokens"} for run in runs]

    def picture() -> "Figure":
        from specdec.view.serving import load_curves

        return load_curves(runs, "requests/s" if options["rate"] else "clients" if options["clients"] else "trace")

    results.write(record, rows, picture)
    click.echo(table(runs))


def _refuse_unused(
    controllers: tuple[str, ...], trace: Path | None, step_times: Path | None, draft: Any, scheduler: str | None,
    host_ms: float, tax_ms: float, tax_request_ms: float, readers: int, **_others: Any,
) -> None:  # fmt: skip
    """Refuse options that have no effect beside the others."""
    if trace is not None:
        from specdec.cost.tables import read_table

        refuse_given("with trace", "requests", "prompt", "output")
        if "acceptance" in read_table("trace", trace)[0]:
            refuse_given("with a trace that has acceptance", "acceptance", "deviation")
    if {*controllers} == {"off"}:
        speculative = ("draft", "draft-ms", "draft-passes", "tax-ms", "tax-request-ms", "acceptance", "deviation")
        refuse_given("where nothing speculates", *speculative)
    if step_times is not None and draft is None:
        refuse_given("beside step-times without a named draft", "hardware")
    if not (host_ms or tax_ms or tax_request_ms):
        refuse_given("where the host takes no time", "overlap")
    if not readers:
        refuse_given("without prefill-machines", "transfer-us")
    if scheduler is not None:
        refuse_given("with scheduler", "workers")
