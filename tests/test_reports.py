import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

GOOD = """\
# %% [markdown]
# # A small report

# %%
import os
from pathlib import Path
print("sum", 40 + 2, Path(os.environ["RTNERF_BUILD"]).name, len(list(Path.cwd().iterdir())))
"""


def build(out, *sources):
    # In a process of its own: the notebook machinery warns about itself.
    code = "import sys, reports; print(reports.build(sys.argv[1], sys.argv[2:]))"
    command = [sys.executable, "-c", code, str(out), *map(str, sources)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


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
