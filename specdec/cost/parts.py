"""The time of a pass as a sum of parts that a user knows or that are fitted to what an engine was measured at."""

from dataclasses import dataclass

from rtnerf.base.errors import require
from specdec.cost.pass_time import LARGEST, PassTime


@dataclass(frozen=True)
class Parts(PassTime):
    """``base + experts * touched(T) + token * T + above * max(T - knee, 0) + request * B + cache * B * context``.

    T are the tokens of all B requests; ``touched(T) = 1 - (1 - chosen)**T`` is the share of a mixture's experts that
    they go to. Source of the linear form: SmartSpec (arXiv 2406.14066); of the experts: Kong et al. (arXiv 2605.15051).

    Members
    -------
    base_ms, experts_ms, token_ms, above_ms, request_ms : float
        Milliseconds: of any pass, of reading all experts, of a token, of a token beyond the knee, of a request.
    cache_us : float
        Microseconds of a cached token of a request.
    chosen : float
        Share of the experts that a token goes to, in [0, 1].
    knee : float
        Tokens from which more cost more.
    context : int
        Cached tokens of every request.
    """

    base_ms: float = 0.0
    experts_ms: float = 0.0
    token_ms: float = 0.0
    above_ms: float = 0.0
    request_ms: float = 0.0
    cache_us: float = 0.0
    chosen: float = 0.0
    knee: float = 0.0
    context: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(0 <= value <= LARGEST, name, f"from 0 to {LARGEST}", value)
        require(self.chosen <= 1, "chosen", "at most 1", self.chosen)

    def ms(self, batch: int, tokens: int) -> float:
        """Return the sum."""
        together = batch * tokens
        touched = 1 - (1 - self.chosen) ** together
        passed = self.token_ms * together + self.above_ms * max(together - self.knee, 0)
        requests = batch * (self.request_ms + self.cache_us / 1000 * self.context)
        return self.base_ms + self.experts_ms * touched + passed + requests
