"""Prints the licences of what is linked into what we hand out:

  notices.py plugin <zig's directory> <rust target>...   the native libraries of the plugin
  notices.py worker <rust target>                        the binary connect-websocket

Linking statically distributes the crates, so their notices are handed out as well. Build scripts, procedural macros and
tests are not linked, so not here.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Crates without a licence file, and those of the same repository that have theirs.
SAME_AS = {"rdkafka-sys": "rdkafka"}
FILES = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)
# C libraries that crates bring along: name, licence, crate, file of the licence in the crate.
C_LIBRARIES = [
    ("librdkafka, with lz4, snappy and others", "BSD-2-Clause and others", "rdkafka-sys", "librdkafka/LICENSES.txt"),
    ("OpenSSL", "Apache-2.0", "openssl-src", "openssl/LICENSE.txt"),
    ("zlib", "Zlib", "libz-sys", "src/zlib/LICENSE"),
    ("Zstandard", "BSD-3-Clause", "zstd-sys", "zstd/LICENSE"),
]


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(package, target):
    """Names and versions of the crates that are linked for `target`."""
    tree = cargo("tree", "--locked", "-p", package, "-e", "normal,no-proc-macro", "--target", target, "--prefix", "none", "--format", "{p}")
    return {tuple(line.split()[:2]) for line in tree.splitlines() if line}


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def texts(package):
    """The texts to show for a package: of a choice that includes MIT, MIT alone."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and FILES.search(file.name))
    files = [file for file in files if file.suffix.lower() not in (".rs", ".html")]
    mit = [file for file in files if "MIT" in file.name.upper()]
    if mit and re.search(r"(\bMIT (OR|/)|(OR |/)MIT\b)", package["license"]):
        files = mit + [file for file in files if re.search("NOTICE|COPYRIGHT", file.name, re.IGNORECASE)]
    found = [read(file) for file in files]
    if not found and "Apache-2.0" in package["license"]:
        found = [read(ROOT / "LICENSE")]
    if not found:
        sys.exit("notices: %s %s has no licence file" % (package["name"], package["version"]))
    return found


def crates(package, targets):
    """What, licence and texts of every crate that `package` links, and the packages by name."""
    wanted = set().union(*(linked(package, target) for target in targets))
    packages = json.loads(cargo("metadata", "--format-version", "1", "--locked"))["packages"]
    by_name = {each["name"]: each for each in packages}
    ours = [each for each in packages if each["source"] and (each["name"], "v" + each["version"]) in wanted]
    whose = lambda each: by_name[SAME_AS[each["name"]]] if each["name"] in SAME_AS else each
    parts = [("%s %s" % (each["name"], each["version"]), each["license"], texts(whose(each))) for each in ours]
    return sorted(parts), by_name


def of_plugin(zig, targets):
    parts, _ = crates("connect-websocket-plugin", targets)
    return parts + rust() + [
        ("LLVM libunwind", "Apache-2.0 WITH LLVM-exception", [read(zig / "lib/libunwind/LICENSE.TXT")]),
        ("zig's compiler runtime", "MIT", [read(zig / "LICENSE")]),
    ]


def of_worker(target):
    parts, packages = crates("connect-websocket", [target])
    for name, licence, crate, file in C_LIBRARIES:
        folder = pathlib.Path(packages[crate]["manifest_path"]).parent
        parts.append(("%s (%s)" % (name, packages[crate]["version"]), licence, [read(folder / file)]))
    return parts + rust()


def rust():
    """The standard library offers Apache-2.0 too, which is the licence of this product."""
    version = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    return [("Rust standard library " + version, "MIT OR Apache-2.0", [read(ROOT / "LICENSE")])]


def show(what, parts):
    print("%s contains the following software of others.\n" % what)
    for name, licence, _ in parts:
        print("  %-40s %s" % (name, licence))
    # Each text once, whatever its line breaks.
    by_text = {}
    for name, _, found in parts:
        for text in found:
            text = "\n".join(line.rstrip() for line in text.expandtabs().strip().splitlines())
            by_text.setdefault(" ".join(text.split()), (text, []))[1].append(name)
    for text, names in by_text.values():
        print("\n%s\n%s:\n\n%s" % ("=" * 80, ", ".join(names), text))


if sys.argv[1] == "plugin":
    show("The native library of this plugin", of_plugin(pathlib.Path(sys.argv[2]), sys.argv[3:]))
else:
    show("The program connect-websocket", of_worker(sys.argv[2]))
