"""A hook of MkDocs: mends an error of lunr, with which Material's search works.

lunr shares equal ends of words. It compares them by a text without separators: "1" before node 23 is the same as "12" before node 3. So it
believes in words that do not exist, and a search whose words begin like one of them fails: "27" found nothing.
"""

from pathlib import Path

WRONG, RIGHT = "e=e+s+o.id}", 'e=e+s+o.id+" "}'


def on_post_build(config):
    (path,) = (Path(config.site_dir) / "assets/javascripts/workers").glob("search.*.min.js")
    code = path.read_text(encoding="utf-8")
    if code.count(WRONG) != 1:
        raise ValueError(f"{path} is another version of lunr: look whether it still has this error, and change scripts/site/lunr.py")
    path.write_text(code.replace(WRONG, RIGHT), encoding="utf-8")
