import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports import tiles

ROOT = Path(__file__).resolve().parents[1]

GOOD = """\
# %% [markdown]
# # A small report

# %%
import os
from pathlib import Path
print("sum", 40 + 2, Path(os.environ["RTNERF_BUILD"]).name, len(list(Path.cwd().iterdir())))
"""


def build(out, *sources, **environment):
    # In a process of its own: the notebook machinery warns about itself.
    code = "import sys, reports; print(reports.build(sys.argv[1], sys.argv[2:]))"
    command = [sys.executable, "-c", code, str(out), *map(str, sources)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_notebooks_become_pages_with_an_index(tmp_path):
    (tmp_path / "small.py").write_text(GOOD)
    result = build(tmp_path / "out", tmp_path / "small.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "out" / "index.html")
    assert '<a href="small.html">A small report</a>' in (tmp_path / "out" / "index.html").read_text()
    page = (tmp_path / "out" / "small.html").read_text()
    assert "sum 42 build 0" in page
    assert '<script src=""' not in page
    assert "require.min.js" not in page
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.html", "small.html"]


def test_a_failing_notebook_leaves_nothing(tmp_path):
    (tmp_path / "bad.py").write_text("# %%\nraise ValueError('on purpose')\n")
    result = build(tmp_path / "out", tmp_path / "bad.py")
    assert result.returncode != 0
    assert "on purpose" in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_tiles_fill_a_square_by_size():
    parts = [(5.0, "a"), (3.0, "b"), (1.5, "c"), (0.5, "d")]
    found = tiles(parts)
    assert [width * height for _, _, width, height in found] == pytest.approx([0.5, 0.3, 0.15, 0.05])
    for x, y, width, height in found:
        assert 0 <= x < x + width <= 1 + 1e-9
        assert 0 <= y < y + height <= 1 + 1e-9
    for one, (x, y, width, height) in enumerate(found):
        for u, v, wide, high in found[:one]:
            assert min(x + width, u + wide) - max(x, u) < 1e-9 or min(y + height, v + high) - max(y, v) < 1e-9


def test_the_page_of_silicon_has_the_numbers_of_its_files(tmp_path):
    frame = {
        "width_pixels": 24, "height_pixels": 24, "cycles": 4321, "fps_at_library_clock": 123.0,
        "fps_at_assumed_clock": {"fps": 234.0}, "energy_mj": [0.25, 1.75],
        "energy_by_cause_mj": {"dram": [0.2, 1.5], "idle": [0.05, 0.25]},
        "energy_by_unit_mj": {"dram": [0.2, 1.5], "density": [0.05, 0.25]},
    }  # fmt: skip
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "simulate.json").write_text(json.dumps(frame))
    result = build(tmp_path / "out", ROOT / "reports" / "silicon.py", RTNERF_BUILD=str(tmp_path))
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "out" / "silicon.html").read_text()
    run = json.loads((ROOT / "reports" / "results" / "synthesis.json").read_text())["runs"]["tiny asap7"]
    for shown in (
        "<td>24x24, 4,321 cycles</td>", "<td>0.25 to 1.75 mJ</td>", "<td>123</td>", "<td>389.6 derived</td>",
        f"<td>{run['clock_mhz']:.0f} MHz ({run['slowest']})</td>", f"<td>{run['area_mm2']:.4g} derived</td>",
    ):  # fmt: skip
        assert shown in page, shown
    assert page.count("<img ") == 4
