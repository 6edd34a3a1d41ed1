"""What notebooks show: tables, figures and main figures, as HTML that names its sources."""

from __future__ import annotations

import hashlib
import html
import io
import re
import sys
from collections.abc import Iterable, Sequence

import matplotlib
from matplotlib.figure import Figure

from reports.site.results import Result

INK = "#010203"
"""The colour of lines and letters in figures, which becomes that of the page's text."""
for _part in ("text.color", "xtick.color", "ytick.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"):
    matplotlib.rcParams[_part] = INK
matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["svg.hashsalt"] = "none", "report"

_NUMBER = re.compile(r"[-+]?\d[\d,. ]*(?:e[-+]?\d+)?%?|inf|-|")
"""A cell of a column that is set to the right."""


def table(header: Sequence[object], rows: Iterable[Sequence[object]], source: Result | Sequence[Result] = ()) -> None:
    """Show a table; a click on a column's head sorts by it. Cells are text, in which `words` are code."""
    cells = [[str(cell) for cell in row] for row in rows]
    right = [" class=number" if all(map(_NUMBER.fullmatch, column)) else "" for column in zip(*cells, strict=True)]
    right = right or ["" for _ in header]
    head = "".join(f"<th scope=col{align}>{_inline(cell)}</th>" for cell, align in zip(header, right, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{align}>{_inline(cell)}</td>' for cell, align in zip(row, right, strict=True))}</tr>"
        for row in cells
    )
    _show(f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{_origins(source)}")


def figure(drawn: Figure | str, alt: str, source: Result | Sequence[Result] = ()) -> None:
    """Show a figure of Matplotlib, or the text of an SVG, with words for those who do not see it."""
    svg = drawn if isinstance(drawn, str) else _svg(drawn)
    # Figures of one page must not share names.
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'(\sid="|href="#|url\(#)', rf"\1f{own}-", svg).replace(INK, "currentColor")
    svg = re.sub(r"<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', svg, count=1)
    svg = re.sub(r"(<svg [^>]*>)", rf"\1<title>{html.escape(alt)}</title>", svg, count=1)
    _show(f"<figure><div class=wide>{svg}</div><figcaption>{html.escape(alt)}</figcaption>{_origins(source)}</figure>")


def cards(entries: Iterable[tuple[str, str, str, Result | Sequence[Result]]]) -> None:
    """Show main figures: of each the number, what it is, the page that says more, and its sources."""
    shown = (
        f'<a class=card href="{page}.html"><b>{_inline(number)}</b><span>{_inline(text)}</span>'
        f"{_origins(source, brief=True)}</a>"
        for number, text, page, source in entries
    )
    _show(f"<div class=cards>{''.join(shown)}</div>")


def _show(part: str) -> None:
    from IPython.display import HTML, display

    display(HTML(part))


def _inline(cell: object) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(str(cell)))


def _origins(source: Result | Sequence[Result], brief: bool = False) -> str:
    results = [source] if isinstance(source, Result) else source
    return "".join(
        f"<small class=origin title='{html.escape(result.origin)}'>"
        f"{html.escape(result.name if brief else result.origin)}</small>"
        for result in results
    )


def _svg(drawn: Figure) -> str:
    """A figure as SVG without declarations, its letters as text; Jupyter does not show it again."""
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(drawn)
    svg = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
