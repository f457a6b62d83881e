"""A hook of MkDocs: a row of a table that begins with code has an anchor, and an entry of its own in the search.

The entry's title is the row's first cell: an error's sentence, an option, a metric. So the search shows it with its meaning, and leads
to the row.
"""

import json
import re
from html import unescape
from pathlib import Path

from markdown.extensions.toc import slugify, unique

ROW = re.compile(r"<tr>\n<td>((?:<a [^>]*>)?<code>.*?)</td>\n.*?</tr>", re.DOTALL)
CELL = re.compile(r"<td[^>]*>(.*?)</td>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")
TAG_BUT_CODE = re.compile(r"<(?!/?code>)[^>]*>")
WORD = re.compile(r"[\w.]{3,}")
MAX_ANCHOR = 80

entries = []


def on_pre_build(config):
    entries.clear()


def on_page_content(html, page, config, files):
    taken = set(re.findall(r' id="([^"]*)"', html))

    def with_anchor(row):
        title, *rest = (TAG_BUT_CODE.sub("", cell) for cell in CELL.findall(row[0]))
        words = unescape(TAG.sub("", title))
        anchor = unique(slugify(words, "-")[:MAX_ANCHOR].strip("-") or "row", taken)
        location, weight = f"{page.url}#{anchor}", boost(page, len(WORD.findall(words)))
        entries.append({"location": location, "title": title, "text": " ".join(rest), "boost": weight})
        return row[0].replace("<tr>", f'<tr id="{anchor}" data-search-exclude="1">', 1)

    return ROW.sub(with_anchor, html)


def boost(page, words):
    """Material's search adds up the words that are found, however long a title is. So a short sentence about an error counts more for each
    word: else a longer sentence with the same words would be shown before it."""
    if page.url.startswith("troubleshooting/"):
        return round(10 / max(words, 1) ** 0.4, 2)
    return page.meta["search"]["boost"]


def on_post_build(config):
    path = Path(config.site_dir) / "search/search_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["docs"] += entries
    path.write_text(json.dumps(index, separators=(",", ":")), encoding="utf-8")
