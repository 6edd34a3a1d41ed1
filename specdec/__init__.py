"""Tree-verification speculative decoding: proposers, verifiers, and the proof that their output law is the target's."""
