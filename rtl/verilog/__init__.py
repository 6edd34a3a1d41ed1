"""Verilog of the design, with its sidecar."""
