"""A schedule in the words of the engines that run it."""

from typing import Any

from specdec.advice.schedule import Ranges

VLLM = {"model": "draft_model", "eagle2": "eagle", "hydra": "medusa", "parallel": "eagle3", "retrieval": "suffix"}
"""Names of methods where they differ."""

SGLANG = {
    "model": "STANDALONE", "eagle": "EAGLE", "eagle2": "EAGLE", "eagle3": "EAGLE3", "mtp": "NEXTN", "ngram": "NGRAM",
    "retrieval": "NGRAM",
}  # fmt: skip

TENSORRT = {"model": "DraftTarget", "eagle3": "Eagle3", "mtp": "MTP", "medusa": "Medusa", "ngram": "NGram"}


def tables(method: str, ranges: Ranges) -> dict[str, Any]:
    """Return what vLLM, SGLang and TensorRT-LLM are to be told; an engine without the method is left out.

    vLLM: ``speculative_config`` with ``num_speculative_tokens_per_batch_size`` (PR 32374). SGLang: flags, and the
    lengths by smallest batch of ``--speculative-adaptive-config``. TensorRT-LLM: ``speculative_config`` with
    ``draft_len_schedule``, whose entry for batch 1 is the longest.
    """
    longest = max(length for _, _, length in ranges)
    found: dict[str, Any] = {
        "vllm": {
            "method": VLLM.get(method, method),
            "num_speculative_tokens": longest,
            "num_speculative_tokens_per_batch_size": [list(one) for one in ranges],
        }
    }
    if longest == 0:
        return {}
    if method in SGLANG:
        found["sglang"] = {
            "speculative-algorithm": SGLANG[method],
            "speculative-num-steps": longest,
            "speculative-eagle-topk": 1,
            "speculative-num-draft-tokens": longest + 1,
            "speculative-adaptive-config": {str(low): [length] for low, _, length in ranges},
        }
    if method in TENSORRT:
        first = ranges[0][2]
        found["tensorrt-llm"] = {
            "decoding_type": TENSORRT[method],
            "max_draft_len": first,
            "draft_len_schedule": {str(low): min(length, first) for low, _, length in ranges},
        }
    return found
