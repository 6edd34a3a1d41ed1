"""What everybody may use: errors, files, compiled functions. Imports nothing of the project."""

import time

STARTED = time.time()
"""When this process began to import the project: a source that is newer may differ from what was imported."""
