# %% [markdown]
# # Speculative decoding: what it gains, where it stops paying, and why
#
# Published figures beside the model, the model's answers for trees, loads and contexts, and its predictions beside real
# decoding on this processor. Tables and curves are computed here, by the code behind `rtnerf specdec validate` and
# `rtnerf specdec predict`; the last section shows the file of `rtnerf specdec calibrate --out build/specdec`.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np

from reports import build_folder, figure, table
from specdec.cost.pass_time import Constant, Measured
from specdec.cost.predict import predict, tokens_per_step
from specdec.cost.roofline import named_pass
from specdec.cost.segments import saving
from specdec.cost.step import Speculation
from specdec.evidence import report as validate
from specdec.evidence.rows import rows_by_series
from specdec.trees.shape import Shape, expected_tokens, greedy_shape

results = build_folder() / "specdec"


def number(value):
    return "-" if value is None else f"{value:.4g}"


# %% [markdown]
# ## Published figures and the model
#
# At most one parameter is fitted a series. A bound is what the project claims; without one, figures are shown only.

# %%
report = validate.report()
table(
    ["series", "fitted", "bound", "value", "holds"],
    [
        [
            series.name,
            series.fitted,
            "-" if series.bound is None else f"{series.bound.measure}, limit {series.bound.limit:g}",
            "-" if series.bound is None else number(series.bound.value),
            "-" if series.bound is None else "yes" if series.bound.holds else "**no**",
        ]
        for series in report.series
    ],
)

# %%
drawn, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
shown = [series for series in report.series if any(row.error is not None for row in series.rows)]
for place, series in enumerate(shown):
    errors = [100 * row.error for row in series.rows if row.error is not None]
    axis.plot(errors, [place] * len(errors), "o", alpha=0.5)
axis.set_yticks(range(len(shown)), [series.name for series in shown])
axis.invert_yaxis()
axis.axvline(0, color="#808080", linewidth=0.5)
axis.set_xlabel("model over published, %")
figure(drawn, "Error of the model against each published figure, by series")

# %%
for series in report.series:
    table(
        [f"{series.name} ({series.source})", "published", "model", "error, %", ""],
        [
            [
                row.name,
                number(row.published),
                number(row.model),
                "-" if row.error is None else f"{100 * row.error:+.1f}",
                row.note,
            ]
            for row in series.rows
        ],
    )
    if series.explanation:
        print(series.explanation)

# %% [markdown]
# ## Speedup against batch
#
# Left: vLLM's Medusa on an H100, published and predicted. Right: trees of several sizes for Medusa's head accuracies,
# on the same machine; the circle is the break-even batch, from which on plain decoding is faster.

# %%
sweep = next(series for series in report.series if series.name.startswith("vLLM"))
shipped = rows_by_series()
measured = shipped[sweep.name]
batches = [row.conditions.batch for row in measured]
rows, target = sweep.rows, Measured(*zip(*measured[0].conditions.passes, strict=True))
drawn, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True, layout="constrained")
left.semilogx(batches, [row.published for row in rows], "o", base=2, label="published")
left.semilogx(batches, [row.model for row in rows], base=2, label="model")
left.legend(frameon=False)

medusa = shipped["Medusa's tau"][0].conditions
accuracy = np.array(medusa.ranks)
loads = [2**power for power in range(9)]
for nodes in (4, 8, 16, 32, 64):
    shape = greedy_shape(accuracy, nodes)
    speculation = Speculation(shape, target, draft_passes=0)
    found = predict(float(expected_tokens(shape, accuracy)), speculation, loads)
    (line,) = right.semilogx(loads, [found.speedup(batch) for batch in loads], base=2, label=f"{nodes} nodes")
    if found.break_even_batch:
        right.plot(found.break_even_batch, 1, "o", color=line.get_color())
right.legend(frameon=False)
for axis in (left, right):
    axis.axhline(1, color="#808080", linewidth=0.5)
    axis.set_xlabel("requests in a batch")
    axis.set_ylabel("speedup")
figure(drawn, "Speedup against the number of requests, published and predicted, and by size of the tree")

# %% [markdown]
# ## What binds
#
# Medusa's shipped tree on an H100: the parts of a step by batch. Speculation pays what is beyond the plain pass.

# %%
shape = medusa.tree
speculation = Speculation(shape, target, Constant(0.4), draft_passes=1, host_ms=0.3)
found = predict(tokens_per_step(shape, accuracy.tolist()), speculation, loads)
table(
    ["batch", "speedup", "plain, ms", "verification", "draft", "host", "bound by"],
    [
        [
            batch,
            f"{found.speedup(batch):.2f}",
            *(f"{part:.2f}" for part in (step.plain, step.verification, step.draft, step.host)),
            step.bound_by,
        ]
        for batch, step in found.steps.items()
    ],
)
print("break-even batch:", found.break_even_batch, "- draft 0.4 ms and host 0.3 ms are assumed")

# %% [markdown]
# ## Context and load
#
# Llama-3.1-8B on an H100 by its roofline, a chain of 4 whose draft is free and accepted with 0.8 each. With a long
# context reading the caches dominates a large batch, verification is free again, and speculation pays at any load.

# %%
drawn, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
chain = Shape.constant([1] * 4)
tau = float(expected_tokens(chain, np.array([0.8])))
for context in (0, 2000, 8000, 32000):
    found = predict(tau, Speculation(chain, named_pass("llama-3.1-8b", "h100", context)), loads)
    axis.semilogx(loads, [found.speedup(batch) for batch in loads], base=2, label=f"{context} tokens of context")
axis.axhline(1, color="#808080", linewidth=0.5)
axis.set_xlabel("requests in a batch")
axis.set_ylabel("speedup")
axis.legend(frameon=False)
figure(drawn, "Speedup against the number of requests by length of the context")

# %% [markdown]
# ## Savings by the shape of a rollout tree
#
# Segments that 16 samples share, by the counting model that the published calls agree with.

# %%
drawn, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
depths = range(1, 29)
for children in (2, 3, 4, 8):
    axis.plot(depths, [100 * saving(16, depth, children) for depth in depths], label=f"{children} children a segment")
axis.set_xlabel("segments of a sample")
axis.set_ylabel("segments saved, %")
axis.legend(frameon=False)
figure(drawn, "Segments saved by a tree of rollouts, by depth and children")

# %% [markdown]
# ## Predictions and real decoding on this processor

# %%
calibration = results / "calibration.json"
if calibration.is_file():
    found = json.loads(calibration.read_text())
    drawn, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for axis, key, unit in ((left, "step_ms", "step, ms"), (right, "speedup", "speedup")):
        pairs = [
            (check[key], check[f"predicted_{key}"]) for check in found["checks"] if check[key] and not check["fitted"]
        ]
        measured, predicted = np.array(pairs).T
        axis.plot(measured, predicted, "o", alpha=0.6)
        ends = np.array([measured.min(), measured.max()])
        axis.fill_between(ends, 0.9 * ends, 1.1 * ends, alpha=0.2, linewidth=0)
        axis.set_xlabel(f"{unit}, measured")
        axis.set_ylabel("predicted")
    figure(drawn, "Step times and speedups predicted over measured on this processor")
    print(
        f"median error of step times {100 * found['step_error']:.1f} %; {found['good_speedups']} speedups within 10 %"
    )
else:
    print("not measured: rtnerf specdec calibrate --out build/specdec")
