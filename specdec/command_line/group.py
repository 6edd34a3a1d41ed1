"""The commands of ``rtnerf specdec``. Each imports what it needs when it runs, so that ``--help`` is quick."""

import platform
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import click

from rtnerf.base.errors import require

PATH = click.Path(path_type=Path)

PROPOSERS = (
    "chain", "static", "sequoia", "medusa", "specinfer", "rsd-constant", "rsd-beam", "dyspec", "dyspec-threshold",
    "eagle2", "vocabtrim-eagle2", "opt-tree", "retrieval", "lookup", "rasd", "medusa-lookup", "confidence",
)  # fmt: skip
"""The names in `specdec.decoding.methods.PROPOSERS`, which would be slow to import."""

VERIFIERS = (
    "greedy", "naive", "with-replacement", "without-replacement", "multi-step", "deterministic", "typical",
)  # fmt: skip
"""The names in `specdec.decoding.methods.VERIFIERS`, likewise."""

PROGRESS_SECONDS = 5
"""Between two lines about a training under way."""

PICTURES = (".png", ".svg", ".pdf")
"""What a picture's name may end with."""


class Number(click.ParamType):
    """A number that keeps a rule.

    Parameters
    ----------
    kind : type
        ``int`` or ``float``.
    holds : callable
        Whether a number will do.
    rule : str
        What it must be, for the message.
    """

    def __init__(self, kind: type, holds: Callable[[Any], bool], rule: str):
        self.name = "integer" if kind is int else "number"
        self._kind = kind
        self._holds = holds
        self._rule = rule

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or refuse it."""
        try:
            number = self._kind(value)
        except ValueError:
            number = None
        name = param.opts[-1].lstrip("-") if param is not None else "value"
        require(number is not None and self._holds(number), name, self._rule, value)
        return number


def whole(low: int) -> Number:
    """A whole number from ``low`` on."""
    return Number(int, lambda number: number >= low, f"a whole number of at least {low}")


def above(low: float) -> Number:
    """A finite number above ``low``."""
    return Number(float, lambda number: low < number < inf, f"a number above {low}")


def at_least(low: float) -> Number:
    """A finite number from ``low`` on."""
    return Number(float, lambda number: low <= number < inf, f"a number of at least {low}")


class OneOf(click.ParamType):
    """One of some words."""

    name = "word"

    def __init__(self, *words: str):
        self._words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the words in the help."""
        return "{" + ",".join(self._words) + "}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or refuse it."""
        name = param.opts[-1].lstrip("-") if param is not None else "value"
        require(value in self._words, name, f"one of {', '.join(self._words)}", value)
        return value


@click.group(epilog="\b\nExample:\n  rtnerf specdec train --out build/specdec")
def specdec() -> None:
    """Speculative decoding with token trees: train, measure."""


@specdec.command(epilog="\b\nExample:\n  rtnerf specdec train --out build/specdec")
@click.option("--out", type=PATH, required=True, help="The folder for the models; an unfinished run there goes on.")
@click.option("--effort", type=above(0), default=0.7, show_default=True, help="Factor of the steps of every model.")
@click.option("--threads", type=whole(1), default=2, show_default=True, help="The last bits depend on it.")
@click.option("--seed", type=whole(0), default=0, show_default=True, help="Of everything that is random.")
def train(out: Path, effort: float, threads: int, seed: int) -> None:
    """Train all models on the Python standard library's sources: under half an hour on two cores."""
    require(not out.is_file(), "out", "a folder", f"{out} (a file)")
    import torch

    from specdec.models import training

    torch.set_num_threads(threads)
    started = shown = time.monotonic()

    def show(name: str, done: int, steps: int, loss: float) -> None:
        nonlocal shown
        if done == steps or time.monotonic() - shown >= PROGRESS_SECONDS:
            shown = time.monotonic()
            click.echo(f"  {shown - started:5.0f} s  {name} {done}/{steps}: {loss:.3f} nats", err=True)

    losses = training.train(out, seed, effort, progress=show)
    for name, loss in losses.items():
        click.echo(f"{out}: {name} {loss:.4f} nats a token, held out")


@specdec.command(epilog="\b\nExample:\n  rtnerf specdec measure --proposer eagle2 --nodes 16 --json measured.json")
@click.option("--proposer", type=OneOf(*PROPOSERS), default="lookup", show_default=True, help="Who guesses.")
@click.option("--verifier", type=OneOf(*VERIFIERS), help="Who decides; default: greedy at temperature 0, else naive.")
@click.option("--temperature", type=at_least(0), default=0.0, show_default=True, help="Of the target and the draft.")
@click.option("--nodes", type=whole(2), default=8, show_default=True, help="Of the tree at most, the root included.")
@click.option(
    "--depth", type=whole(1), default=8, show_default=True, help="Layers below the root that a draft makes, at most."
)
@click.option("--target", default="target", show_default=True, help="A trained model.")
@click.option("--draft", default="draft", show_default=True, help="A trained model on the same tokens.")
@click.option("--model-dir", type=PATH, help="The folder of the weights; default: those that come with the package.")
@click.option("--tokens", type=whole(1), default=128, show_default=True, help="To decode after each prompt.")
@click.option("--prompts", type=whole(1), default=8, show_default=True, help="Stretches of held-out source.")
@click.option("--seed", type=whole(0), default=0, show_default=True, help="Of everything that is random.")
@click.option("--threads", type=whole(1), default=1, show_default=True, help="Of the models.")
@click.option("--lossy", is_flag=True, help="Allow what does not keep the target's law.")
@click.option("--json", "json_file", type=PATH, help="Write the results to this file, as JSON.")
@click.option("--plot", type=PATH, help="Draw acceptance and the best tree, as .png, .svg or .pdf.")
def measure(
    model_dir: Path | None, lossy: bool, threads: int, json_file: Path | None, plot: Path | None, **options: Any
) -> None:
    """Decode held-out source by speculation and plainly, side by side, and compare.

    Exit code 1 where outputs are not what plain decoding gives, beyond what rounding or chance explains.
    """
    from rtnerf.base.files import check_target, write_json

    if plot is not None:
        require(plot.suffix in PICTURES, "plot", f"a file name that ends with {', '.join(PICTURES)}", plot)
    for name, path in (("json", json_file), ("plot", plot)):
        if path is not None:
            check_target(name, path)
    import torch

    from specdec.decoding.measure import measure as measure_pair
    from specdec.decoding.pair import Pair
    from specdec.models import pretrained

    torch.set_num_threads(threads)
    options["verifier"] = options["verifier"] or ("naive" if options["temperature"] else "greedy")
    pair = Pair(options["target"], options["draft"], options["temperature"], model_dir or pretrained.DATA)
    prompts = pair.prompts(options["prompts"])
    method = {name: options[name] for name in ("proposer", "verifier", "nodes", "tokens", "depth", "seed")}
    found = measure_pair(pair, prompts=prompts, lossless=not lossy, **method)
    if json_file is not None:
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        made_by = {"command": "specdec measure", **options, "lossy": lossy, "threads": threads}
        write_json(json_file, {**made_by, **found.as_dict(), "versions": versions})
    if plot is not None:
        from specdec.view import plots

        best = max(found.steps, key=lambda step: len(step.tokens))
        figure = plots.acceptance(found, best, lambda token: pair.tokenizer.decode([token]))
        plots.save(figure, plot)
    click.echo(found.summary)
    if not (lossy or found.faithful):
        raise click.exceptions.Exit(1)


MOST_REQUESTS = 65536
"""In a step."""


class Batches(click.ParamType):
    """Whole numbers of requests, separated by commas; they come out rising, each once."""

    name = "integers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers, or refuse them."""
        words = value.split(",") if isinstance(value, str) else [str(number) for number in value]
        fits = all(word.strip().isdecimal() and 0 < int(word) <= MOST_REQUESTS for word in words)
        require(fits, "batch", f"whole numbers from 1 to {MOST_REQUESTS}, separated by commas", value)
        return tuple(sorted({int(word) for word in words}))


@specdec.command(
    epilog="\b\nExamples:\n"
    "  rtnerf specdec predict --tree tree.json --acceptance rates.json --step-times h100.csv --batch 1,8,64\n"
    "  rtnerf specdec predict --tree tree.json --acceptance rates.json --target llama-2-7b --draft llama-68m"
    " --hardware a100-80g"
)
@click.option("--tree", type=PATH, required=True, help="JSON list of rank paths: [[0], [1], [0, 0]] has 3 candidates.")
@click.option("--acceptance", type=PATH, required=True, help="JSON list per depth: acceptance by rank.")
@click.option("--step-times", type=PATH, help="CSV of the target's passes: tokens,ms or batch,tokens,context,ms.")
@click.option("--target", help="Instead of step times: a named model, on the hardware.")
@click.option("--hardware", help="A named machine.")
@click.option("--draft-ms", type=at_least(0), help="One pass of the draft, ms.  [default: 0]")
@click.option("--draft", help="Instead of its time: a named model, on the hardware.")
@click.option("--draft-vocabulary", type=whole(1), help="Rows that the draft's output layer keeps (VocabTrim).")
@click.option("--draft-passes", type=whole(0), help="Of a step; default: one a level. Medusa's heads take 1.")
@click.option("--host-ms", type=at_least(0), default=0.0, show_default=True, help="Of a step, outside all passes.")
@click.option("--context", type=whole(0), default=0, show_default=True, help="Cached tokens of a request.")
@click.option("--batch", type=Batches(), default="1", show_default=True, help="Requests in a step, comma-separated.")
@click.option("--json", "json_file", type=PATH, help="Write the prediction to this file, as JSON.")
def predict(tree: Path, acceptance: Path, batch: tuple[int, ...], json_file: Path | None, **costs: Any) -> None:
    """Predict speedup by batch for a tree, where it stops paying, and what binds.

    Beyond the last step time the target is taken to slow down with the last two points' slope; such rows are marked.
    """
    from rtnerf.base.files import check_target, write_json
    from specdec.cost import predict as prediction

    if json_file is not None:
        check_target("json", json_file)
    shape = prediction.read_tree(tree)
    rows = prediction.read_acceptance(acceptance, len(shape.levels()) - 1)
    speculation, search = prediction.speculation_of(shape, **costs)
    found = prediction.predict(prediction.tokens_per_step(shape, rows), speculation, batch, search)
    if json_file is not None:
        write_json(json_file, found.record())
    click.echo(found.summary)


@specdec.command(epilog="\b\nExample:\n  rtnerf specdec validate --json validation.json")
@click.option("--json", "json_file", type=PATH, help="Write rows and bounds to this file, as JSON.")
def validate(json_file: Path | None) -> None:
    """Show published figures beside the model's, with errors and what was fitted; exit code 1 if a bound is broken."""
    from rtnerf.base.files import check_target, write_json
    from specdec.evidence.report import report

    if json_file is not None:
        check_target("json", json_file)
    found = report()
    if json_file is not None:
        write_json(json_file, found.record())
    click.echo(found.summary)
    if not found.holds:
        raise click.exceptions.Exit(1)


class Loads(click.ParamType):
    """Numbers above 0, separated by commas or as LOW:HIGH:POINTS, equal factors apart; they come out rising."""

    name = "loads"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the numbers, or refuse them."""
        name = param.opts[-1].lstrip("-") if param is not None else "loads"
        rule = "numbers above 0, such as 1,2,4 or 0.5:32:12"
        low, *rest = value.split(":")
        try:
            if rest:
                high, points = float(rest[0]), int(":".join(rest[1:]))
                loads = [float(low) * (high / float(low)) ** (step / (points - 1)) for step in range(points)]
            else:
                loads = [float(word) for word in value.split(",")]
        except (ValueError, ZeroDivisionError, IndexError):
            loads = []
        require(bool(loads) and all(0 < load < inf for load in loads), name, rule, value)
        return tuple(sorted(set(loads)))


@specdec.command(
    epilog="\b\nExamples:\n"
    "  rtnerf specdec serve --rate 8 --controller off --controller smartspec\n"
    "  rtnerf specdec serve --rate 0.5:40:12 --controller off --controller fixed:4 --controller smartspec"
    " --plot load.svg\n"
    "  rtnerf specdec serve --trace requests.csv --step-times h100.csv --draft-ms 0.6 --json served.json"
)
@click.option("--rate", type=Loads(), help="Requests a second, Poisson: a load or several, 1,2,4 or 0.5:32:12.")
@click.option("--clients", type=Loads(), help="Instead: clients that each wait for an answer before they ask again.")
@click.option("--trace", type=PATH, help="Instead: a CSV file with columns arrival_s,prompt,output[,acceptance].")
@click.option(
    "--controller", "controllers", multiple=True, default=("off", "smartspec"), show_default=True,
    help="off, fixed:K, smartspec, smartspec:profile or tree; may be repeated.",
)  # fmt: skip
@click.option("--requests", type=whole(1), default=4000, show_default=True, help="At each load.")
@click.option("--prompt", type=at_least(1), default=128, show_default=True, help="Mean tokens; geometric lengths.")
@click.option("--output", type=at_least(1), default=128, show_default=True, help="Mean tokens; geometric lengths.")
@click.option(
    "--acceptance", type=at_least(0), default=0.7, show_default=True, help="Mean, of the draft's first choice."
)
@click.option(
    "--deviation", type=at_least(0), default=0.1, show_default=True, help="Of the acceptance, from request to request."
)
@click.option("--step-times", type=PATH, help="CSV of the target's passes: tokens,ms or batch,tokens,context,ms.")
@click.option("--target", help="Instead of step times: a named model, on the hardware.  [default: llama-2-7b]")
@click.option("--hardware", default="a100-80g", show_default=True, help="A named machine.")
@click.option("--draft-ms", type=at_least(0), help="One pass of the draft, ms.  [default: 1]")
@click.option("--draft", help="Instead of its time: a named model, on the hardware.")
@click.option("--draft-passes", type=whole(0), help="Of a step; default: one a level. Medusa's heads take 1.")
@click.option("--host-ms", type=at_least(0), default=0.0, show_default=True, help="Of a step, outside all passes.")
@click.option("--max-batch", type=whole(1), default=128, show_default=True, help="Requests that run at a time.")
@click.option("--max-length", type=whole(1), default=2048, show_default=True, help="Tokens of the longest request.")
@click.option("--cache-tokens", type=whole(1), default=65536, show_default=True, help="That fit in memory.")
@click.option("--seed", type=whole(0), default=0, show_default=True, help="Of everything that is random.")
@click.option(
    "--workers", type=whole(1), default=1, show_default=True, help="Processes; results do not depend on them."
)
@click.option("--scheduler", help="Address of a Dask scheduler whose workers are used instead.")
@click.option("--json", "json_file", type=PATH, help="Write the results to this file, as JSON.")
@click.option("--plot", type=PATH, help="Draw latency against load, as .png, .svg or .pdf.")
def serve(json_file: Path | None, plot: Path | None, **options: Any) -> None:
    """Serve requests by continuous batching, with controllers that choose how much to speculate.

    Simulated step by step; without --step-times or names, for Llama-2-7B on an A100.
    """
    from rtnerf.base.files import check_target, write_json

    if plot is not None:
        require(plot.suffix in PICTURES, "plot", f"a file name that ends with {', '.join(PICTURES)}", plot)
    for name, path in (("json", json_file), ("plot", plot)):
        if path is not None:
            check_target(name, path)
    from specdec.serving import experiment
    from specdec.serving.sweep import PUBLISHED_GAIN, table

    runs = experiment.serve(**options)
    if json_file is not None:
        told = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        del told["workers"], told["scheduler"]
        write_json(json_file, {"command": "specdec serve", **told, "published_gain": PUBLISHED_GAIN, "runs": runs})
    if plot is not None:
        from specdec.view import plots
        from specdec.view.serving import load_curves

        load = "requests/s" if options["rate"] else "clients" if options["clients"] else "trace"
        plots.save(load_curves(runs, load), plot)
    click.echo(table(runs))


@specdec.command(epilog="\b\nExample:\n  rtnerf specdec calibrate --out build/calibration")
@click.option("--target", default="target", show_default=True, help="A trained model.")
@click.option("--draft", default="draft", show_default=True, help="A trained model on the same tokens.")
@click.option("--model-dir", type=PATH, help="The folder of the weights; default: those that come with the package.")
@click.option("--prompts", type=whole(1), default=8, show_default=True, help="Stretches of held-out source.")
@click.option("--tokens", type=whole(2), default=64, show_default=True, help="To decode after each prompt.")
@click.option(
    "--out", type=PATH, help="A folder for calibration.json, and step-times.csv and acceptance.json to predict."
)
def calibrate(target: str, draft: str, model_dir: Path | None, prompts: int, tokens: int, out: Path | None) -> None:
    """Fit the cost model to this processor and hold its predictions to real decoding: a minute or two.

    Exit code 1 if step times or speedups are predicted worse than claimed.
    """
    import torch

    from rtnerf.base.files import check_target, write_bytes, write_json
    from specdec.decoding.calibrate import calibrate as calibrate_pair
    from specdec.decoding.pair import Pair
    from specdec.models import pretrained

    if out is not None:
        check_target("out", out / "calibration.json")
    torch.set_num_threads(1)
    directory = model_dir or pretrained.DATA
    pair = Pair(target, draft, 0, directory)
    networks = (pretrained.load(name, directory) for name in (target, draft))
    found = calibrate_pair(*networks, pair.prompts(prompts), tokens, lambda part: click.echo(part, err=True))
    if out is not None:
        import json

        write_bytes(out / "step-times.csv", found.step_times().encode())
        write_bytes(out / "acceptance.json", f"{json.dumps(found.acceptance)}\n".encode())
        write_json(out / "calibration.json", {"target": target, "draft": draft, **found.record()})
    click.echo(found.summary)
    if not found.holds:
        raise click.exceptions.Exit(1)


class Widths(click.ParamType):
    """Whole numbers of at least 1, separated by commas; they come out rising, each once."""

    name = "integers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers, or refuse them."""
        words = [word.strip() for word in value.split(",")]
        fits = all(word.isdecimal() and int(word) > 0 for word in words)
        require(fits, "width", "whole numbers of at least 1, separated by commas", value)
        return tuple(sorted({int(word) for word in words}))


@specdec.group(epilog="\b\nExample:\n  rtnerf specdec rollout treepo --rollouts 16 --width 2,4,8 --plot savings.svg")
def rollout() -> None:
    """Sample many rollouts of a prompt on one tree, against independent ones with the same seeds."""


def _sampled(temperature: float, rollouts: int | None = None, first: int | None = None) -> Callable[..., Any]:
    """Return the decorator that adds the options that all kinds of rollouts have."""
    options = [
        click.option("--model", default="target", show_default=True, help="A trained model."),
        click.option("--model-dir", type=PATH, help="The folder of the weights; default: those of the package."),
        click.option("--temperature", type=above(0), default=temperature, show_default=True, help="Of the model."),
        click.option("--seed", type=whole(0), default=0, show_default=True, help="Of everything that is random."),
        click.option("--threads", type=whole(1), default=1, show_default=True, help="Of the model."),
        click.option("--json", "json_file", type=PATH, help="Write the results to this file, as JSON."),
    ]
    if rollouts:
        options = [
            click.option("--rollouts", type=whole(1), default=rollouts, show_default=True, help="Of each prompt."),
            click.option("--width", "widths", type=Widths(), default="2", show_default=True,
                         help="Segments that may follow a segment, such as 2 or 2,4,8: one tree for each."),
            click.option("--first", type=whole(1), default=first, show_default=True, help="Segments at the root."),
            *options,
            click.option("--plot", type=PATH, help="Draw what trees save, as .png, .svg or .pdf."),
        ]  # fmt: skip

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _roll(
    name: str, run: Callable[..., dict[str, Any]], options: dict[str, Any], json_file: Path | None,
    plot: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Check where results go, run with a model, and write the results."""
    from rtnerf.base.files import check_target, write_json

    if plot is not None:
        require(plot.suffix in PICTURES, "plot", f"a file name that ends with {', '.join(PICTURES)}", plot)
    for what, path in (("json", json_file), ("plot", plot)):
        if path is not None:
            check_target(what, path)
    import torch

    from specdec.rollout import experiment

    torch.set_num_threads(options["threads"])
    told = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    model = [options.pop(key) for key in ("model", "temperature", "model_dir")]
    del options["threads"]
    found = run(*experiment.models(*model), **options)
    if json_file is not None:
        write_json(json_file, {"command": f"specdec rollout {name}", **told, **found})
    if plot is not None:
        from specdec.view import plots

        plots.save(experiment.picture(found), plot)
    return found


@rollout.command(epilog="\b\nExample:\n  rtnerf specdec rollout treepo --rollouts 16 --depth 6 --json treepo.json")
@click.option("--prompts", type=whole(1), default=4, show_default=True, help="Beginnings of held-out source.")
@click.option("--segment", type=whole(1), default=16, show_default=True, help="Tokens of a segment, at most.")
@click.option("--depth", type=whole(1), default=6, show_default=True, help="Segments of a path, at most.")
@click.option(
    "--allocation", type=OneOf("equal", "likely", "unlikely"), default="equal", show_default=True, help="Of the forks."
)
@click.option(
    "--cut", type=OneOf("segment", "token"), default="segment", show_default=True,
    help="Where a complete path is cut when more are wanted: after a random segment or before its unlikeliest token.",
)  # fmt: skip
@_sampled(temperature=0.8, rollouts=16, first=2)
def treepo(json_file: Path | None, plot: Path | None, **options: Any) -> None:
    """Continue source text segment by segment (TreePO)."""

    def run(fresh: Any, tokenizer: Any, prompts: int, segment: int, **rest: Any) -> dict[str, Any]:
        from specdec.rollout import experiment

        policy = {name: rest.pop(name) for name in ("depth", "allocation", "cut")} | {"tokens": segment}
        return experiment.run_treepo(fresh, tokenizer, experiment.prompts(prompts), policy, **rest)

    _tell(_roll("treepo", run, options, json_file, plot))


@rollout.command(epilog="\b\nExample:\n  rtnerf specdec rollout reex-sql --rollouts 8 --json reex.json")
@click.option("--questions", type=whole(1), default=3, show_default=True, help="About a small database.")
@click.option("--executions", type=whole(1), default=4, show_default=True, help="Intermediate queries, at most; 10.")
@_sampled(temperature=1.0, rollouts=8, first=1)
def reex_sql(json_file: Path | None, plot: Path | None, **options: Any) -> None:
    """Answer questions by SQL whose intermediate queries are executed and fed back (ReEx-SQL)."""

    def run(fresh: Any, tokenizer: Any, **rest: Any) -> dict[str, Any]:
        from specdec.rollout import experiment

        return experiment.run_reex_sql(fresh, tokenizer, **rest)

    _tell(_roll("reex-sql", run, options, json_file, plot))


@rollout.command(epilog="\b\nExample:\n  rtnerf specdec rollout rest-rl --tasks 24 --json rest.json")
@click.option("--tasks", type=whole(1), default=24, show_default=True, help="Functions to be written.")
@click.option("--steps", type=whole(2), default=3, show_default=True, help="Operations of each.")
@click.option("--budget", type=whole(1), default=4, show_default=True, help="Programs verified for a task.")
@click.option("--iterations", type=whole(1), default=40, show_default=True, help="Of the search.")
@click.option("--exercises", type=whole(0), default=24, show_default=True, help="Of two steps, to learn from.")
@click.option("--experience", type=whole(1), default=32, show_default=True, help="Programs executed to learn from.")
@_sampled(temperature=3.0)
def rest_rl(json_file: Path | None, **options: Any) -> None:
    """Write functions line by line: a search led by a value model against random sampling (ReST-RL)."""

    def run(fresh: Any, tokenizer: Any, **rest: Any) -> dict[str, Any]:
        from specdec.rollout import experiment

        return experiment.run_rest_rl(fresh, tokenizer, **rest)

    found = _roll("rest-rl", run, options, json_file)
    for name, way in found["ways"].items():
        click.echo(f"{name}: {way['solved']} of {options['tasks']} solved, {way['tokens']} tokens")
    click.echo(f"search alone {found['wins']}, random alone {found['losses']}: p = {found['p_value']:.2g}")


def _tell(found: dict[str, Any]) -> None:
    from specdec.rollout import experiment

    click.echo(experiment.summary(found))
