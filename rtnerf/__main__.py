"""``python -m rtnerf``: the command line."""

from rtnerf import main

main()
