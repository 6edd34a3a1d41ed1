"""Speculative decoding on the trained models: tokens per step, seconds, what they are spent on, and fidelity.

Run ``python -m benchmarks.specdec --json FILE`` from the checkout; ``--help`` lists the options. The sweep
decodes held-out source with every method at every budget of nodes, side by side with plain decoding; the orderings
compare methods of equal budget prompt by prompt; the law test draws many outputs of one context; the tree scan is
compared with unrolled paths. Takes about a quarter of an hour on a quiet core.
"""

import argparse
import json
import os
import platform
import sys
import time
import weakref
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rtnerf.base.files import write_json
from specdec.decoding.decode import decode
from specdec.decoding.goodness_of_fit import Remembered, law_test
from specdec.decoding.measure import measure
from specdec.decoding.pair import Pair
from specdec.decoding.statistics import paired_interval, tokens_per_step
from specdec.laws.chance import Sampler
from specdec.models import pretrained
from specdec.models.packing import Packing
from specdec.proposers.confidence import ConfidenceFilter
from specdec.proposers.static import StaticTree, chain, rsd_constant, specinfer
from specdec.trees.shape import Shape, greedy_shape
from specdec.trees.tree import Source
from specdec.verifiers.multi_step import WithoutReplacement, WithReplacement
from specdec.verifiers.naive import NaiveSampling
from specdec.view import plots

METHODS = {
    0.0: {
        "chain": "greedy", "static": "greedy", "medusa": "greedy", "dyspec": "greedy", "dyspec-threshold": "greedy",
        "eagle2": "greedy", "opt-tree": "greedy", "retrieval": "greedy", "lookup": "greedy", "rasd": "greedy",
        "medusa-lookup": "greedy", "eagle2-lookup": "greedy",
    },
    1.0: {
        "chain": "without-replacement", "static": "without-replacement", "specinfer": "with-replacement",
        "rsd-constant": "without-replacement", "rsd-beam": "without-replacement", "dyspec": "without-replacement",
        "dyspec-threshold": "without-replacement", "eagle2": "deterministic", "lookup": "deterministic",
        "rasd": "multi-step",
    },
}  # fmt: skip
"""Proposers with their verifiers, by temperature."""

CLAIMS = {
    0.0: [
        ("chain", "static"), ("static", "eagle2"), ("static", "opt-tree"), ("static", "dyspec"),
        ("eagle2", "rasd"), ("lookup", "rasd"), ("medusa", "medusa-lookup"), ("lookup", "medusa-lookup"),
        ("lookup", "eagle2-lookup"),
    ],
    1.0: [
        ("chain", "static"), ("static", "dyspec"), ("static", "dyspec-threshold"), ("specinfer", "rsd-constant"),
        ("rsd-constant", "rsd-beam"), ("dyspec-threshold", "rasd"), ("lookup", "rasd"),
    ],
}  # fmt: skip
"""(fewer, more): what is expected to gain more tokens per step at equal budget."""

FASTEST = [
    ("lookup", 8, 1), ("lookup", 16, 1), ("eagle2-lookup", 8, 1), ("eagle2-lookup", 8, 2), ("medusa-lookup", 8, 1),
    ("rasd", 8, 1), ("medusa", 8, 1), ("eagle2", 8, 2),
]  # fmt: skip
"""(proposer, nodes, draft layers) of small trees, which pay on a processor without parallel rows to spare."""

LAW_CONTEXTS, LAW_TOKENS = 4, 150


def sweep(options, temperature, methods, note):
    """Measure methods at every budget. Returns (rows, measurements by (proposer, nodes))."""
    pair = Pair(temperature=temperature, directory=options.model_dir)
    texts, found = pair.prompts(options.prompts), {}
    rules = {proposer: rule for proposer, rule in METHODS[temperature].items() if proposer in methods}
    for (proposer, verifier), nodes in product(rules.items(), options.budgets):
        # A chain is as deep as it has nodes; few get further than 16 tokens.
        limit = min(nodes - 1, 16) if proposer == "chain" else options.depth
        result = measure(pair, proposer, verifier, nodes, texts, options.tokens, depth=limit, law_trials=0)
        found[proposer, nodes] = result
        note(f"T={temperature} {proposer:16} {nodes:3} nodes: {result.summary}")
    rows = [
        {"temperature": temperature, "proposer": proposer, "verifier": METHODS[temperature][proposer], "nodes": nodes}
        | result.record()
        for (proposer, nodes), result in found.items()
    ]
    return rows, found


def speeds(options, methods, note):
    """Measure the fastest methods on more text. Returns rows with the 95 % interval of the mean speedup."""
    pair, rows = Pair(directory=options.model_dir), []
    texts = pair.prompts(options.prompts)
    for proposer, nodes, depth in methods:
        result = measure(pair, proposer, "greedy", nodes, texts, 2 * options.tokens, depth=depth)
        note(f"{proposer:16} {nodes:3} nodes, {depth} layers: {result.summary}")
        _, low, high = paired_interval([0] * len(texts), result.speedups)
        row = {"proposer": proposer, "nodes": nodes, "depth": depth, "speedup_interval": [low, high]}
        rows.append(row | result.record())
    return rows


def orderings(options, sweep, note):
    """Compare methods of equal budget prompt by prompt. Returns rows with the gain's 95 % interval."""
    rows, taus = [], {(row["temperature"], row["proposer"], row["nodes"]): row["taus"] for row in sweep}
    for temperature, claims in CLAIMS.items():
        for (fewer, more), nodes in product(claims, options.budgets):
            first, second = taus[temperature, fewer, nodes], taus[temperature, more, nodes]
            gain, low, high = paired_interval(first, second)
            rows.append(
                {
                    "temperature": temperature,
                    "nodes": nodes,
                    "fewer": fewer,
                    "more": more,
                    "tau_fewer": float(np.mean(first)),
                    "tau_more": float(np.mean(second)),
                    "gain": gain,
                    "interval": [low, high],
                    "verdict": "more" if low > 0 else "fewer" if high < 0 else "equal within the interval",
                }
            )
            note(f"T={temperature} {nodes:3} nodes: {more} - {fewer} = {gain:+.3f} [{low:+.3f}, {high:+.3f}]")
    return rows


def replacement(directory, prompts, tokens):
    """Compare draws with and without replacement on trees of the same shape. Returns rows with the gain's interval."""
    rows = []
    for temperature, branching in product((0.3, 0.6), ([4], [4, 2])):
        pair, taus = Pair(temperature=temperature, directory=directory), {}
        for make, verifier in ((specinfer, WithReplacement()), (rsd_constant, WithoutReplacement())):
            models, taus[make] = pair.models(), []
            for index, prompt in enumerate(pair.prompts(prompts)):
                _, steps = decode(
                    models.target, make(models.draft, branching), verifier, prompt, tokens, Sampler(index)
                )
                taus[make].append(tokens_per_step(steps))
        gain, low, high = paired_interval(taus[specinfer], taus[rsd_constant])
        rows.append(
            {
                "temperature": temperature,
                "branching": branching,
                "tau_with": float(np.mean(taus[specinfer])),
                "tau_without": float(np.mean(taus[rsd_constant])),
                "gain": gain,
                "interval": [low, high],
            }
        )
    return rows


def law_tests(directory, target, draft, temperature, trials):
    """Draw outputs of two tokens. Returns p-value and power for every rule, and for one that is biased."""
    pair = Pair(target, draft, temperature, directory)
    rules = {
        "without replacement": (lambda draft: rsd_constant(draft, [3, 2]), WithoutReplacement(), True),
        "with replacement": (lambda draft: specinfer(draft, [3, 2]), WithReplacement(), True),
        "naive": (lambda draft: StaticTree(draft, Shape.constant([3, 2]), Source.RANKED), NaiveSampling(), True),
        "biased retention": (lambda draft: ConfidenceFilter(chain(draft, 2), 0.3), WithoutReplacement(), False),
    }
    found = {}
    for name, (make, verifier, lossless) in rules.items():
        samples = []
        for index, prompt in enumerate(pair.prompts(LAW_CONTEXTS)):
            models, context = pair.models(), prompt[:LAW_TOKENS]
            target_model, draft_model = Remembered(models.target, context), Remembered(models.draft, context)
            trial = (target_model, make(draft_model), verifier, context, 2, pair.chance(0, index), lossless)
            samples.append((target_model, context, [decode(*trial)[0] for _ in range(trials)]))
        test = law_test(samples)
        found[name] = {"p_value": test.p_value, "power": test.power}
    return {"target": target, "draft": draft, "temperature": temperature, "trials": trials, "rules": found}


class PeakMemory(TorchDispatchMode):
    """Count the bytes of the tensors that are alive at once, of those that are made inside."""

    def __init__(self):
        super().__init__()
        self._owners = {}
        self.alive = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._hold(tensor)
        return result

    def _hold(self, tensor):
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self._owners:
            self._owners[place] = 0
            self.alive += size
            self.peak = max(self.peak, self.alive)
        self._owners[place] += 1
        weakref.finalize(tensor, self._drop, place, size)

    def _drop(self, place, size):
        self._owners[place] -= 1
        if not self._owners[place]:
            del self._owners[place]
            self.alive -= size


def tree_scan(directory, sizes, repeats):
    """Read trees by one packed scan, and by a batch of unrolled paths, both from the empty prefix.

    Returns a row for each size. Times are the processor's, so that a shared machine does not matter.
    """
    network = pretrained.load("ssm", directory)
    acceptance = np.array([0.6, 0.15, 0.08, 0.04, 0.03, 0.02, 0.02, 0.01])
    generator, rows = np.random.default_rng(0), []
    layers = [layer for layer in network.layers if hasattr(layer, "size")]
    state_bytes = sum(4 * layer.heads * layer.features * layer.size for layer in layers)
    for nodes in sizes:
        shape = greedy_shape(acceptance, nodes)
        paths = [(), *shape.paths]
        place = {path: node for node, path in enumerate(paths)}
        parent = [-1, *(place[path[:-1]] for path in shape.paths)]
        leaves = [path for path in paths if not shape.branching(path)]
        tokens = torch.from_numpy(generator.integers(256, size=nodes))
        deepest = max(map(len, leaves)) + 1
        # Every leaf's path from the root, filled up to the length of the longest.
        index = torch.tensor([[place[leaf[:end]] for end in range(len(leaf) + 1)] + [0] * (deepest - len(leaf) - 1)
                              for leaf in leaves])  # fmt: skip

        def packed(tokens=tokens, parent=parent):
            memories = network.start()
            return network(tokens, Packing(parent, len(parent), 0), memories), memories

        def unrolled(tokens=tokens, index=index):
            return network(tokens[index])

        times, peaks = {}, {}
        with torch.no_grad():
            hidden, memories = packed()
            for leaf, row in zip(leaves, unrolled(), strict=True):
                ends = [place[leaf[:end]] for end in range(len(leaf) + 1)]
                torch.testing.assert_close(row[: len(ends)], hidden[ends], rtol=0, atol=1e-4)
            for name, action in (("packed", packed), ("unrolled", unrolled)):
                with PeakMemory() as memory:
                    action()
                peaks[name] = memory.peak
                times[name] = []
            for _ in range(repeats):
                for name, action in (("packed", packed), ("unrolled", unrolled)):
                    started = time.process_time()
                    action()
                    times[name].append(time.process_time() - started)
        held = sum(rows.numel() * 4 for memory in memories for rows in getattr(memory, "inputs", ()))
        milliseconds = {name: 1e3 * float(np.median(values)) for name, values in times.items()}
        rows.append(
            {
                "nodes": nodes,
                "leaves": len(leaves),
                "unrolled_tokens": sum(len(leaf) + 1 for leaf in leaves),
                "unrolled_rows": index.numel(),
                "packed_ms": milliseconds["packed"],
                "unrolled_ms": milliseconds["unrolled"],
                "speedup": milliseconds["unrolled"] / milliseconds["packed"],
                "packed_peak_bytes": peaks["packed"],
                "unrolled_peak_bytes": peaks["unrolled"],
                "packed_held_bytes": state_bytes + held,
                "state_per_leaf_bytes": len(leaves) * state_bytes,
                "state_per_node_bytes": nodes * state_bytes,
            }
        )
    return rows


def draw(folder, pair, found):
    """Draw tau by budget for each temperature, and the acceptance and best tree of the method with the most tokens."""
    for temperature, results in found.items():
        curves = {}
        for (proposer, nodes), result in results.items():
            curves.setdefault(proposer, {})[nodes] = result.tau
        plots.save(plots.tau_by_budget(curves), folder / f"specdec_tau_{temperature:g}.png")
    best = max(found[0.0].values(), key=lambda result: result.tau)
    step = max(best.steps, key=lambda step: len(step.tokens))
    figure = plots.acceptance(best, step, lambda token: pair.tokenizer.decode([token]))
    plots.save(figure, folder / "specdec_acceptance.png")


OPTIONS = "budgets", "prompts", "tokens", "depth"
"""That a result keeps."""


def everything(options, note):
    """Run all, write, draw."""
    result = {
        "command": "python -m benchmarks.specdec",
        **{name: getattr(options, name) for name in OPTIONS},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    result["tree_scan"] = tree_scan(options.model_dir, [4, 8, 16, 32, 64], repeats=60)
    for row in result["tree_scan"]:
        note(f"tree scan, {row['nodes']:3} nodes: {row['packed_ms']:.2f} ms packed, {row['unrolled_ms']:.2f} unrolled")
    result["speed"] = speeds(options, FASTEST, note)
    write_json(options.json, result)
    result["sweep"], found = [], {}
    for temperature, methods in METHODS.items():
        rows, found[temperature] = sweep(options, temperature, methods, note)
        result["sweep"] += rows
        write_json(options.json, result)
    result["orderings"] = orderings(options, result["sweep"], note)
    result["replacement"] = replacement(options.model_dir, 2 * options.prompts, options.tokens)
    for row in result["replacement"]:
        note(f"T={row['temperature']} {row['branching']}: without - with = {row['gain']:+.3f} {row['interval']}")
    result["law"] = [
        law_tests(options.model_dir, *names)
        for names in (("byte-target", "byte-draft", 1.0, 2000), ("target", "draft", 0.5, 400))
    ]
    for row in result["law"]:
        note(f"law of {row['target']}: {row['rules']}")
    write_json(options.json, result)
    if options.plots is not None:
        draw(options.plots, Pair(directory=options.model_dir), found)


def again(options, note):
    """Measure some methods anew, and leave the rest of the result file as it is."""
    result = json.loads(options.json.read_text())
    if any(result[name] != getattr(options, name) for name in OPTIONS):
        sys.exit(f"the file has other {', '.join(OPTIONS)}")
    fastest = [one for one in FASTEST if one[0] in options.methods]
    kept = [row for row in result["speed"] if row["proposer"] not in options.methods]
    result["speed"] = kept + speeds(options, fastest, note)
    for temperature in METHODS:
        rows, _ = sweep(options, temperature, options.methods, note)
        measured = {(row["temperature"], row["proposer"]) for row in rows}
        kept = [row for row in result["sweep"] if (row["temperature"], row["proposer"]) not in measured]
        result["sweep"] = kept + rows
    result["orderings"] = orderings(options, result["sweep"], note)
    result["again"] = {"methods": options.methods, "load": os.getloadavg()[0], "torch": torch.__version__}
    write_json(options.json, result)


def main():
    """Read the options, run, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.specdec", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="the result file")
    parser.add_argument("--plots", type=Path, help="a folder for the pictures")
    parser.add_argument("--budgets", type=int, nargs="+", default=[8, 16, 32, 64], help="nodes, the root included")
    parser.add_argument("--prompts", type=int, default=16, help="stretches of held-out source")
    parser.add_argument("--tokens", type=int, default=64, help="decoded after each")
    parser.add_argument("--depth", type=int, default=8, help="layers below the root, but for chains")
    parser.add_argument("--model-dir", type=Path, default=pretrained.DATA, help="the folder of the weights")
    parser.add_argument("--methods", nargs="+", help="only these, in place of what the result file has of them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()

    def note(text):
        print(f"{time.perf_counter() - started:7.1f} s  {text}", flush=True)

    (again if options.methods else everything)(options, note)


if __name__ == "__main__":
    main()
