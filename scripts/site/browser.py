#!/usr/bin/env python3
"""Reads a built site in Chromium as a visitor does: usage: browser.py <folder>.

Every page opens without an error, loads nothing from another host and fits a phone's screen; the search finds what a visitor
types, and each sentence about an error. Pictures of the front page and of each failure go to <folder>-pictures.
"""

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import TimeoutError as Late
from playwright.sync_api import sync_playwright

import sentences

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
WAIT_MS = 20_000

# What a visitor types, and the page that must be among the first results.
SEARCHES = [
    ("kucoin", "feeds/kucoin/"),
    ("exactly-once", "operations/exactly-once/"),
    ("hand-over file", "operations/hand-over/"),
    ("strimzi", "operations/kubernetes/"),
    ("record and replay", "reference/probe/"),
    ("websocket.idle.timeout.ms", "reference/options/"),
    ("websocket.dedup.key", "reference/options/"),
    ("connect_websocket_gaps_total", "reference/metrics/"),
    ("messages_discarded", "reference/log/"),
    ("MessagesMissed", "operations/alerts/"),
    ("compression", "reference/options/"),
    ("set the key of a record", "guide/transforming/"),
    ("no record comes", "troubleshooting/"),
    ("certificate expired", "troubleshooting/"),
    (
        '{"id":0,"state":"FAILED","worker_id":"127.0.0.1:8083","trace":"the connection was lost: Connection reset by peer (os error 104)"}',
        "troubleshooting/",
    ),
    (
        "org.apache.kafka.connect.errors.ConnectException: ws.example.com has no address at "
        "io.conduktor.connect.websocket.WebSocketSourceTask.poll(WebSocketSourceTask.java:120)",
        "troubleshooting/",
    ),
    ("27", "reference/probe/"),
    ("--topics has no effect: no message names them", "troubleshooting/worker/"),
]
FIRST_RESULTS = 3

# Asks Material's worker as the page does, and returns the first results of each query: a list of places for each page.
ASK = """async ([queries, most]) => {
  const config = JSON.parse(document.getElementById("__config").textContent);
  const index = await (await fetch(`${config.base}/search/search_index.json`)).json();
  const worker = new Worker(`${config.base}/${config.search}`);
  const ask = (message) => new Promise((resolve) => {
    worker.onmessage = (answer) => resolve(answer.data);
    worker.postMessage(message);
  });
  await ask({ type: 0, data: { ...index, options: { suggest: true } } });
  const found = [];
  for (const query of queries) {
    const { data } = await ask({ type: 2, data: query });
    found.push(data.items.slice(0, most).map((page) => page.map((result) => result.location)));
  }
  return found;
}"""

# Of Debian's Chromium: nothing is fetched in the background.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Visitor:
    def __init__(self, browser, address, pictures):
        self.address, self.pictures, self.wrong = address, pictures, []
        self.page = browser.new_page(viewport=DESKTOP)
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("request", self.requested)
        self.page.on("pageerror", lambda error: self.fails(f"a script fails: {error}"))
        self.page.on("console", lambda line: self.fails(f"the console says: {line.text}") if line.type == "error" else None)

    def fails(self, why):
        self.wrong.append(f"{self.page.url}: {why}")

    def requested(self, request):
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.fails(f"loads {request.url}")

    def picture(self, name):
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.pictures / f"{name}.png")

    def read(self, path):
        """Opens a page on a phone."""
        answer = self.page.goto(self.address + path)
        if answer.status != 200:
            return self.fails(f"status {answer.status}")
        if not self.page.locator("article h1").first.is_visible():
            self.fails("has no heading")
        width = self.page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            self.fails(f"is {width} wide on a screen of {PHONE['width']}")
            self.picture("wide-" + path.strip("/").replace("/", "-"))

    def search(self, words, wanted):
        """Types words into the search, and opens the result that is wanted."""
        self.page.goto(self.address)
        self.page.keyboard.press("/")
        self.page.keyboard.type(words)
        results = self.page.locator(".md-search-result__item > a")
        result = self.page.locator(f".md-search-result__item:nth-child(-n+{FIRST_RESULTS}) > a[href*='/{wanted}']").first
        try:
            result.wait_for()
        except Late:
            found = [link.get_attribute("href") for link in results.all()[:FIRST_RESULTS]]
            self.picture("search-" + words.replace(" ", "-"))
            return self.fails(f"the search for {words!r} does not show {wanted} among its first: {found}")
        result.click()
        self.page.wait_for_url(f"**/{wanted}**")
        if not self.page.locator("article h1").first.is_visible():
            self.fails("a result of the search shows no heading")

    def find_sentences(self, folder):
        """Searches for all sentences about errors. Returns how many searches that were, and how many showed the row itself at once."""
        self.page.goto(self.address)
        queries = [(query, places) for sentence, places in sentences.rows(folder).items() for query in sentences.as_typed(sentence)]
        found = self.page.evaluate(ASK, [[query for query, _ in queries], FIRST_RESULTS])
        at_once = 0
        for (query, places), results in zip(queries, found):
            at_once += any(result[0] in places for result in results)
            if not any(place in places for result in results for place in result):
                self.fails(f"the search for {query!r} does not find {places} among its first: {[result[0] for result in results]}")
        return len(queries), at_once


def pages(folder):
    found = sorted(path.parent.relative_to(folder) for path in folder.rglob("index.html"))
    return ["" if str(path) == "." else f"{path}/" for path in found]


def visit(folder, browser, address):
    visitor = Visitor(browser, address, Path(f"{folder}-pictures"))
    visitor.page.goto(address)
    visitor.picture("front-page")
    for words, wanted in SEARCHES:
        visitor.search(words, wanted)
    asked, at_once = visitor.find_sentences(Path(folder))
    visitor.page.set_viewport_size(PHONE)
    read = pages(folder)
    for path in read:
        visitor.read(path)
    print("\n".join(visitor.wrong), end="\n" if visitor.wrong else "")
    print(
        f"site: {len(read)} pages, {len(SEARCHES)} searches and {asked} for sentences about errors ({at_once} of them show it first) in "
        f"Chromium, {len(visitor.wrong)} faults"
    )
    return 1 if visitor.wrong or not read or not asked else 0


def main(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        return visit(folder, browser, f"http://127.0.0.1:{server.server_port}/")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
