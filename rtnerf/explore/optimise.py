"""A search of the design space with several objectives: Optuna proposes, the simulator answers exactly.

The sampler is seeded and asked for `BATCH` points at a time, and told of all of them in the order in which it was
asked; so the same specification proposes the same points, on any number of workers, and points that are kept in the
folder are not simulated again: that is how a search goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from rtnerf.base.errors import InputError, require
from rtnerf.explore.evaluate import Task
from rtnerf.explore.points import Point
from rtnerf.explore.space import Range, Refusal, Settings, Specification, flat
from rtnerf.explore.sweep import Folder, rows, run, tasks_of

BATCH = 4
"""Points that are proposed before any of them is answered."""
FUTILE = 200
"""Proposals for `BATCH` points after which a search is given up: the others break rules of a configuration."""

FORBIDDEN = 1e3
"""What a point that has no figures exceeds a bound by, as a share."""


class Objective(NamedTuple):
    """A figure of a frame, None where it is not known; of several views the worst counts."""

    more_is_better: bool
    figure: Callable[[Mapping[str, Any]], float | None]


def _middle(frame: Mapping[str, Any]) -> float | None:
    return None if frame.get("energy_mj.low") is None else (frame["energy_mj.low"] + frame["energy_mj.high"]) / 2


OBJECTIVES = {
    "fps": Objective(True, itemgetter("fps_at_clock")),
    "psnr_db": Objective(True, itemgetter("psnr_db")),
    "energy_mj": Objective(False, _middle),
    "bytes": Objective(False, lambda frame: frame["dram_read_bytes"] + frame["dram_write_bytes"]),
    "area_mm2": Objective(False, itemgetter("area_mm2")),
    "memory_mm2": Objective(False, itemgetter("memory_mm2")),
    "on_chip_bytes": Objective(False, itemgetter("on_chip_bytes")),
}
"""By name, of the rows of `rtnerf.explore.sweep.rows`."""


@dataclass(frozen=True)
class Bound:
    """A figure that must be at least, or at most, so much."""

    name: str
    value: float
    least: bool

    def excess(self, figures: Mapping[str, float]) -> float:
        """By how much it is broken, as a share; at most 0 where it is kept."""
        found = figures[self.name]
        beyond = self.value - found if self.least else found - self.value
        return beyond / (abs(self.value) or 1.0)


@dataclass(frozen=True)
class Trial:
    """A proposed point.

    Parameters
    ----------
    settings : dict
    point : Point or None
        None where it is refused.
    figures : dict of str to float
        By objective and bound; empty where it is refused, or where a figure is not known.
    rule : str or None
        Why there are none.
    """

    settings: Settings
    point: Point | None
    figures: dict[str, float] = field(default_factory=dict)
    rule: str | None = None


def optimise(
    space: Specification,
    objectives: Sequence[str],
    bounds: Sequence[Bound],
    points: int,
    folder: Folder,
    synthesis: Mapping[str, Path],
    where: Executor | None,
    tell: Callable[[int, int], None],
) -> list[Trial]:
    """Propose and simulate so many points, and return them in their order, those that break a rule among them.

    Raises
    ------
    InputError
        The specification has no space, or more than one, or one of nearly no points; or a figure that is asked for is
        known of no point.
    """
    require(bool(space.space), "space", "given for a search", "missing")
    for name, value in (("grid", space.grid), ("points", space.listed), ("samples", space.samples)):
        require(not value, name, "absent for a search", value)
    wanted = list(dict.fromkeys([*objectives, *(bound.name for bound in bounds)]))
    study = _study(space.seed, objectives)
    trials: list[Trial] = []
    for done in range(0, points, BATCH):
        asked, proposed = _asked(study, space, min(BATCH, points - done), objectives, bounds, trials)
        found = [one.point for one in proposed if one.point is not None]
        run(folder, tasks_of(found, synthesis, space.on_chip, space.estimates), where, lambda done, total: None)
        for one, trial in zip(asked, proposed, strict=True):
            answered = _answered(trial, folder, wanted)
            trials.append(answered)
            _answer(study, one, answered, objectives, bounds)
        tell(done + len(asked), points)
    if not any(trial.figures for trial in trials):
        raise InputError(f"space must have points with {', '.join(wanted)}, not {points} without ({trials[0].rule})")
    return trials


def front(trials: Sequence[Trial], objectives: Sequence[str], bounds: Sequence[Bound]) -> list[Trial]:
    """Return the trials within all bounds that no other one is better than, each point once, by the first objective."""
    kept = {
        trial.point.digest: trial
        for trial in trials
        if trial.point is not None and trial.figures and all(bound.excess(trial.figures) <= 0 for bound in bounds)
    }
    losses = {digest: _losses(trial, objectives) for digest, trial in kept.items()}
    best = [
        trial
        for digest, trial in kept.items()
        if not any(
            other != losses[digest] and all(a <= b for a, b in zip(other, losses[digest], strict=True))
            for other in losses.values()
        )
    ]
    return sorted(best, key=lambda trial: _losses(trial, objectives))


def refusals(trials: Sequence[Trial]) -> list[Refusal]:
    """Return what has no figures."""
    return [Refusal(trial.settings, trial.rule) for trial in trials if trial.rule is not None]


def _losses(trial: Trial, objectives: Sequence[str]) -> tuple[float, ...]:
    """Return figures of which less is better."""
    return tuple(
        -trial.figures[name] if OBJECTIVES[name].more_is_better else trial.figures[name] for name in objectives
    )


def _study(seed: int, objectives: Sequence[str]) -> Any:
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * BATCH)
    directions: Any = ["maximize" if OBJECTIVES[name].more_is_better else "minimize" for name in objectives]
    return optuna.create_study(sampler=sampler, directions=directions)


def _asked(
    study: Any,
    space: Specification,
    count: int,
    objectives: Sequence[str],
    bounds: Sequence[Bound],
    refused: list[Trial],
) -> tuple[list[Any], list[Trial]]:
    """Ask for points until so many keep the rules of a configuration; the others are answered, and added to a list."""
    asked, proposed = [], []
    for _ in range(FUTILE):
        one = study.ask()
        trial = _proposed(space, one)
        if trial.point is None:
            refused.append(trial)
            _answer(study, one, trial, objectives, bounds)
        else:
            asked.append(one)
            proposed.append(trial)
        if len(asked) == count:
            return asked, proposed
    raise InputError(f"space must have points that keep the rules, not {FUTILE} that do not ({refused[-1].rule})")


def _proposed(space: Specification, trial: Any) -> Trial:
    """Take what Optuna proposes along each axis; of ranges of powers of two it proposes the exponent."""
    chosen: Settings = {}
    for name, axis in space.space.items():
        if not isinstance(axis, Range):
            chosen[name] = axis[trial.suggest_categorical(name, list(range(len(axis))))]
        elif axis.is_power:
            ends = (int(end).bit_length() - 1 for end in (axis.low, axis.high))
            chosen[name] = 1 << trial.suggest_int(name, *ends)
        elif axis.is_whole:
            chosen[name] = trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
        else:
            chosen[name] = trial.suggest_float(name, axis.low, axis.high, log=axis.log)
    settings = flat(chosen)
    try:
        return Trial(settings, space.point(settings))
    except InputError as error:
        return Trial(settings, None, rule=str(error))


def _answered(trial: Trial, folder: Folder, wanted: Sequence[str]) -> Trial:
    """Add what the simulation has found."""
    if trial.point is None:
        return trial
    result = folder.result(Task(trial.point))
    if "refused" in result:
        return Trial(trial.settings, None, rule=result["refused"])
    frames = rows(folder, [trial.point])
    figures = {}
    for name in wanted:
        objective = OBJECTIVES[name]
        found = [value for value in map(objective.figure, frames) if value is not None]
        if len(found) < len(frames):
            why = frames[0].get("energy_missing") if name in ("energy_mj", "area_mm2") else None
            rule = f"{name} must be known, not missing ({why or 'see its point'})"
            return Trial(trial.settings, trial.point, rule=rule)
        figures[name] = (min if objective.more_is_better else max)(found)
    return Trial(trial.settings, trial.point, figures)


def _answer(study: Any, asked: Any, trial: Trial, objectives: Sequence[str], bounds: Sequence[Bound]) -> None:
    """Tell what was found; a point without figures is the worst of those that break a bound, or it would come again."""
    known = bool(trial.figures)
    asked.set_constraint("rule", 0.0 if known else FORBIDDEN)
    for number, bound in enumerate(bounds):
        asked.set_constraint(str(number), bound.excess(trial.figures) if known else FORBIDDEN)
    study.tell(asked, [trial.figures[name] if known else 0.0 for name in objectives])
