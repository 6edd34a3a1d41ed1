"""What hardware, golden model and simulator agree on: configuration, fixed-point formats, scene image, registers."""
