"""Why a plan gains what it gains, in one line."""

from specdec.cost.step import Step

WAITS = {
    "weights": "reading weights",
    "cache": "reading keys and values",
    "compute": "computing",
    "kernel starts": "starting kernels",
    "links": "adding up over the links",
}
"""What the target's pass spends most of its time on."""


def reason(plan: str, tau: float, step: Step, speedup: float) -> str:
    """Return why a step of a plan, of ``tau`` tokens, is so much faster than plain decoding."""
    waits = WAITS.get(step.resource or "")
    if plan == "off":
        told = f"; a pass spends most on {waits}" if waits else ""
        return f"draft nothing: no plan brings more tokens than it costs time{told}"
    more = step.ms / step.plain
    head = f"{tau:.2f} tokens a step that takes {more:.2f} plain ones"
    if step.bound_by == "memory":
        same = waits or "the same"
        return f"{head}: the pass waits for {same} as plain decoding does, drafted tokens are nearly free"
    mostly = f", most of it {waits}" if waits else ""
    parts = {
        "verification": f"the larger pass takes {step.verification:.2f} ms more{mostly}",
        "draft": f"drafting takes {step.draft:.2f} ms",
        "draft head": f"the draft's output layer takes {step.draft_head:.2f} ms",
        "host": f"the host takes {step.host:.2f} ms a step round the draft's passes",
    }
    return f"{head}: {parts[step.bound_by]}"
