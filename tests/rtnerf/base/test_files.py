import json
from pathlib import Path

import numpy as np
import pytest

from rtnerf.base import files
from rtnerf.base.errors import InputError


def test_json_is_standard_and_plain(tmp_path):
    value = {"psnr_db": float("inf"), "count": np.int64(3), "shape": (1, np.float32(0.5)), "path": Path("a")}
    files.write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "psnr_db": None, "count": 3, "shape": [1, 0.5], "path": "a",
    }  # fmt: skip


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    files.write_bytes(tmp_path / "x", b"old")

    def refuse(*arguments):
        raise PermissionError(13, "no")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(InputError, match=r"output must be a file that can be written, not .*x \(no\)"):
        files.write_bytes(tmp_path / "x", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]
