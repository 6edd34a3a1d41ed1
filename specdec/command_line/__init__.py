"""The commands of `rtnerf specdec`."""
