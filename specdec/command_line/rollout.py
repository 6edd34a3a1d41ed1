"""Commands that sample many rollouts of a prompt on one tree: rollout treepo, reex-sql, rest-rl."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rtnerf.base.options import (
    PATH,
    Number,
    OneOf,
    Whole,
    Wholes,
    example,
    seed_option,
    together,
)
from specdec.command_line.limits import COUNT, STEPS, THREADS
from specdec.command_line.progress import Progress
from specdec.command_line.results import Results, result_options


@click.group(**example("rtnerf specdec rollout treepo --rollouts 16 --width 2,4,8 --plot savings.svg", cls=click.Group))
def rollout() -> None:
    """Sample many rollouts of a prompt on one tree, against independent ones with the same seeds."""


def _sampled(temperature: float, rollouts: int | None = None, first: int | None = None) -> Callable[..., Any]:
    """Return the decorator that adds the options that all kinds of rollouts have."""
    options: list[Callable[[Any], Any]] = [
        click.option("--model", default="target", show_default=True, help="A trained model."),
        click.option("--model-dir", type=PATH, help="The folder of the weights; default: those of the package."),
        click.option(
            "--temperature", type=Number(0.01, 1000), default=temperature, show_default=True, help="Of the model."
        ),
        seed_option,
        click.option("--threads", type=THREADS, default=1, show_default=True, help="Of the model."),
        result_options("a way of sampling", "what trees save" if rollouts else "what each way solves"),
    ]
    if rollouts:
        options = [
            click.option("--rollouts", type=COUNT, default=rollouts, show_default=True, help="Of each prompt."),
            click.option("--width", "widths", type=Wholes(COUNT.max), default="2", show_default=True,
                         help="Segments that may follow a segment, such as 2 or 2,4,8: one tree for each."),
            click.option("--first", type=COUNT, default=first, show_default=True, help="Segments at the root."),
            *options,
        ]  # fmt: skip
    return together(*options)


def _roll(
    name: str, run: Callable[..., dict[str, Any]], options: dict[str, Any], results: Results
) -> dict[str, Any]:  # fmt: skip
    """Check where results go, run with a model, and write the results."""
    results.check()
    import torch

    from specdec.rollout import experiment

    torch.set_num_threads(options["threads"])
    told = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    model = [options.pop(key) for key in ("model", "temperature", "model_dir")]
    del options["threads"]
    found = run(*experiment.models(*model), **options, progress=Progress("prompts"))
    record = {"command": f"specdec rollout {name}", **told, **found}
    results.write(record, experiment.rows(found), lambda: experiment.picture(found))
    return found


@rollout.command(**example("rtnerf specdec rollout treepo --rollouts 16 --depth 6 --json treepo.json"))
@click.option("--prompts", type=COUNT, default=4, show_default=True, help="Beginnings of held-out source.")
@click.option("--segment", type=COUNT, default=16, show_default=True, help="Tokens of a segment, at most.")
@click.option("--depth", type=COUNT, default=6, show_default=True, help="Segments of a path, at most.")
@click.option(
    "--allocation", type=OneOf("equal", "likely", "unlikely"), default="equal", show_default=True, help="Of the forks."
)
@click.option(
    "--cut", type=OneOf("segment", "token"), default="segment", show_default=True,
    help="Where a complete path is cut when more are wanted: after a random segment or before its unlikeliest token.",
)  # fmt: skip
@_sampled(temperature=0.8, rollouts=16, first=2)
def treepo(results: Results, **options: Any) -> None:
    """Continue source text segment by segment (TreePO)."""

    def run(fresh: Any, tokenizer: Any, prompts: int, segment: int, **rest: Any) -> dict[str, Any]:
        from specdec.rollout import experiment

        policy = {name: rest.pop(name) for name in ("depth", "allocation", "cut")} | {"tokens": segment}
        return experiment.run_treepo(fresh, tokenizer, experiment.prompts(prompts), policy, **rest)

    _tell(_roll("treepo", run, options, results))


@rollout.command(**example("rtnerf specdec rollout reex-sql --rollouts 8 --json reex.json"))
@click.option("--questions", type=COUNT, default=3, show_default=True, help="About a small database.")
@click.option("--executions", type=COUNT, default=4, show_default=True, help="Intermediate queries, at most; 10.")
@_sampled(temperature=1.0, rollouts=8, first=1)
def reex_sql(results: Results, **options: Any) -> None:
    """Answer questions by SQL whose intermediate queries are executed and fed back (ReEx-SQL)."""

    def run(fresh: Any, tokenizer: Any, **rest: Any) -> dict[str, Any]:
        from specdec.rollout import experiment

        return experiment.run_reex_sql(fresh, tokenizer, **rest)

    _tell(_roll("reex-sql", run, options, results))


@rollout.command(**example("rtnerf specdec rollout rest-rl --tasks 24 --json rest.json"))
@click.option("--tasks", type=COUNT, default=24, show_default=True, help="Functions to be written.")
@click.option("--steps", type=STEPS, default=3, show_default=True, help="Operations of each.")
@click.option("--budget", type=COUNT, default=4, show_default=True, help="Programs verified for a task.")
@click.option("--iterations", type=COUNT, default=40, show_default=True, help="Of the search.")
@click.option("--exercises", type=Whole(0, COUNT.max), default=24, show_default=True, help="Of two steps, to learn by.")
@click.option("--experience", type=COUNT, default=32, show_default=True, help="Programs executed to learn from.")
@_sampled(temperature=3.0)
def rest_rl(results: Results, **options: Any) -> None:
    """Write functions line by line: a search led by a value model against random sampling (ReST-RL)."""

    def run(fresh: Any, tokenizer: Any, **rest: Any) -> dict[str, Any]:
        from specdec.rollout import experiment

        return experiment.run_rest_rl(fresh, tokenizer, **rest)

    found = _roll("rest-rl", run, options, results)
    for name, way in found["ways"].items():
        click.echo(f"{name}: {way['solved']} of {options['tasks']} solved, {way['tokens']} tokens")
    click.echo(f"search alone {found['wins']}, random alone {found['losses']}: p = {found['p_value']:.2g}")


def _tell(found: dict[str, Any]) -> None:
    from specdec.rollout import experiment

    click.echo(experiment.summary(found))
