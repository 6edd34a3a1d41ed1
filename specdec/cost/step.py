"""The time of a decoding step as a sum of parts, and which of them binds."""

from collections import Counter
from dataclasses import dataclass

from rtnerf.base.errors import require
from specdec.cost.pass_time import Constant, PassTime
from specdec.trees.shape import Shape

NEARLY_ALL = 0.9
"""A step that keeps this share of the tokens gained as speedup is bound by what plain decoding pays as well."""


@dataclass(frozen=True)
class Step:
    """The parts of a step, in ms.

    Members
    -------
    plain : float
        The target's pass on one token a request: the step of plain decoding.
    verification : float
        What the pass on the whole tree takes more; where measured times scatter, it can be less than 0.
    draft, draft_head : float
        The draft's passes: their bodies, and their output layers where these are known.
    host : float
        Building and verifying the tree outside any pass, beyond what plain decoding does.
    resource : str or None
        What bounds the pass on the tree on its machine, see `PassTime.resource`.
    known : bool
        Whether all passes rest on data, see `PassTime.known`.
    """

    plain: float
    verification: float
    draft: float
    draft_head: float
    host: float
    resource: str | None
    known: bool

    @property
    def ms(self) -> float:
        """The whole step."""
        return self.plain + self.verification + self.draft + self.draft_head + self.host

    @property
    def slowdown(self) -> float:
        """The step over a plain one."""
        return self.ms / self.plain

    @property
    def bound_by(self) -> str:
        """The binding part.

        ``memory`` where at most a tenth of the step is more than plain decoding pays: the pass waits for what it must
        read anyway, and the speedup is nearly all of tau. Else the largest of what is more: ``verification``,
        ``draft``, ``draft head`` or ``host``.
        """
        if self.plain >= NEARLY_ALL * self.ms:
            return "memory"
        parts = {
            "verification": self.verification,
            "draft": self.draft,
            "draft head": self.draft_head,
            "host": self.host,
        }
        return max(parts, key=parts.__getitem__)


class Speculation:
    """The cost of verifying one tree a request and step: ``d * t_D + t_T(B * n) + t_host``.

    Parameters
    ----------
    shape : Shape
        The tree.
    target : PassTime
        The target's passes.
    draft : PassTime
        The draft's passes.
    draft_passes : int, optional
        Sequential draft passes of a step. By default one a level below the root, on that level's parents; a given
        number are on one token a request each (heads such as Medusa's take 1, retrieval 0).
    host_ms : float
        Time of a step outside the passes, in ms, beyond what plain decoding has.

    Raises
    ------
    InputError
        If a number is negative.
    """

    def __init__(
        self,
        shape: Shape,
        target: PassTime,
        draft: PassTime = Constant(0.0),  # noqa: B008 - immutable
        draft_passes: int | None = None,
        host_ms: float = 0.0,
    ):
        require(draft_passes is None or draft_passes >= 0, "draft passes", "at least 0", draft_passes)
        require(host_ms >= 0, "host time", "at least 0 ms", host_ms)
        self.shape = shape
        self.draft_widths = _parents(shape) if draft_passes is None else [1] * draft_passes
        self._passes = Counter(self.draft_widths)
        self._target = target
        self._draft = draft
        self._host_ms = host_ms

    def ms(self, batch: int) -> float:
        """Return the time of a step of ``batch`` requests: `Step.ms`, without its parts."""
        drafting = sum(count * self._draft.ms(batch, width) for width, count in self._passes.items())
        return self._target.ms(batch, len(self.shape)) + drafting + self._host_ms

    def step(self, batch: int) -> Step:
        """Return the parts of a step of ``batch`` requests, at least 1."""
        require(batch >= 1, "batch", "at least 1", batch)
        nodes = len(self.shape)
        plain = self._target.ms(batch, 1)
        passes = self._passes
        head = sum(count * self._draft.head_ms(batch, width) for width, count in passes.items())
        return Step(
            plain=plain,
            verification=self._target.ms(batch, nodes) - plain,
            draft=sum(count * self._draft.ms(batch, width) for width, count in passes.items()) - head,
            draft_head=head,
            host=self._host_ms,
            resource=self._target.resource(batch, nodes),
            known=self._target.known(batch, nodes) and all(self._draft.known(batch, width) for width in passes),
        )


def _parents(shape: Shape) -> list[int]:
    """Count the nodes with children of each depth, the root first: the tokens of the draft's passes."""
    first = Counter(len(path) for path in shape.paths if path[-1] == 0)
    return [first[depth] for depth in range(1, len(shape.levels()))]
