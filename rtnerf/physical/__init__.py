"""What the RTL costs and how fast it clocks: synthesis with open cell libraries, memories, timing.

Stands on the RTL, the contract and pyosys; knows neither simulators nor PyTorch.
"""
