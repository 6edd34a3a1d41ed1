"""The hybrid: state-space layers for the long past, attention for what must be looked up."""

from specdec.models.network import Network, SwiGlu
from specdec.models.ssm import Ssm
from specdec.models.transformer import Attention


def hybrid(vocabulary: int, width: int, layers: int, heads: int, hidden: int, size: int) -> Network:
    """Return a model of ``layers`` times a state-space layer, attention and a gated feed-forward.

    Half of the mixing layers are attention, as in STree's 8B target (arXiv 2505.14969).

    Parameters
    ----------
    vocabulary, width, layers : int
        Tokens, width of a row, repetitions.
    heads : int
        Heads of the attention; the state-space layers have as many, of twice the features.
    hidden : int
        Features of the feed-forward.
    size : int
        State features.
    """
    triples = [
        (Ssm(width, heads, 2 * width // heads, size), Attention(width, heads), SwiGlu(width, hidden))
        for _ in range(layers)
    ]
    return Network(vocabulary, width, [layer for triple in triples for layer in triple])
