"""CSV files: marks and spaces are no matter; what has no end, or stands in a table's place, is refused."""

from pathlib import Path

import pytest

from rtnerf.base.errors import InputError
from specdec.cost import tables
from specdec.cost.tables import read_table


def test_marks_and_spaces_are_no_matter(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfa, b\r\n1, 2\r\n")
    assert read_table("table", tmp_path / "t.csv") == (["a", "b"], [{"a": "1", "b": "2"}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"table must be a CSV file, not .*t.csv \(an empty file\)"),
        (b"a,b\n1,2\n1,2,3\n", "table line 3 must be of at most 2 values, one a column, not more"),
        (b"a,b,a\n1,2,3\n", "columns of table must be different, not a,b,a"),
        (b"\xff\xfe\xff", "table must be a readable CSV file, not"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"a,b\n" + b"1,2\n" * 300, "table must be a CSV file of at most 0 MiB"),
    ],
)
def test_other_files_are_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(tables, "LARGEST", 1000)
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table("table", tmp_path / "t.csv")


def test_what_has_no_end_is_refused(monkeypatch):
    monkeypatch.setattr(tables, "LARGEST", 1000)
    with pytest.raises(InputError, match="table must be a CSV file of at most 0 MiB, not /dev/zero"):
        read_table("table", Path("/dev/zero"))
