"""Pictures of advice: speedup and tokens per second by batch, a panel a context."""

from matplotlib.figure import Figure

from specdec.advice.answer import Answer


def gains(answer: Answer) -> Figure:
    """Return speedup over plain decoding against the batch, a panel a context and a line a method."""
    contexts = sorted({cell.context for cell in answer.best.cells})
    figure = Figure(figsize=(5 * len(contexts), 4), layout="constrained")
    panels = figure.subplots(1, len(contexts), sharey=True, squeeze=False)[0]
    for axes, context in zip(panels, contexts, strict=True):
        for advice in answer.advices:
            cells = [cell for cell in advice.cells if cell.context == context]
            batches = [cell.batch for cell in cells]
            (line,) = axes.plot(batches, [cell.speedup for cell in cells], marker="o", label=advice.method)
            fixed = [cell.speedup_fixed for cell in cells]
            axes.plot(batches, fixed, color=line.get_color(), linestyle=":", label=f"{advice.method}, K={advice.known}")
        axes.axhline(1, color="black", linewidth=0.5)
        axes.set_xscale("log", base=2)
        axes.set(title=f"context {context}", xlabel="requests in a step")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("speedup over plain decoding")
    panels[0].legend(fontsize="small")
    return figure
