"""Prints the licences of what the native library contains: usage: notices.py <zig's directory> <rust target>...

Linking statically distributes the crates, so their notices go into the JAR. Build scripts, procedural macros and tests
are not in the library, so not here.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGIN = "connect-websocket-plugin"
FILES = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(target):
    """Names and versions of the crates in the library for `target`."""
    tree = cargo("tree", "--locked", "-p", PLUGIN, "-e", "normal,no-proc-macro", "--target", target, "--prefix", "none", "--format", "{p}")
    return {tuple(line.split()[:2]) for line in tree.splitlines() if line}


def texts(package):
    """The texts to show for a package: of a choice that includes MIT, MIT alone."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and FILES.search(file.name))
    files = [file for file in files if file.suffix.lower() not in (".rs", ".html")]
    mit = [file for file in files if "MIT" in file.name.upper()]
    if mit and re.search(r"(\bMIT (OR|/)|(OR |/)MIT\b)", package["license"]):
        files = mit + [file for file in files if re.search("NOTICE|COPYRIGHT", file.name, re.IGNORECASE)]
    found = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    if not found and "Apache-2.0" in package["license"]:
        found = [(ROOT / "LICENSE").read_text(encoding="utf-8")]
    if not found:
        sys.exit("notices: %s %s has no licence file" % (package["name"], package["version"]))
    return found


def main():
    zig, targets = pathlib.Path(sys.argv[1]), sys.argv[2:]
    wanted = set().union(*(linked(target) for target in targets))
    packages = json.loads(cargo("metadata", "--format-version", "1", "--locked"))["packages"]
    packages = [each for each in packages if each["source"] and (each["name"], "v" + each["version"]) in wanted]
    rust = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    # (what, licence, whose texts)
    parts = [("%s %s" % (each["name"], each["version"]), each["license"], texts(each)) for each in packages]
    parts.sort()
    # The standard library offers Apache-2.0 too, which is the licence of this product.
    parts.append(("Rust standard library " + rust, "MIT OR Apache-2.0", [(ROOT / "LICENSE").read_text(encoding="utf-8")]))
    parts.append(("LLVM libunwind", "Apache-2.0 WITH LLVM-exception", [(zig / "lib/libunwind/LICENSE.TXT").read_text(encoding="utf-8")]))
    parts.append(("zig's compiler runtime", "MIT", [(zig / "LICENSE").read_text(encoding="utf-8")]))

    print("The native library of this plugin contains the following software of others.\n")
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


main()
