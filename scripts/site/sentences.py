"""The sentences about errors of a built site, as readers type and paste them into its search."""

import json
import re
from html import unescape

ROW = re.compile(r"troubleshooting/(?:[^#]+/)?#")
FIRST_WORDS = 8

# What is in the place of a sentence's `…`: after some words or before some, else an option's name and a host in turn.
AFTER = [(re.compile(r"(?:=|status|code|port|line|byte) $"), "1006"), (re.compile(r"[:(] ?$"), "Connection reset by peer (os error 104)")]
BEFORE = [(re.compile(r" (?:bytes|ms|s|times|attempts)\b"), "64"), (re.compile(r"=\""), "username")]
OTHERS = ["websocket.record.filter", "ws.example.com:443"]


def rows(folder):
    """Returns the sentences of all tables about errors, each with the places of its rows."""
    index = json.loads((folder / "search/search_index.json").read_text(encoding="utf-8"))
    found = {}
    for entry in index["docs"]:
        if ROW.match(entry["location"]) and entry["title"].startswith("<code>"):
            for sentence in re.findall(r"<code>(.*?)</code>", entry["title"]):
                found.setdefault(unescape(sentence), []).append(entry["location"])
    return {sentence: places for sentence, places in found.items() if len(re.findall("[a-z]{2,}", sentence)) > 1 and " " in sentence}


def as_typed(sentence):
    """Returns what readers type and paste of an error: all of it, its first words, the line of the log."""
    said = filled(sentence)
    first_words = filled(sentence.lstrip('….:;=" ')).split()[:FIRST_WORDS]
    return [said, " ".join(first_words), f'[2026-11-24 12:38:30,927] ERROR [coinbase|task-0] event=task_failed reason="{said}" (connect.websocket)']


def filled(sentence):
    first, *rest = sentence.split("…")
    said = first
    for turn, part in enumerate(rest):
        said += value(said, part, turn) + part
    return said


def value(before, after, turn):
    for words, found in BEFORE:
        if words.match(after):
            return found
    for words, found in AFTER:
        if words.search(before):
            return found
    return OTHERS[turn % len(OTHERS)]
