"""What a block does in a cycle: exactly one of these, so that a block's cycles add up to the total."""

IDLE = 0
"""There is nothing to do."""
BUSY = 1
"""Works."""
OUTPUT = 2
"""Waits for room behind it."""
MEMORY = 3
"""Waits for a grant of the bus or for data from memory."""
TREE = 4
"""Waits for the shared tree."""
FACTORS = 5
"""Waits for factors on their way into the cube buffer."""

NAMES = ("idle", "busy", "output", "memory", "tree", "factors")

NEVER = 1 << 62
"""As the cycle that a step returns: not before one of its streams changes."""
