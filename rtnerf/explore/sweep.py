"""Many points: simulated once each, kept in a folder as they end, gathered into a table.

A folder holds ``points/DIGEST.json`` and ``quality/DIGEST.json``, each written aside and renamed: what has ended is
whole, what has not is not there. `gather` makes ``results.parquet`` of them.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from rtnerf.base.errors import InputError, require
from rtnerf.base.executors import run_all
from rtnerf.base.files import check_target, read_json, write_bytes, write_json
from rtnerf.explore import evaluate
from rtnerf.explore.evaluate import Task, quality_digest
from rtnerf.explore.points import Point

TABLE = "results.parquet"
SMALLER = 4
"""Times that the pictures of a trial, from which times are estimated, are smaller in each direction."""

Tell = Callable[[int, int], None]
"""Takes the number of tasks done and of all."""


@dataclass(frozen=True)
class Folder:
    """Results that are kept.

    Parameters
    ----------
    path : Path
    heading : dict
        What every file says first: command and versions.
    """

    path: Path
    heading: Mapping[str, Any]

    def place(self, task: Task) -> Path:
        """The file of a task's result."""
        if task.quality:
            return self.path / "quality" / f"{quality_digest(task.point)}.json"
        return self.path / "points" / f"{task.point.digest}.json"

    def has(self, task: Task) -> bool:
        """Whether a task has ended, with figures of area and energy from the same source."""
        place = self.place(task)
        return place.is_file() and (task.quality or self.result(task).get("costs") == task.costs)

    def keep(self, task: Task, found: Mapping[str, Any]) -> None:
        """Keep a result."""
        place = self.place(task)
        described = {"point": place.stem, "settings": task.point.settings(), "costs": task.costs}
        write_json(place, {**self.heading, **described, **found})

    def result(self, task: Task) -> dict[str, Any]:
        """Return the result of a task that has ended."""
        return read_json("result", self.place(task))


def tasks_of(
    points: Iterable[Point], synthesis: Mapping[str, Path], on_chip: bool, estimates: bool = False
) -> list[Task]:
    """Return what is to be done for points, those with the same model and values side by side; pictures once each."""
    frames = [Task(point, False, synthesis.get(point.config.digest), on_chip, estimates) for point in points]
    pictures = {quality_digest(point): Task(point, True) for point in points if has_quality(point)}
    return sorted([*pictures.values(), *frames], key=lambda task: quality_digest(task.point))


def has_quality(point: Point) -> bool:
    """Whether the pixels of a point are compared: only the exact order and the hardware's samples give pictures."""
    switches = point.switches
    return point.subject.psnr_size > 0 and switches.ordering == "exact" and switches.sampling == "cubes"


def run(folder: Folder, tasks: Sequence[Task], where: Executor | None, tell: Tell) -> int:
    """Do what has not been done; return how many tasks that were.

    Raises
    ------
    InputError
        A result cannot be written, or workers end. What has ended before is kept.
    """
    missing = [task for task in tasks if not folder.has(task)]
    tell(0, len(missing))
    for done, (task, found) in enumerate(run_all(where, evaluate.run, missing), 1):
        folder.keep(task, found)
        tell(done, len(missing))
    return len(missing)


def estimate(folder: Folder, tasks: Sequence[Task]) -> tuple[int, float]:
    """Return how many tasks are to be done, and about how many seconds of one core they take.

    By the mean of those of the folder that have ended; without any, by one of frames and one of pictures at a quarter
    of the width and height.
    """
    ended: list[Task] = []
    missing: list[Task] = []
    for task in tasks:
        (ended if folder.has(task) else missing).append(task)
    seconds = 0.0
    for kind in (False, True):
        mine = [task for task in missing if task.quality is kind]
        took = [folder.result(task)["seconds"] for task in ended if task.quality is kind]
        if mine:
            seconds += len(mine) * (sum(took) / len(took) if took else _trial(mine[0]))
    return len(missing), seconds


def _trial(task: Task) -> float:
    subject = task.point.subject
    width, height = subject.dimensions
    fewer: dict[str, Any] = {
        "size": _smaller(width) if height is None else (_smaller(width), _smaller(height)),
        "crop": None if subject.crop is None else (*(side // SMALLER for side in subject.crop[:2]),
                                                   *(_smaller(side) for side in subject.crop[2:])),
        "psnr_size": _smaller(subject.psnr_size),
        "views": subject.views[:1],
    }  # fmt: skip
    small = task._replace(point=replace(task.point, subject=replace(subject, **fewer)))
    evaluate.run(small)  # Code is loaded and models are read by the first.
    started = time.perf_counter()
    evaluate.run(small)
    return (time.perf_counter() - started) * SMALLER**2 * len(subject.views)


def _smaller(side: int) -> int:
    return max(side // SMALLER, 1)


def rows(folder: Folder, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return a flat row for each frame of each point, what was refused left out."""
    found = []
    for point in points:
        result = folder.result(Task(point))
        if "refused" in result:
            continue
        quality = folder.result(Task(point, True)) if has_quality(point) else {}
        for view, frame in zip(point.subject.views, result["frames"], strict=True):
            found.append(
                {
                    "point": result["point"],
                    "view": view,
                    "psnr_db": quality.get("psnr_db"),
                    **{key: result[key] for key in ("on_chip_bytes", "memory_mm2", "area_mm2", "seconds")},
                    "area_source": result.get("area_source"),
                    **flattened({"settings": result["settings"], **frame}),
                }
            )
    return found


def refused(folder: Folder, points: Sequence[Point]) -> list[tuple[Point, str]]:
    """Return the points whose model and configuration do not fit, and the rule that is broken."""
    found = [(point, folder.result(Task(point)).get("refused")) for point in points]
    return [(point, rule) for point, rule in found if rule is not None]


def flattened(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a record without tables in it: ``units.density.busy_cycles``; lists of values become JSON."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{name}.")
        elif name.endswith("_mj") and isinstance(value, list):
            found |= {f"{prefix}{name}.low": value[0], f"{prefix}{name}.high": value[1]}
        else:
            found[f"{prefix}{name}"] = json.dumps(value) if isinstance(value, list) else value
    return found


def gather(folder: Folder, points: Sequence[Point], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the table; return its rows.

    Parameters
    ----------
    about : mapping
        Goes into the table's metadata under ``rtnerf``, as JSON.

    Raises
    ------
    InputError
        No point is left, or the table cannot be written.
    """
    found = rows(folder, points)
    if not found:
        why = refused(folder, points)[0][1]
        raise InputError(f"points must go with their models, not all {len(points)} be refused ({why})")
    names = list(dict.fromkeys(name for row in found for name in row))
    columns = {name: _column([row.get(name) for row in found]) for name in names}
    table = pyarrow.table(columns).replace_schema_metadata({"rtnerf": json.dumps(about)})
    content = io.BytesIO()
    parquet.write_table(table, content)
    write_bytes(folder.path / TABLE, content.getvalue())
    return found


def _column(values: list[Any]) -> list[Any]:
    """Return the values of a column in one type: whole numbers beside fractions become such, a mixture text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        return [None if value is None else str(value) for value in values]
    return values


def open_folder(path: Path, heading: Mapping[str, Any]) -> Folder:
    """Return a folder for results; `InputError` where there can be none."""
    require(not path.exists() or path.is_dir(), "out", "a folder", f"{path} (a file)")
    check_target("out", path / TABLE)
    return Folder(path, heading)
