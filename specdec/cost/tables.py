"""CSV files that commands read: whole, but not without end, as a device or a pipe may be."""

import csv
import io
from pathlib import Path

from rtnerf.base.errors import InputError, require
from rtnerf.base.files import check_content

LARGEST = 256 << 20
"""Bytes."""


def read_table(name: str, path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read a CSV file in UTF-8, with or without a byte-order mark, and with or without spaces behind commas.

    Parameters
    ----------
    name : str
        What the file is called in messages.

    Returns
    -------
    columns : list of str
        Of the header.
    rows : list of dict
        By column.

    Raises
    ------
    InputError
        If the file cannot be read, is none of CSV, or too large; if columns have one name, or a line has more values.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        require(len(content) <= LARGEST, name, f"a CSV file of at most {LARGEST >> 20} MiB", path)
        check_content(name, content, f"a CSV file, not {path}")
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True)
        columns, found = list(rows.fieldnames or []), list(rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{name} must be a readable CSV file, not {path} ({error})") from None
    require(len({*columns}) == len(columns), f"columns of {name}", "different", ",".join(columns)[:80])
    longer = next((line for line, row in enumerate(found, start=2) if None in row), None)
    require(longer is None, f"{name} line {longer}", f"of at most {len(columns)} values, one a column", "more")
    return columns, found
