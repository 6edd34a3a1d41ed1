"""Notebooks as py:percent files, and `build`, which executes them into HTML.

A notebook runs in an empty folder of its own. It finds the results that the other commands wrote
through the environment variable ``RTNERF_BUILD``, the absolute path of the project's ``build``.
"""

from __future__ import annotations

import html
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rtnerf.base.files import write_bytes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

CELL_SECONDS = 1800
"""Longest time that one cell may take."""

_INDEX = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>RT-NeRF reports</title>
<style>body {{ font-family: sans-serif; max-width: 40em; margin: 2em auto; line-height: 1.5; }}</style>
</head>
<body>
<h1>RT-NeRF reports</h1>
<ul>
{links}
</ul>
</body>
</html>
"""


def notebooks() -> list[Path]:
    """The notebooks of this folder, by name."""
    return sorted(path for path in HERE.glob("*.py") if path.name != "__init__.py")


def build(
    out_dir: str | Path,
    sources: Iterable[Path] | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Path:
    """Execute notebooks and write ``NAME.html`` for each and an ``index.html`` that links them.

    Parameters
    ----------
    out_dir : path
        Made if need be. Every file in it appears complete; nothing is written when a notebook fails.
    sources : paths or None
        py:percent files; None = all of this folder.
    progress : callable
        Called as ``progress(notebooks done, notebooks in all, name of the next)``.

    Returns
    -------
    Path
        The index.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed; the message shows the cell and its traceback.
    """
    sources = notebooks() if sources is None else [Path(path).resolve() for path in sources]
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    pages, links = {}, []
    for number, source in enumerate(sources):
        progress(number, len(sources), source.stem)
        title, pages[f"{source.stem}.html"] = _execute(source)
        links.append(f'<li><a href="{html.escape(source.stem)}.html">{html.escape(title)}</a></li>')
    # The index last: it never links a page that is not there.
    pages["index.html"] = _INDEX.format(links="\n".join(links))
    for name, page in pages.items():
        write_bytes(out_dir / name, page.encode())
    return out_dir / "index.html"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Show a table in the notebook that calls."""
    from IPython.display import Markdown, display

    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]
    display(Markdown("\n".join(lines)))


def treemap(parts: Mapping[str, float], unit: str) -> None:
    """Draw parts of a whole as rectangles of their areas, the largest first; small ones are not labelled."""
    from matplotlib import pyplot

    whole = sum(parts.values())
    _, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    colours = pyplot.get_cmap("tab20")(range(20))
    order = sorted(((value, name) for name, value in parts.items() if value > 0), reverse=True)
    for place, ((value, name), (x, y, width, height)) in enumerate(zip(order, tiles(order), strict=True)):
        colour = colours[place % len(colours)]
        axes.add_patch(pyplot.Rectangle((x, y), width, height, facecolor=colour, edgecolor="white"))
        if width > 0.013 * max(len(name), 12) and height > 0.06:
            number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            text = f"{name}\n{number} ({value / whole:.0%})"
            axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8)
    axes.set_title(f"{whole:.4g} {unit}")
    axes.set_axis_off()


def tiles(parts: Sequence[tuple[float, str]]) -> list[tuple[float, float, float, float]]:
    """Return rectangles (x, y, width, height) that fill the unit square by the sizes of parts, the largest first."""
    found = [(0.0, 0.0, 0.0, 0.0)] * len(parts)
    pending = [(range(len(parts)), (0.0, 0.0, 1.0, 1.0))]
    while pending:
        place, (x, y, width, height) = pending.pop()
        sizes = [parts[index][0] for index in place]
        if len(sizes) <= 1:
            for index in place:
                found[index] = (x, y, width, height)
            continue
        # Cut across the longer side, where the halves are nearest to equal.
        cut = min(range(1, len(sizes)), key=lambda index: abs(2 * sum(sizes[:index]) - sum(sizes)))
        share = sum(sizes[:cut]) / sum(sizes)
        if width >= height:
            halves = (x, y, width * share, height), (x + width * share, y, width * (1 - share), height)
        else:
            halves = (x, y, width, height * share), (x, y + height * share, width, height * (1 - share))
        pending += [(place[:cut], halves[0]), (place[cut:], halves[1])]
    return found


def _execute(source: Path) -> tuple[str, str]:
    """Title and page of one notebook."""
    import jupytext
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    notebook = jupytext.read(source, fmt="py:percent")
    folder = tempfile.mkdtemp(prefix="rtnerf-report-")
    try:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            # The kernel talks over the loopback, and says so on every start.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=_environment())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    title = _title(notebook, source.stem)
    exporter = HTMLExporter(embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True)
    # No page needs RequireJS, and none waits for a network; without one, formulas stay in TeX.
    exporter.require_js_url = ""
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return title, page.replace('<script src=""></script>', "")


def _environment() -> dict[str, str]:
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "RTNERF_BUILD": os.environ.get("RTNERF_BUILD", str(ROOT / "build")),
    }


def _title(notebook: dict, default: str) -> str:
    """The first heading, or the name of the file."""
    for cell in notebook["cells"]:
        for line in cell["source"].splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return default
