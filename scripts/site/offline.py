#!/usr/bin/env python3
"""Checks that no page of a built site loads anything from another host: usage: offline.py <folder>.

Links that a reader may click are no loads.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

# Attributes whose address a browser loads by itself.
LOADED = {"src", "srcset", "poster", "data"}
LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "prefetch", "modulepreload", "manifest", "shortcut"}
ELSEWHERE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
IN_CSS = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.foreign = []

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        loaded = [value for name, value in values.items() if name in LOADED]
        if tag == "link" and LINKS & set(values.get("rel", "").lower().split()):
            loaded.append(values.get("href", ""))
        self.foreign += [address for address in loaded if ELSEWHERE.match(address)]
        self.foreign += IN_CSS.findall(values.get("style", ""))


def foreign(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return IN_CSS.findall(text)
    page = Page()
    page.feed(text)
    return page.foreign


def main(folder):
    pages = [path for path in sorted(Path(folder).rglob("*")) if path.suffix in {".html", ".css", ".svg"}]
    found = [f"{path}: loads {address}" for path in pages for address in foreign(path)]
    if not any(path.suffix == ".html" for path in pages):
        found.append(f"{folder} has no page")
    if not (Path(folder) / "search/search_index.json").is_file():
        found.append(f"{folder} has no index for the search")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
