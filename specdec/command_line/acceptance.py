"""The command that makes a law of acceptance of what was measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, Whole, example
from specdec.command_line.results import Results, result_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAFTED = 64

MOST_NODES = 1000

ASSUMED = "ranks after the first share what it leaves as Sequoia's published ranks do"
"""Of a tree's tau where only chains were measured."""


@click.command(
    **example(
        "rtnerf specdec acceptance vllm.log --json law.json",
        "rtnerf specdec acceptance sglang.log --drafted 4 --nodes 16 --rates rates.json",
    )
)
@click.argument("source", type=PATH)
@click.option("--drafted", type=Whole(1, MOST_DRAFTED), help="Tokens of the chain, where the source does not tell.")
@click.option("--depth", type=Whole(1, MOST_DRAFTED), default=8, show_default=True, help="Of chains and trees shown.")
@click.option("--nodes", type=Whole(2, MOST_NODES), help="Of the best tree, the root included: its tau is shown too.")
@click.option("--rates", type=PATH, help="Write acceptance by depth and rank to this file, for predict.")
@result_options("a depth", "the rate by depth and the acceptance length")
def acceptance(
    source: Path, drafted: int | None, depth: int, nodes: int | None, rates: Path | None, results: Results
) -> None:  # fmt: skip
    """Make a law of acceptance: the rate by depth, the acceptance length by drafted tokens, the tau of a tree.

    The source is a log or metrics of vLLM, SGLang or TensorRT-LLM, or JSON: accepted tokens by step, right tokens by
    position and step, rates by position, acceptance by depth and rank, or acceptance lengths by drafted tokens.
    """
    from rtnerf.base.files import write_bytes

    results.check(rates=rates)
    import json

    import numpy as np

    from specdec.cost.ranks import ranks_of_one
    from specdec.laws.acceptance_sources import read
    from specdec.trees.shape import expected_tokens, greedy_shape

    found = read(source, drafted)
    law, by_depth = found.law, found.rates(depth)
    lengths = {count: float(1 + np.cumprod(by_depth[:count]).sum()) for count in range(1, depth + 1)}
    ranked = found.ranks or [ranks_of_one(rate).tolist() for rate in by_depth]
    record: dict[str, Any] = {
        "quantity": found.quantity,
        "steps": found.steps,
        "first": law.first,
        "decay": law.decay,
        "rate_by_depth": by_depth,
        "acceptance_length": lengths,
    }
    told = f" of {found.steps} steps" if found.steps else ""
    click.echo(f"{found.quantity}{told}")
    click.echo(f"rate at depth k: {law.first:.3f} * {law.decay:.3f}**(k - 1)")
    for count, rate in enumerate(by_depth, 1):
        click.echo(f"  {count} drafted: rate {rate:.3f}, acceptance length {lengths[count]:.3f}")
    if nodes is not None:
        table = np.array([np.pad(row, (0, max(map(len, ranked)) - len(row))) for row in ranked])
        shape = greedy_shape(table, nodes)
        assumed = "" if found.ranks else ASSUMED
        tau = float(expected_tokens(shape, table))
        record["tree"] = {"nodes": len(shape), "tau": tau, "assumed": assumed}
        click.echo(f"tree of {len(shape)}: tau {tau:.3f}{assumed and f'; assumed: {assumed}'}")
    if rates is not None:
        write_bytes(rates, f"{json.dumps(ranked)}\n".encode())
    rows = [{"drafted": at, "rate": rate, "acceptance_length": lengths[at]} for at, rate in enumerate(by_depth, 1)]

    def picture() -> "Figure":
        from specdec.view.acceptance import law

        return law(by_depth, lengths)

    results.write({"command": "specdec acceptance", **record}, rows, picture)
