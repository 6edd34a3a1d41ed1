"""The picture of a prediction: speedup by batch, and the parts of a step."""

from matplotlib.figure import Figure

from specdec.cost.predict import Prediction


def speedups(found: Prediction) -> Figure:
    """Return speedup over plain decoding against the batch, beside the parts of a step against the same."""
    batches = list(found.steps)
    figure = Figure(figsize=(10, 4), layout="constrained")
    gain, parts = figure.subplots(1, 2)
    gain.plot(batches, [found.speedup(batch) for batch in batches], "o-")
    gain.axhline(1, color="black", linewidth=0.5)
    gain.set(ylabel="speedup over plain decoding")
    names = ("plain", "verification", "draft", "draft_head", "host")
    times = [[max(getattr(step, name), 0.0) for step in found.steps.values()] for name in names]
    parts.stackplot(batches, times, labels=[name.replace("_", " ") for name in names])
    parts.set(ylabel="time of a step, ms")
    parts.legend(loc="upper left", fontsize="small")
    for panel in (gain, parts):
        panel.set_xscale("log", base=2)
        panel.set(xlabel="requests in a step")
        panel.grid(alpha=0.3)
    return figure
