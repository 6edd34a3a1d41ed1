"""What every page of a site must keep: links that lead somewhere, pictures with words, nothing from outside."""

import json
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

WIDE, NARROW = 1280, 400
"""Pixels of a window."""
LOOK = """({
    sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    dumb: [...document.images].filter((image) => !image.alt.trim()).map((image) => image.src.slice(0, 200)),
    missing: [...document.images].filter((image) => image.complete && !image.naturalWidth && image.loading !== "lazy")
        .map((image) => image.src.slice(0, 200)),
    silent: [...document.querySelectorAll("svg[role=img]")].filter((svg) => !svg.querySelector("title")).length,
})"""


class Page(HTMLParser):
    """The links of a page and the places in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places |= {attributes.get("id"), attributes.get("name")}
        self.links += [attributes[name] for name in ("href", "src", "xlink:href") if name in attributes]


def broken_links(folder):
    """Return the links of all pages of a folder that lead nowhere inside it, each as page and link."""
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "data", "mailto"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            whole = target.is_file() and target.is_relative_to(folder.resolve())
            if not whole or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places
            ):
                broken.append((path.name, link))
    return broken


def check_page(browser, path):
    """Open a page in a wide and a narrow window: no message, nothing from outside, pictures with words, no scroll."""
    browser.open(path.as_uri(), width=WIDE)
    browser.wait("document.readyState === 'complete'")
    for width in (WIDE, NARROW):
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
        found = browser.evaluate(f"JSON.stringify({LOOK})")
        assert json.loads(found) == {"sideways": 0, "dumb": [], "missing": [], "silent": 0}, (path.name, width)
    assert browser.problems == [], path.name
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == [], path.name
