"""Keeps the house as it is drawn: includes run one way, and only netstack/host/ knows the kernel.

    include_direction.py ROOT [--self-check]

Every source file belongs to a layer (LAYERS). A file may include files of its own layer and of the
layers that its layer names as lower ones; everything else is a finding. Inside one layer the folders may
use one another, as long as no circle of folders comes of it. Files never include each other in a circle.

netstack/ outside host/ is free of system headers, so that it can be tested and fuzzed without a kernel. Every header starts with #pragma once, and a
.cc file includes its own header first, which proves that the header stands alone.

With --self-check the rules are tried on small made-up trees that break them, one each.
"""

import pathlib
import re
import sys
import tempfile

# folder → layer. The longest matching prefix wins; "netstack" alone holds the translator's core.
LAYERS = {
    "netstack/base": "base",
    "netstack/address": "address",
    "netstack/wire": "wire",
    "netstack/policy": "policy",
    "netstack/seams": "seams",
    "netstack/link": "link",
    "netstack/flow": "flow",
    "netstack/names": "protocols",
    "netstack/tcp": "protocols",
    "netstack/udp": "protocols",
    "netstack/icmp": "protocols",
    "netstack/publish": "protocols",
    "netstack": "translator",
    "netstack/host": "host",
    "netstack/host/descriptor": "descriptor",
    "sandbox": "sandbox",
    "launcher": "launcher",
}

# From the bottom up: each may use all that stand before it in this list.
ORDER = ["base", "address", "wire", "policy", "seams", "link", "flow", "protocols", "translator", "descriptor", "host"]
LOWER_LAYERS = {layer: ORDER[:place] for place, layer in enumerate(ORDER)}
LOWER_LAYERS["descriptor"] = ["base"]  # file descriptors, which sandbox/ has to do with, too
LOWER_LAYERS["sandbox"] = ["base", "descriptor"]
LOWER_LAYERS["launcher"] = ORDER + ["sandbox"]

KERNEL_HEADER = re.compile(
    r"^(sys|linux|net|netinet|netinet6|arpa|asm|asm-generic|netlink)/"
    r"|^(unistd|fcntl|poll|sched|signal|ifaddrs|netdb|termios|pthread)\.h$"
)

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def layer_of(path):
    folder = path.rsplit("/", 1)[0]
    while folder:
        if folder in LAYERS:
            return LAYERS[folder]
        folder = folder.rpartition("/")[0]
    return None


def sources(root):
    for top in ("netstack", "sandbox", "launcher"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix in (".h", ".cc"):
                yield str(file.relative_to(root)), file.read_text()


def circle(edges):
    """A list of nodes that lead back to the first one, or None."""
    done, path = set(), []

    def walk(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for following in sorted(edges.get(node, ())):
            found = walk(following)
            if found:
                return found
        path.pop()
        done.add(node)
        return None

    for node in sorted(edges):
        found = walk(node)
        if found:
            return found
    return None


def findings_of_file(root, path, text):
    layer = layer_of(path)
    if layer is None:
        yield f"{path}: lies in no known layer"
        return
    includes = [match.groups() for match in INCLUDE.finditer(text)]
    for own, system in includes:
        if own:
            other = layer_of(own)
            if other is None or not (root / own).exists():
                yield f'{path}: "{own}" is no file of this tree (includes are written from the top)'
            elif other != layer and other not in LOWER_LAYERS[layer]:
                yield f'{path}: {layer} may not include "{own}" ({other})'
        elif path.startswith("netstack/") and not path.startswith("netstack/host/") and KERNEL_HEADER.search(system):
            yield f"{path}: <{system}> belongs in netstack/host/"
    if path.endswith(".h") and "#pragma once" not in text:
        yield f"{path}: has no #pragma once"
    header = path.removesuffix(".cc") + ".h"
    if path.endswith(".cc") and (root / header).exists() and (not includes or includes[0][0] != header):
        yield f"{path}: includes its own header not first"


def findings(root):
    file_edges, folder_edges = {}, {}
    for path, text in sources(root):
        yield from findings_of_file(root, path, text)
        own = {match.group(1) for match in INCLUDE.finditer(text) if match.group(1)}
        file_edges[path] = own
        folder = path.rsplit("/", 1)[0]
        others = {include.rsplit("/", 1)[0] for include in own} - {folder}
        folder_edges.setdefault(folder, set()).update(others)
    # The launcher's verbs and the program's main file see each other: one folder for this purpose.
    folder_edges = {f: edges for f, edges in folder_edges.items() if layer_of(f + "/x") != "launcher"}
    for kind, edges in (("files", file_edges), ("folders", folder_edges)):
        found = circle(edges)
        if found:
            yield f"{kind} include each other in a circle: " + " → ".join(found)


BROKEN_TREES = {
    "upward": {
        "netstack/wire/a.h": '#pragma once\n#include "netstack/tcp/b.h"\n',
        "netstack/tcp/b.h": "#pragma once\n",
    },
    "sandbox": {
        "sandbox/a.cc": '#include "netstack/wire/b.h"\n',
        "netstack/wire/b.h": "#pragma once\n",
    },
    "core to host": {
        "netstack/translator.cc": '#include "netstack/host/b.h"\n',
        "netstack/host/b.h": "#pragma once\n",
    },
    "kernel header": {"netstack/udp/a.cc": "#include <sys/socket.h>\n"},
    "circle of files": {
        "netstack/tcp/a.h": '#pragma once\n#include "netstack/tcp/b.h"\n',
        "netstack/tcp/b.h": '#pragma once\n#include "netstack/tcp/a.h"\n',
    },
    "circle of folders": {
        "netstack/tcp/a.h": '#pragma once\n#include "netstack/udp/b.h"\n',
        "netstack/udp/b.h": "#pragma once\n",
        "netstack/udp/c.h": '#pragma once\n#include "netstack/tcp/d.h"\n',
        "netstack/tcp/d.h": "#pragma once\n",
    },
    "no pragma": {"netstack/tcp/a.h": "\n"},
    "own header last": {
        "netstack/tcp/a.cc": '#include <array>\n#include "netstack/tcp/a.h"\n',
        "netstack/tcp/a.h": "#pragma once\n",
    },
    "no such file": {"netstack/tcp/a.cc": '#include "tcp/b.h"\n'},
}


def self_check():
    failures = []
    for name, files in BROKEN_TREES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            if len(list(findings(root))) != 1:
                failures.append(f"self-check {name}: {list(findings(root))}")
    return failures


def main():
    root = pathlib.Path(sys.argv[1])
    problems = self_check() if "--self-check" in sys.argv else list(findings(root))
    print("\n".join(problems) or "includes run one way")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
