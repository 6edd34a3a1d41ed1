"""Settings of Sphinx for the documentation site; `build.py` calls it."""

project = "RT-NeRF, open and executable"
extensions = ["myst_parser"]
myst_heading_anchors = 3
nitpicky, smartquotes = True, False
html_theme = "furo"
html_title = project
html_copy_source = html_show_sphinx = html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
