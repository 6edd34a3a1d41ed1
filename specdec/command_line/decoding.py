"""Commands that decode with the trained models: train, measure, calibrate."""

import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.errors import require
from rtnerf.base.options import (
    PATH,
    Number,
    OneOf,
    Whole,
    example,
    refuse_given,
    seed_option,
)
from specdec.command_line.limits import COUNT, DEPTH, NODES, PENALTY, THREADS, TOKENS
from specdec.command_line.progress import Progress
from specdec.command_line.results import Results, result_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROPOSERS = (
    "chain", "static", "sequoia", "medusa", "specinfer", "rsd-constant", "rsd-beam", "dyspec", "dyspec-threshold",
    "dyspec-calibrated", "eagle2", "vocabtrim-eagle2", "opt-tree", "retrieval", "lookup", "rasd", "medusa-lookup",
    "eagle2-lookup", "confidence",
)  # fmt: skip
"""The names in `specdec.decoding.methods.PROPOSERS`, which would be slow to import."""

VERIFIERS = (
    "greedy", "naive", "with-replacement", "without-replacement", "multi-step", "deterministic", "typical",
)  # fmt: skip
"""The names in `specdec.decoding.methods.VERIFIERS`, likewise."""

PROGRESS_SECONDS = 5
"""Between two lines about a training under way."""


@click.command(**example("rtnerf specdec train --out build/specdec"))
@click.option("--out", type=PATH, required=True, help="The folder for the models; an unfinished run there goes on.")
@click.option(
    "--effort",
    type=Number(0, 1000, min_open=True),
    default=0.7,
    show_default=True,
    help="Factor of the steps of every model.",
)
@click.option("--threads", type=THREADS, default=2, show_default=True, help="The last bits depend on it.")
@seed_option
@result_options("a model", "the held-out loss of every model")
def train(out: Path, effort: float, threads: int, seed: int, results: Results) -> None:
    """Train all models on the Python standard library's sources: under half an hour on two cores."""
    require(not out.is_file(), "out", "a folder", f"{out} (a file)")
    results.check()
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

    def picture() -> "Figure":
        from specdec.view.training import held_out

        return held_out(losses)

    record = {"command": "specdec train", "effort": effort, "seed": seed, "nats_a_token": losses}
    results.write(record, [{"model": name, "nats_a_token": loss} for name, loss in losses.items()], picture)
    for name, loss in losses.items():
        click.echo(f"{out}: {name} {loss:.4f} nats a token, held out")


@click.command(**example("rtnerf specdec measure --proposer eagle2 --nodes 16 --json measured.json"))
@click.option("--proposer", type=OneOf(*PROPOSERS), default="lookup", show_default=True, help="Who guesses.")
@click.option("--verifier", type=OneOf(*VERIFIERS), help="Who decides; default: greedy at temperature 0, else naive.")
@click.option("--temperature", type=Number(0), default=0.0, show_default=True, help="Of the target and the draft.")
@click.option("--nodes", type=NODES, default=8, show_default=True, help="Of the tree at most, the root included.")
@click.option(
    "--depth", type=DEPTH, default=8, show_default=True, help="Layers below the root that a draft makes, at most."
)
@click.option("--target", default="target", show_default=True, help="A trained model, or a folder of Hugging Face's.")
@click.option("--draft", help="Likewise, on the same tokens.  [default: draft, or none beside a folder]")
@click.option("--model-dir", type=PATH, help="The folder of trained models; default: those that come with the package.")
@click.option("--tokens", type=TOKENS, default=128, show_default=True, help="To decode after each prompt.")
@click.option("--prompts", type=Whole(1), default=8, show_default=True, help="Stretches of held-out source.")
@click.option("--batch", type=COUNT, default=1, show_default=True, help="Prompts that are decoded side by side.")
@click.option("--prompts-file", type=PATH, help="Instead: one prompt a line, or a JSON list of them.")
@click.option("--stop", multiple=True, help="A text that ends an output; may be repeated.")
@click.option("--stream", is_flag=True, help="Print outputs as they come.")
@click.option("--top-k", type=Whole(1), help="Draw among so many of the likeliest tokens.")
@click.option(
    "--top-p", type=Number(0, 1, min_open=True), help="Draw among the likeliest tokens of so much probability."
)
@click.option("--min-p", type=Number(0, 1), help="Draw among tokens at least so likely relative to the likeliest.")
@click.option(
    "--repetition-penalty", type=PENALTY, default=1.0, show_default=True,
    help="On logits of tokens that are there already.",
)  # fmt: skip
@seed_option
@click.option("--threads", type=THREADS, default=1, show_default=True, help="Of the models.")
@click.option("--lossy", is_flag=True, help="Allow what does not keep the target's law.")
@result_options("a prompt", "acceptance and the best tree")
def measure(
    model_dir: Path | None, lossy: bool, threads: int, results: Results, stream: bool, **options: Any
) -> None:  # fmt: skip
    """Decode held-out source, or your own prompts, by speculation and plainly, side by side, and compare.

    Exit code 1 where outputs are not what plain decoding gives, beyond what rounding or chance explains.
    """
    results.check()
    import torch

    from specdec.decoding import methods
    from specdec.decoding.measure import measure as measure_pair
    from specdec.decoding.pair import Pair
    from specdec.decoding.prompts import Printed, read_prompts
    from specdec.laws.filters import Filter
    from specdec.models import pretrained

    torch.set_num_threads(threads)
    temperature, own = options["temperature"], options["prompts_file"]
    options["verifier"] = options["verifier"] or ("naive" if temperature else "greedy")
    cuts = {name: options[name] for name in ("top_k", "top_p", "min_p") if options[name] is not None}
    if not temperature:
        refuse_given("at temperature 0", "top-k", "top-p", "min-p")
    if options["proposer"] in methods.DRAFTLESS:
        refuse_given(f"with {options['proposer']}", "draft")
    if options["proposer"] in methods.BOUNDLESS:
        refuse_given(f"with {options['proposer']}", "depth")
    if own is not None:
        refuse_given("with prompts-file", "prompts")
    if options["batch"] > 1:
        refuse_given("with a batch", "stream")
    texts = None if own is None else read_prompts(own)
    pair = Pair(
        options["target"], options["draft"], temperature, model_dir or pretrained.DATA, Filter(**cuts),
        options["repetition_penalty"],
    )  # fmt: skip
    prompts = pair.prompts(options["prompts"]) if texts is None else list(map(pair.tokenizer.encode, texts))
    method = {
        name: options[name] for name in ("proposer", "verifier", "nodes", "tokens", "depth", "seed", "stop", "batch")
    }
    printed = Printed(pair.tokenizer.decode, click.echo) if stream else None
    found = measure_pair(pair, prompts=prompts, lossless=not lossy, emit=printed, progress=Progress("parts"), **method)
    if printed is not None:
        printed.finish()
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    told = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    made_by = {"command": "specdec measure", **told, "lossy": lossy, "threads": threads}

    def picture() -> "Figure":
        from specdec.view import plots

        best = max(found.steps, key=lambda step: len(step.tokens))
        return plots.acceptance(found, best, lambda token: pair.tokenizer.decode([token]))

    results.write({**made_by, **found.record(), "versions": versions}, found.rows(), picture)
    click.echo(found.summary)
    if not (lossy or found.faithful):
        raise click.exceptions.Exit(1)


@click.command(**example("rtnerf specdec calibrate --out build/calibration"))
@click.option("--target", default="target", show_default=True, help="A trained model.")
@click.option("--draft", default="draft", show_default=True, help="A trained model on the same tokens.")
@click.option("--model-dir", type=PATH, help="The folder of the weights; default: those that come with the package.")
@click.option("--prompts", type=Whole(1), default=8, show_default=True, help="Stretches of held-out source.")
@click.option("--tokens", type=Whole(2, TOKENS.max), default=64, show_default=True, help="To decode after each prompt.")
@click.option(
    "--out", type=PATH, help="A folder for calibration.json, and step-times.csv and acceptance.json to predict."
)
@result_options("a tree or batch", "predicted over measured step times and speedups")
def calibrate(
    target: str, draft: str, model_dir: Path | None, prompts: int, tokens: int, out: Path | None, results: Results
) -> None:  # fmt: skip
    """Fit the cost model to this processor and hold its predictions to real decoding: a minute or two.

    Exit code 1 if step times or speedups are predicted worse than claimed.
    """
    results.check(out=out and out / "calibration.json")
    import torch

    from rtnerf.base.files import write_bytes, write_json
    from specdec.decoding.calibrate import calibrate as calibrate_pair
    from specdec.decoding.pair import Pair
    from specdec.models import pretrained

    torch.set_num_threads(1)
    directory = model_dir or pretrained.DATA
    pair = Pair(target, draft, 0, directory)
    networks = pretrained.load(target, directory), pretrained.load(draft, directory)
    found = calibrate_pair(*networks, pair.prompts(prompts), tokens, lambda part: click.echo(part, err=True))
    record = {"target": target, "draft": draft, **found.record()}
    if out is not None:
        import json

        write_bytes(out / "step-times.csv", found.step_times().encode())
        write_bytes(out / "acceptance.json", f"{json.dumps(found.acceptance)}\n".encode())
        write_json(out / "calibration.json", record)

    def picture() -> "Figure":
        from specdec.view.evidence import ratios

        return ratios(found.ratios)

    results.write({"command": "specdec calibrate", **record}, record["checks"], picture)
    click.echo(found.summary)
    if not found.holds:
        raise click.exceptions.Exit(1)
