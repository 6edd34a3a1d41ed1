"""The report: notebooks become a site; the project's own pages have the numbers of their files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rtnerf
from nerf.contract.config import PRESETS
from reports import kept, tiles
from reports.site.build import build, notebooks
from reports.site.diagram import diagram, streams
from rtnerf.base.errors import InputError
from sim.wiring import WIRING
from tests.sites import broken_links, check_page

ROOT = Path(__file__).resolve().parents[1]

GOOD = """\
# %% [markdown]
# # A small report
#
# Its first sentence.

# %%
from pathlib import Path
from reports import figure, made, table
result = made("demo/few.json")
print("sum", 40 + 2, len(list(Path.cwd().iterdir())))
table(["name", "count"], [["`b`", 10], ["a", 9], ["<c>", 100]], result)
figure('<svg viewBox="0 0 9 9"><path id="p"/><use xlink:href="#p"/></svg>', "A path & more", result)
"""


def site_of(out, *sources, **environment):
    """Build a site in a process of its own: the notebook machinery warns about itself."""
    code = "import sys; from reports.site.build import build; print(build(sys.argv[1], sys.argv[2:] or None))"
    command = [sys.executable, "-c", code, str(out), *map(str, sources)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A build folder with one result, and the site of two small notebooks made of it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "demo").mkdir()
    result = {"command": "simulate", "seed": 3, "versions": {"rtnerf": "1.2"}}
    (folder / "demo" / "few.json").write_text(json.dumps(result))
    for name in ("first", "second"):
        (folder / f"{name}.py").write_text(GOOD)
    made = site_of(folder / "out", folder / "first.py", folder / "second.py", RTNERF_BUILD=str(folder))
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == str(folder / "out" / "first.html")
    return folder / "out"


def test_notebooks_become_pages_of_a_site(small):
    page = (small / "second.html").read_text()
    own = re.search(r'<path id="(f\w+)-p"></path><use xlink:href="#(f\w+)-p">', page)
    assert own[1] == own[2]
    for shown in (
        "sum 42 0", '<td><code>b</code></td><td class="number">10</td>', "<td>&lt;c&gt;</td>",
        'aria-label="A path &amp; more"', "build/demo/few.json, sha256 ", "rtnerf simulate, seed 3, version 1.2",
        '<a href="first.html">A small report</a>', '<a aria-current="page" href="second.html">', "<summary>code<",
    ):  # fmt: skip
        assert shown in page, shown
    assert broken_links(small) == []
    assert sorted(path.name for path in small.iterdir()) == ["first.html", "second.html", "site.css", "site.js"]


def test_a_failing_notebook_leaves_nothing(tmp_path):
    (tmp_path / "bad.py").write_text("# %%\nraise ValueError('on purpose')\n")
    result = site_of(tmp_path / "out", tmp_path / "bad.py")
    assert result.returncode != 0
    assert "on purpose" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_result_is_named_before_anything_is_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RTNERF_BUILD", str(tmp_path))
    with pytest.raises(InputError, match=r"results must be made first by `make demo`, not missing: .*simulate.json"):
        build(tmp_path / "out", [ROOT / "reports" / "silicon.py"])


def test_tables_sort_and_the_page_is_well_in_a_browser(small, browser):
    check_page(browser, small / "first.html")
    column = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[1].textContent).join()"
    for expected in ("9,10,100", "100,10,9"):
        browser.evaluate("document.querySelectorAll('th button')[1].click()")
        assert browser.evaluate(column) == expected
    before = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    browser.evaluate("document.getElementById('theme').click()")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") != before


# ---- The project's own pages ----


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Results as those of `make demo`, with a tiny frame."""
    demo = tmp_path_factory.mktemp("build") / "demo"
    demo.mkdir()

    frame = demo / "simulate.json"
    with pytest.raises(SystemExit) as end:
        rtnerf.main(["simulate", "--size", "6", "--json", str(frame), "--timeline", str(demo / "simulate.trace.json")])
    assert end.value.code == 0
    simulated = json.loads(frame.read_text())
    # What else `make demo` makes takes longer than its pages need.
    for name in ("uniform", "cubes", "integer", "rtl"):
        np.save(demo / f"{name}.npy", np.full((6, 6, 3), 0.5, np.float32))
    rung = {"seconds": 1.0, "psnr_db": 20.0}
    counts = dict.fromkeys(("samples", "pixels"), 0)
    rtl = {
        **simulated, **rung, "pixels": 36, "pixel_mismatches": 0, "value_mismatches": counts,
        "cycle_mismatches": counts, "transactions": 99, "cycles_rtl": 4, "cycles_sim": 4, "psnr_vs_float_db": 61.0,
        "first_difference": None,
    }  # fmt: skip
    forms = {f"{form}_bytes": 99 for form in ("dense", "bitmap", "coordinate", "hybrid")}
    tensors = {name: {"values": 100, "nonzeros": 50, **forms} for name in ("density_plane_0", "density_line_0")}
    held = {"on_chip_memory_bytes": {"compositor": 100, "tile_buffer": 50}}
    results = {
        "uniform": rung, "cubes": rung, "integer": rung, "rtl": rtl, "encode": {"tensors": tensors},
        "ablation": kept("ablation_lego").content, "generate": {"sidecar": held},
    }  # fmt: skip
    for name, result in results.items():
        (demo / f"{name}.json").write_text(json.dumps({"command": name, **result}))
    return demo


@pytest.fixture(scope="module")
def silicon(demo):
    """The site of three notebooks."""
    chosen = [ROOT / "reports" / f"{name}.py" for name in ("index", "silicon", "peers")]
    result = site_of(demo.parent / "silicon", *chosen, RTNERF_BUILD=str(demo.parent))
    assert result.returncode == 0, result.stderr
    return demo.parent / "silicon"


def test_pages_have_the_numbers_of_their_files(silicon, demo):
    frame = json.loads((demo / "simulate.json").read_text())
    run = kept("synthesis")["runs"]["tiny asap7"]
    low, high = frame["energy_mj"]
    page = (silicon / "silicon.html").read_text()
    for shown in (
        f"<td>6x6, {frame['cycles']:,} cycles</td>", f"<td>{low:.2f} to {high:.2f} mJ</td>",
        f"<td>{run['clock_mhz']:.0f} MHz ({run['slowest']})</td>",
    ):  # fmt: skip
        assert shown in page, shown
    assert page.count("<svg ") == 4
    assert f"<td>{run['area_mm2']:.4g} derived</td>" in (silicon / "peers.html").read_text()
    index = (silicon / "index.html").read_text()
    assert f"{kept('quality_lego')['mean_loss_db']:.3f} dB" in index
    assert "reports/results/frames_lego.json, sha256 " in index


def test_pages_are_well_in_a_browser(silicon, browser):
    for path in sorted(silicon.glob("*.html")):
        check_page(browser, path)


@pytest.mark.full
def test_the_whole_site_has_no_broken_link_and_is_well_in_a_browser(demo, request):
    result = site_of(demo.parent / "report", RTNERF_BUILD=str(demo.parent))
    assert result.returncode == 0, result.stderr
    pages = sorted((demo.parent / "report").glob("*.html"))
    assert {page.stem for page in pages} == {path.stem for path in notebooks()}
    assert broken_links(demo.parent / "report") == []
    browser = request.getfixturevalue("browser")
    for page in pages:
        check_page(browser, page)


# ---- Figures ----


def test_the_diagram_has_the_blocks_and_streams_of_the_design():
    for config in (PRESETS["tiny"], PRESETS["edge-deferred"]):
        stages, found = streams(config)
        pairs = {(start, end) for start, end, _ in found}
        assert ("occupancy_walker", "projector") in pairs
        assert (("product_buffer", "appearance") in pairs) == (config.shading == "deferred")
        # The simulator says the same of each stream with one block at either end that the RTL has, too.
        for name, wire in WIRING.items():
            ends = [getattr(end, "name", "").lower() for end in (wire.producers, wire.consumers)]
            if wire.probed and all(end in stages for end in ends) and len(set(ends)) == 2:
                assert tuple(ends) in pairs or ends == ["appearance_interpolator", "product_buffer"], name
        drawn = diagram(config, {"mlp_engine": 0.5})
        assert all(f">{name.replace('_', ' ')}</text>" in drawn for name in stages)
        assert "mlp_engine: busy 50.0%" in drawn
        assert len(re.findall('class="edge', drawn)) == len(found)


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
