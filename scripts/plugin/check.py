"""Proves what the plugin's JAR promises: usage: check.py <jar> <version> <glibc> <platform>...

Every sentence that it prints on stderr is something wrong, and makes it fail. It needs readelf (binutils), of any machine.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = "io/conduktor/connect/websocket/"
SERVICE = "META-INF/services/org.apache.kafka.connect.source.SourceConnector"
CONNECTOR = "io.conduktor.connect.websocket.WebSocketSourceConnector"
PROPERTIES = "kafka-connect-websocket.properties"
LIBRARY = "libconnect_websocket_plugin.so"
OTHERS = {"META-INF/MANIFEST.MF", "META-INF/LICENSE", "META-INF/THIRD-PARTY.txt", SERVICE, PROPERTIES}
MACHINES = {"x86_64": "Advanced Micro Devices X86-64", "aarch64": "AArch64"}
JAVA_11 = 55
# What a C library is made of; all of it is there where Java is. libgcc_s is not: Alpine's images have none.
GLIBC_NEEDED = re.compile(r"lib(c|m|dl|rt|pthread)\.so\.\d+|ld-linux-(x86-64|aarch64)\.so\.\d+")
MUSL_NEEDED = re.compile(r"libc(\.musl-\w+)?\.so(\.1)?")


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], check=True, stdout=subprocess.PIPE, text=True).stdout


def classes():
    """The outermost classes that the sources define."""
    return {file.stem for file in (ROOT / "crates/plugin/java/src/main/java" / PACKAGE).glob("*.java")}


def entries(jar, version, platforms):
    """What is wrong with the entries of the JAR but for the native libraries."""
    names = {name for name in jar.namelist() if not name.endswith("/")}
    compiled = {name for name in names if name.startswith(PACKAGE) and name.endswith(".class")}
    outermost = {name[len(PACKAGE):-len(".class")].split("$")[0] for name in compiled}
    native = {"native/%s/%s" % (platform, LIBRARY) for platform in platforms}
    for name in sorted(classes() ^ outermost):
        yield "class %s is in the JAR or in the sources, but not in both" % name
    for name in sorted((OTHERS | native) - names):
        yield "%s is missing" % name
    for name in sorted(names - compiled - OTHERS - native):
        yield "%s does not belong into the JAR" % name
    for name in sorted(compiled):
        magic, major = jar.read(name)[:4], int.from_bytes(jar.read(name)[6:8], "big")
        if magic != b"\xca\xfe\xba\xbe" or major != JAVA_11:
            yield "%s has the class file version %d, Java 11's is %d" % (name, major, JAVA_11)
    if SERVICE in names and jar.read(SERVICE).decode().split() != [CONNECTOR]:
        yield "%s does not name %s alone" % (SERVICE, CONNECTOR)
    if PROPERTIES in names and jar.read(PROPERTIES).decode().split() != ["version=" + version]:
        yield "%s does not say version=%s" % (PROPERTIES, version)


def library(platform, content, glibc):
    """What is wrong with the native library of a platform."""
    arch, musl = platform.split("-")[1], platform.endswith("-musl")
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(content)
        file.flush()
        header, dynamic = readelf("-h", file.name), readelf("-d", file.name)
        symbols, versions, sections = readelf("--dyn-syms", file.name), readelf("-V", file.name), readelf("-S", file.name)

    if not re.search(r"Machine: +%s\n" % re.escape(MACHINES[arch]), header) or not re.search(r"Type: +DYN\b", header):
        yield "is no shared library for %s" % arch
    if "NODELETE" not in dynamic:
        yield "was not linked with -z nodelete"
    allowed = MUSL_NEEDED if musl else GLIBC_NEEDED
    for needed in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
        if not allowed.fullmatch(needed):
            yield "needs the library %s" % needed
    if re.search(r"\((RPATH|RUNPATH)\)", dynamic):
        yield "has a search path for libraries"
    if ".symtab" in sections or ".debug_" in sections:
        yield "is not stripped"

    # Number, value, size, type, binding, visibility, section, name.
    rows = [row.split() for row in symbols.splitlines() if re.match(r" *\d+: ", row)]
    exported = [row[7].split("@")[0] for row in rows if len(row) > 7 and row[6] != "UND" and row[4] in ("GLOBAL", "WEAK")]
    ours = [name for name in exported if re.fullmatch(r"Java_io_conduktor_connect_websocket_\w+|JNI_On(Load|Unload)", name)]
    for name in sorted(set(exported) - set(ours)):
        yield "exports the symbol %s" % name
    if not any("NativeLibrary_version" in name for name in ours):
        yield "does not export the native methods"

    newest = tuple(int(part) for part in glibc.split("."))
    found = {tuple(int(part) for part in each.split(".")) for each in re.findall(r"\bGLIBC_([0-9.]+)", versions)}
    if musl and (found or "GLIBC_" in versions):
        yield "is linked with glibc"
    if not musl and not found:
        yield "needs no version of glibc, so that nothing is proven"
    for each in sorted(found):
        if not musl and each > newest:
            yield "needs glibc %s, newer than %s" % (".".join(map(str, each)), glibc)

    for path in {str(ROOT), str(pathlib.Path.home()), os.environ.get("CARGO_HOME", str(pathlib.Path.home() / ".cargo"))}:
        # A path that many machines have, such as /root, counts as a whole component only.
        if re.search(re.escape(path.encode()) + rb"(?=/[\w.])", content):
            yield "contains the path %s of this machine" % path


def main():
    path, version, glibc, platforms = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    with zipfile.ZipFile(path) as jar:
        wrong = list(entries(jar, version, platforms))
        for platform in platforms:
            name = "native/%s/%s" % (platform, LIBRARY)
            if name in jar.namelist():
                wrong += ["%s %s" % (name, sentence) for sentence in library(platform, jar.read(name), glibc)]
    for sentence in wrong:
        print("plugin: the JAR is wrong: " + sentence, file=sys.stderr)
    if wrong:
        sys.exit(1)


main()
