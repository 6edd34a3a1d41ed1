"""The three kinds of rollouts with the trained models, each against independent sampling, as records."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from rtnerf.base.errors import require
from specdec.laws.chance import Sampler
from specdec.models import pretrained
from specdec.models.cached import CachedModel
from specdec.rollout import reex_sql, rest_rl, treepo
from specdec.rollout.independent import Case, Fresh, compare
from specdec.rollout.tree import Branch, Counters, Policy, RadixTree
from specdec.text import corpus
from specdec.text.tokenizer import Tokenizer

_PROMPT_CHARACTERS = 600


def models(name: str, temperature: float, directory: Path | None) -> tuple[Fresh, Tokenizer]:
    """Return a trained model at a temperature above 0, to be had afresh, and its tokenizer."""
    directory = directory or pretrained.DATA
    return partial(CachedModel, pretrained.load(name, directory), temperature), pretrained.tokenizer(name, directory)


def run_treepo(
    fresh: Fresh, tokenizer: Tokenizer, texts: Sequence[str], policy: Mapping[str, Any], **sampling: Any
) -> dict[str, Any]:
    """Sample continuations of source text, rewarded for being Python.

    ``policy`` is for `treepo.TreePo`, ``sampling`` for `compare`.
    """

    def tell(text: str, _policy: Policy, leaves: Sequence[Branch]) -> dict[str, float]:
        reward = {leaf: float(treepo.parses(text + tokenizer.decode(leaf.path))) for leaf in leaves}
        roots = dict.fromkeys(leaf.ancestors[-1] for leaf in leaves)
        advantages = [value for root in roots for value in treepo.advantages(root, reward).values()]
        return {"reward": sum(reward.values()), "with_advantage": float(np.count_nonzero(advantages))}

    cases = [
        Case(tokenizer.encode(text), lambda _: treepo.TreePo(tokenizer.decode, **policy), partial(tell, text))
        for text in texts
    ]
    found = compare(fresh, cases, **sampling)
    for tree in found["trees"]:
        rollouts, depth = sampling["rollouts"], policy["depth"]
        segments = treepo.distinct_segments(rollouts, tree["width"], tree["first"], depth)
        tree["counted_saving"] = 1 - segments / (rollouts * depth)
    return found | {"published": {"trajectories": 0.40, "tokens": 0.35}}


def run_reex_sql(
    fresh: Fresh, tokenizer: Tokenizer, questions: int, executions: int, **sampling: Any
) -> dict[str, Any]:
    """Answer questions about a small database. ``sampling`` is for `compare`."""
    most = len(reex_sql.QUESTIONS)
    require(1 <= questions <= most, "questions", f"from 1 to {most}", questions)

    def tell(policy: reex_sql.ReExSql, leaves: Sequence[Branch]) -> dict[str, float]:
        return {"queries": policy.asked, "executed": policy.executed, "right_votes": float(policy.vote(leaves))}

    cases = []
    for question in reex_sql.QUESTIONS[:questions]:
        make = partial(reex_sql.ReExSql, tokenizer, question, executions=executions)
        cases.append(Case(reex_sql.prompt(tokenizer, question), make, tell))
    return compare(fresh, cases, **sampling) | {"published": {"seconds": 0.519}}


def run_rest_rl(
    fresh: Fresh, tokenizer: Tokenizer, tasks: int, steps: int, budget: int, iterations: int, exercises: int,
    experience: int, seed: int, progress: Callable[[int, int], None] = lambda done, parts: None,
) -> dict[str, Any]:  # fmt: skip
    """Write programs by search and by chance, each verifying ``budget`` programs a task.

    The value model has learnt from all tasks of one step and from ``exercises`` of two, never from those of the test.
    """
    require(steps >= 2, "steps", "at least 2", steps)
    most = len(rest_rl.OPERATIONS) ** 2
    require(exercises <= most, "exercises", f"at most {most}", exercises)
    if steps == 2:
        rule = f"at most {most - exercises} besides {exercises} exercises"
        require(tasks <= most - exercises, "tasks", rule, tasks)
    chance = Sampler(seed)
    pairs = rest_rl.tasks(2, exercises + tasks * (steps == 2), chance)
    known = rest_rl.tasks(1, len(rest_rl.OPERATIONS), chance) + pairs[:exercises]
    unseen = pairs[exercises:] or rest_rl.tasks(steps, tasks, chance)
    value = rest_rl.learn(fresh, tokenizer, known, experience, seed)
    costs = {"search": Counters(), "random": Counters()}
    solved: dict[str, list[bool]] = {"search": [], "random": []}
    unshared = wasted = 0
    for number, task in enumerate(unseen):
        writer = rest_rl.CodeLines(tokenizer, task)
        tree = RadixTree(fresh(), writer.prompt, (seed, number))
        found = rest_rl.search(tree, writer, task, value, iterations)
        drawn, cost = rest_rl.sample(fresh(), writer, budget, (seed, number))
        programs = {"search": [leaf.note.lines for leaf in found[:budget]], "random": drawn}
        for name, way in programs.items():
            solved[name].append(1.0 in rest_rl.verify([(task, lines) for lines in way]))
        costs["search"] += tree.counters
        costs["random"] += cost
        unshared += sum(len(branch.path) for branch in tree.branches)
        wasted += tree.counters.rows - sum(len(branch.tokens) for branch in rest_rl.visible(tree))
        progress(number + 1, len(unseen))
    wins, losses = (
        sum(a and not b for a, b in zip(*pair, strict=True))
        for pair in ((solved["search"], solved["random"]), (solved["random"], solved["search"]))
    )
    return {
        "ways": {name: {"solved": sum(solved[name]), **cost.report()} for name, cost in costs.items()},
        "saving_by_sharing": 1 - costs["search"].tokens / unshared,
        "wasted_share": wasted / costs["search"].rows,
        "wins": wins,
        "losses": losses,
        "p_value": sign_test(wins, losses),
    }


def sign_test(wins: int, losses: int) -> float:
    """Return the probability of so many wins or more among wins and losses that are equally likely."""
    return float(binomtest(wins, wins + losses, alternative="greater").pvalue) if wins + losses else 1.0


def prompts(count: int) -> list[str]:
    """Return ``count`` beginnings of held-out source files, spread evenly over them, each cut at a line's end."""
    texts = [text for text in corpus.held_out() if len(text) > 2 * _PROMPT_CHARACTERS]
    require(0 < count <= len(texts), "prompts", f"from 1 to {len(texts)}, the files there are", count)
    chosen = texts[:: max(len(texts) // count, 1)][:count]
    return [text[: text.rindex("\n", 0, _PROMPT_CHARACTERS) + 1] for text in chosen]


def summary(found: Mapping[str, Any]) -> str:
    """Return a record of trees against independent rollouts as a table."""
    rows = [(f"tree, width {tree['width']}", tree) for tree in found["trees"]]
    rows += [(name.replace("_", " "), way) for name, way in found["independent"].items()]
    lines = [f"{'':16}{'rollouts':>9}{'tokens':>8}{'rounds':>8}{'batch':>7}{'held':>7}{'seconds':>9}"]
    for name, way in rows:
        sizes = f"{way['rollouts']:9}{way['tokens']:8}{way['rounds']:8}{way['batch']:7.1f}{way['held']:7}"
        lines.append(f"{name:16}{sizes}{way['seconds']:9.2f}")
    for name, tree in rows[: len(found["trees"])]:
        for other, saving in tree["saving"].items():
            parts = f"{saving['tokens']:.1%} of the tokens, {saving['seconds']:.1%} of the time"
            lines.append(f"{name} saves {parts} of independent rollouts {other.replace('_', ' ')}")
    return "\n".join(lines)


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ways of a record, a row each: trees and independent rollouts, or search and chance."""
    if "ways" in found:
        return [{"way": name, **way} for name, way in found["ways"].items()]
    trees = [{"way": f"tree, width {tree['width']}", **tree} for tree in found["trees"]]
    none = {name: dict.fromkeys(saving) for name, saving in found["trees"][0]["saving"].items()}
    independent = found["independent"].items()
    return trees + [{"width": None, "way": name, **way, "saving": none} for name, way in independent]


def picture(found: Mapping[str, Any]) -> Figure:
    """Return the picture of what trees save by their shape, or of what search and chance solve."""
    if "ways" in found:
        return _solved(found["ways"])
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    widths = [tree["width"] for tree in found["trees"]]
    saved = [tree["saving"]["side_by_side"]["tokens"] for tree in found["trees"]]
    axes.plot(widths, saved, "o-", label="tokens")
    for other in found["independent"]:
        saved = [tree["saving"][other]["seconds"] for tree in found["trees"]]
        axes.plot(widths, saved, "s-", label=f"time, against rollouts {other.replace('_', ' ')}")
    if "counted_saving" in found["trees"][0]:
        counted = [tree["counted_saving"] for tree in found["trees"]]
        axes.plot(widths, counted, "k--", label="tokens, if all paths were of full length")
    axes.set(xlabel="segments that may follow a segment", ylabel="share saved", xticks=widths)
    axes.axhline(0, color="grey", linewidth=0.5)
    axes.legend()
    return figure


def _solved(ways: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(list(ways), [way["solved"] for way in ways.values()])
    axes.set(ylabel="tasks solved")
    return figure
