"""A hook of MkDocs: brings pages of the repository that are not in docs/ into the site, and mends the links between both.

A link to a page goes to the page's place in the site. A link to another file of the repository, an example for one, goes to a copy of
that file. A link to a folder becomes plain text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]

# Where pages of the repository stand in the site.
PAGES = {
    "ARCHITECTURE.md": "architecture/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "bench/README.md": "benchmarks/method.md",
    "examples/README.md": "examples/index.md",
}

# Not part of the site; its links lead here from elsewhere.
START = {"README.md": "index.md"}

# Which pages the search shows first, and which last.
BOOST = {"troubleshooting.md": 2, "reference/options.md": 3, "reference/log.md": 0.7, "changelog.md": 0.3}
BOOST_OF_FOLDERS = {
    "troubleshooting": 2, "guide": 2, "operations": 1.5, "start": 1.5, "reference": 1.2, "examples": 0.7, "architecture": 0.5, "benchmarks": 0.5,
    "decisions": 0.2,
}

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config):
    feeds = sorted(path.name for path in (ROOT / "docs/feeds").glob("*.md") if path.name != "index.md")
    section = next(entry["Feeds"] for entry in config.nav if "Feeds" in entry)
    section.extend({name.removesuffix(".md"): f"feeds/{name}"} for name in feeds)
    return config


def on_files(files, config):
    for source, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, config, files):
    uri = page.file.src_uri
    page.meta["search"] = {"boost": BOOST.get(uri) or BOOST_OF_FOLDERS.get(posixpath.dirname(uri), 1)}
    source = next((source for source, place in PAGES.items() if place == uri), f"docs/{uri}")

    def mend(match):
        image, label, link = match.groups()
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link) or not path:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target.startswith("docs/"):
            place = target.removeprefix("docs/")
        elif target in PAGES | START:
            place = (PAGES | START)[target]
        elif (ROOT / target).is_file():
            place = f"files/{target}"
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / target)))
        else:
            return label
        relative = posixpath.relpath(place, posixpath.dirname(uri) or ".")
        return f"{image}[{label}]({relative}{'#' + anchor if anchor else ''})"

    return outside_of_code(markdown, lambda text: LINK.sub(mend, text))


def outside_of_code(markdown, change):
    """Changes all but what is code."""
    parts = re.split(r"(^ *```.*?^ *```$|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))
