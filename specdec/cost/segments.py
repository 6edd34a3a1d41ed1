"""Segments that samples share when a prompt is continued as a tree instead of sample by sample."""

from rtnerf.base.errors import require


def widths(samples: int, depth: int, children: int, roots: int = 1) -> list[int]:
    """Return the segments of each depth: ``roots``, then ``children`` below each, never more than ``samples``.

    The counting model of TreePO (arXiv 2508.17445), derived here: every path goes on to the last depth.
    """
    for name, value in {"samples": samples, "depth": depth, "children": children, "roots": roots}.items():
        require(value >= 1, name, "at least 1", value)
    found = [min(samples, roots)]
    while len(found) < depth:
        found.append(min(samples, found[-1] * children))
    return found


def saving(samples: int, depth: int, children: int, roots: int = 1) -> float:
    """Return the share of segments saved against ``samples`` independent ones of ``depth`` segments; see `widths`."""
    return 1 - sum(widths(samples, depth, children, roots)) / (samples * depth)
