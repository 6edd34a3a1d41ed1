"""The integer pipeline: one function per hardware stage, bit for bit what the RTL computes."""
