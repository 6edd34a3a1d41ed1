"""Predict, advise and serve from Python: what the commands of these names do, with values in place of files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rtnerf.base.errors import require
from specdec.advice.advise import Question
from specdec.advice.advise import advise as advise_method
from specdec.advice.answer import Answer, Limits
from specdec.cost import predict as prediction
from specdec.cost.predict import Prediction
from specdec.trees.shape import RankPath, Shape

__all__ = ["advise", "predict", "serve"]


def predict(
    tree: Shape | Iterable[RankPath],
    acceptance: Sequence[Sequence[float]] | Sequence[float],
    batches: Sequence[int] = (1,),
    *,
    step_times: Path | Mapping[int, float] | None = None,
    **costs: Any,
) -> Prediction:
    """Predict what a tree gains by batch, where it stops paying, and what binds.

    Parameters
    ----------
    tree : Shape or iterable of tuple of int
        The tree, or its rank paths: ``(0, 1)`` is the second child of the root's first child.
    acceptance : sequence
        Probability that the walk goes to the child of each rank: per depth, or one list for all depths.
    batches : sequence of int
        Requests in a step, each at least 1.
    step_times : path or mapping, optional
        Of the target, in ms, by the tokens of all requests in a pass: a CSV file, see
        `specdec.cost.predict.read_step_times`, or a mapping.
    costs
        Of `specdec.cost.predict.speculation_of`: ``target``, ``hardware``, ``draft``, ``draft_ms``, ``draft_passes``,
        ``draft_vocabulary``, ``host_ms``, ``context``.

    Raises
    ------
    InputError
        If a value is out of range, or the target or the draft is described twice or not at all.

    Examples
    --------
    A chain of two, each accepted with 0.8, on measured passes and a draft of half a millisecond:

    >>> from specdec import predict
    >>> found = predict([(0,), (0, 0)], [0.8], [1, 64], step_times={1: 10.0, 64: 11.0, 192: 20.0}, draft_ms=0.5)
    >>> round(found.tau, 2), round(found.speedup(1), 2), found.break_even_batch
    (2.44, 2.21, None)
    >>> predict([(0,)], [0.7], target="llama-2-7b", hardware="a100-80g", draft="llama-68m").bound_by
    'memory'
    """
    shape = tree if isinstance(tree, Shape) else Shape(tree)
    rows = prediction.acceptance_rows(acceptance, len(shape.levels()) - 1)
    speculation, search = prediction.speculation_of(shape, step_times, **costs)
    return prediction.predict(prediction.tokens_per_step(shape, rows), speculation, batches, search)


def advise(
    target: str | Path,
    hardware: str | Path,
    methods: Mapping[str, Mapping[int, float]],
    batches: Sequence[int] = (1, 8, 64),
    contexts: Sequence[int] = (1000,),
    *,
    draft: str | Path | None = None,
    draft_vocabulary: int | None = None,
    tpot_ms: float | None = None,
    ttft_ms: float | None = None,
    **question: Any,
) -> Answer:
    """Say which method, how many tokens or which tree to draft at each batch and context, what it gains, and why.

    Parameters
    ----------
    target, hardware : str or path
        By name, or a ``config.json`` and a TOML file.
    methods : mapping of str to mapping of int to float
        By method, acceptance lengths by drafted tokens, the bonus included: ``{"eagle3": {4: 3.2}}``.
    batches, contexts : sequence of int
        Requests in a step, and their tokens.
    draft, draft_vocabulary
        As of `specdec.advice.drafters.drafter`, for the methods that draft with a model.
    tpot_ms, ttft_ms : float, optional
        Latency that is allowed.
    question
        Of `specdec.advice.advise.Question`: ``deployment``, ``nodes``, ``longest``, ``host_ms``, ``pass_host_ms``,
        ``kernels``.

    Raises
    ------
    InputError
        If a value is out of range or unknown.

    Examples
    --------
    >>> from specdec import advise
    >>> found = advise("llama-3.1-8b", "h100", {"eagle3": {4: 3.2}, "ngram": {4: 1.3}}, contexts=[300, 8000])
    >>> found.best.method, found.best.break_even
    ('eagle3', {300: 333, 8000: None})
    """
    require(len(methods) > 0, "methods", "at least one", "none")
    asked = Question(target, hardware, batches=sorted(batches), contexts=sorted(contexts), **question)
    found = []
    for name, lengths in methods.items():
        drafting = (None, None) if name in ("ngram", "retrieval") else (draft, draft_vocabulary)
        found.append(advise_method(asked, name, lengths, *drafting))
    return Answer(found, Limits(tpot_ms, ttft_ms))


def serve(controllers: Sequence[str] = ("off", "smartspec:profile"), **options: Any) -> list[dict[str, Any]]:
    """Serve requests by continuous batching, simulated, with each of some controllers at each of some loads.

    Parameters
    ----------
    controllers : sequence of str
        ``off``, ``fixed:K``, ``smartspec``, ``smartspec:profile`` or ``tree``.
    options
        Of `specdec.serving.experiment.serve`: one of ``rate``, ``clients`` and ``trace``; what requests are like; the
        server.

    Returns
    -------
    list of dict
        As of `specdec.serving.sweep.sweep`: a record for every controller and load, times in ms.

    Raises
    ------
    InputError
        If the load is not given exactly once, or an option is out of range.

    Examples
    --------
    >>> from specdec import serve
    >>> plain, chain = serve(["off", "fixed:3"], rate=[2], requests=200)
    >>> chain["latency_ms"]["mean"] < plain["latency_ms"]["mean"]
    True
    """
    from specdec.serving import experiment

    return experiment.serve(controllers, **options)
