"""Makes the archive that confluent-hub and Strimzi install: usage: archive.py <jar> <third-party notices> <version>
<directory for the archive>. Prints its path.

One directory with manifest.json, lib/, doc/ and etc/; unpacked it can be a child of plugin.path. Two runs give the same
bytes: entries are sorted and bear one time.
"""

import json
import os
import pathlib
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


# A worker whose own converter is JsonConverter, which is Kafka's default, would quote the text once more.
CONVERTER = {"value.converter": "org.apache.kafka.connect.storage.StringConverter"}


def connector(path):
    """A connector's properties file as the body of POST /connectors."""
    config = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            name, _, value = line.partition("=")
            config[name.strip()] = value.strip()
    return json.dumps({"name": config.pop("name"), "config": {**config, **CONVERTER}}, indent=2, ensure_ascii=False) + "\n"


def main():
    jar, notices, version, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    manifest = json.loads((ROOT / "packaging/manifest.json").read_text(encoding="utf-8").replace("${version}", version))
    files = {
        "manifest.json": (json.dumps(manifest, indent=2) + "\n").encode(),
        "lib/" + jar.name: jar.read_bytes(),
        "doc/README.md": (ROOT / "packaging/README.md").read_bytes(),
        "doc/LICENSE": (ROOT / "LICENSE").read_bytes(),
        "doc/THIRD-PARTY.txt": notices.read_bytes(),
    }
    for example in (ROOT / "examples").glob("*.properties"):
        if example.stem != "worker":
            files["etc/" + example.name] = example.read_bytes()
            files["etc/%s.json" % example.stem] = connector(example).encode()

    name = "%s-%s-%s" % (manifest["owner"]["username"], manifest["name"], version)
    path = pathlib.Path(directory) / (name + ".zip")
    when = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in sorted(files.items()):
            entry = zipfile.ZipInfo("%s/%s" % (name, file), when)
            entry.external_attr = 0o100644 << 16
            # The JAR is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if file.endswith(".jar") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    print(path)


main()
