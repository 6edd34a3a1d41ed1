"""The site: notebooks executed, exported with the template beside this file, and written when all have run."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reports.site.results import ROOT, build_folder, is_there, made
from rtnerf.base.files import write_bytes

CELL_SECONDS = 1800
"""Longest time that one cell may take."""
START_SECONDS = 300
"""Longest time that a kernel may take to start, on a machine with much else to do."""
TEMPLATES = Path(__file__).resolve().parent / "template"
ORDER = (
    "index", "ladder", "performance", "ablation", "encoding", "silicon", "design_space", "peers", "knobs", "scenes",
    "specdec",
)  # fmt: skip
"""The notebooks, in the order of the navigation; others follow by name."""
OPTIONAL = {"scenes": "scenes/scenes.json"}
"""Notebooks that are left out where a result is neither below the build folder nor kept."""


def notebooks() -> list[Path]:
    """The notebooks of this project that can be executed."""
    found = {path.stem: path for path in sorted((ROOT / "reports").glob("*.py")) if path.name != "__init__.py"}
    order = [*(name for name in ORDER if name in found), *(name for name in found if name not in ORDER)]
    return [found[name] for name in order if name not in OPTIONAL or is_there(OPTIONAL[name])]


def build(
    out_dir: str | Path,
    sources: Sequence[str | Path] | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Path:
    """Execute notebooks and write ``NAME.html`` for each.

    Parameters
    ----------
    out_dir : path
        Made if need be. Every file in it appears complete; nothing is written when a notebook fails.
    sources : paths or None
        py:percent files; None = all of this project. The first is where the site begins.
    progress : callable
        Called as ``progress(notebooks done, notebooks in all, name of the next)``.

    Returns
    -------
    Path
        The first page.

    Raises
    ------
    InputError
        A result is missing.
    nbclient.exceptions.CellExecutionError
        A cell failed; the message shows the cell and its traceback.
    """
    paths = notebooks() if sources is None else [Path(path).resolve() for path in sources]
    for path in paths:
        for name in re.findall(r'\bmade\("([^"]+)"\)', path.read_text()):
            made(name)
    executed = {}
    for number, path in enumerate(paths):
        progress(number, len(paths), path.stem)
        executed[path.stem] = _execute(path)
    titles = {name: _title(notebook, name) for name, notebook in executed.items()}
    pages = {name: _export(name, notebook, titles) for name, notebook in executed.items()}
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("site.css", "site.js"):
        write_bytes(out / name, (TEMPLATES / "rtnerf" / name).read_bytes())
    # The first page last: it never links one that is not there.
    for name in reversed(pages):
        write_bytes(out / f"{name}.html", pages[name].encode())
    return out / f"{paths[0].stem}.html"


def _execute(source: Path) -> Any:
    """Run a notebook in an empty folder of its own."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(source, fmt="py:percent")
    folder = tempfile.mkdtemp(prefix="rtnerf-report-")
    try:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            startup_timeout=START_SECONDS,
            kernel_name="python3",
            # The kernel talks over the loopback, and says so on every start.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=_environment())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return notebook


def _environment() -> dict[str, str]:
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "RTNERF_BUILD": str(build_folder().resolve()),
    }


def _title(notebook: Any, default: str) -> str:
    """The first heading, or the name of the file."""
    for cell in notebook["cells"]:
        for line in cell["source"].splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return default


def _export(name: str, notebook: Any, titles: dict[str, str]) -> str:
    """Return a page; in the navigation a title is what stands before its colon."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="rtnerf", extra_template_basedirs=[str(TEMPLATES)], exclude_anchor_links=True,
        exclude_input_prompt=True, exclude_output_prompt=True,
    )  # fmt: skip
    pages = [(each, title.partition(":")[0]) for each, title in titles.items()]
    site = {"name": name, "title": titles[name], "pages": pages}
    page, _ = exporter.from_notebook_node(notebook, resources={"site": site})
    return page
