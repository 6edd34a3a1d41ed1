"""What everybody may use: errors, files, compiled functions. Imports nothing of the project."""
