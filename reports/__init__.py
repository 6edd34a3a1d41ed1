"""The report: notebooks as py:percent files in this folder, which `reports.site.build` executes into one site of HTML.

They show through this module: `table`, `figure`, `cards`, `treemap`. Each names the results that it was made of:
those that commands have just made, in the folder that the environment variable ``RTNERF_BUILD`` names (`made`), and
those kept with the project (`kept`). They open and run in Jupyter as they are.
"""

from reports.site.results import Result, build_folder, kept, made, made_or_kept
from reports.site.show import cards, figure, table
from reports.site.treemap import tiles, treemap

__all__ = ["Result", "build_folder", "cards", "figure", "kept", "made", "made_or_kept", "table", "tiles", "treemap"]
