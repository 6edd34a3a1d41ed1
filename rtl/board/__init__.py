"""The accelerator on an FPGA board: a serial line to a computer that holds memory and writes registers."""
