"""Ask boxo (tests/gateway) for CIDs: `python make_cid_vectors.py IPFSGW > cid_vectors.json`.

Takes about two minutes: the largest file has 7.9 GB, none is written to disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

LEAF, LINKS, GIB = 256 * 1024, 174, 1 << 30
CONTENT = {"mod251": bytes(i % 251 for i in range(251 * 4096)), "zeros": bytes(1 << 20)}
PROFILES = {  # leaf size, links, raw leaves, CID version
    "pinata-v1": (LEAF, LINKS, True, 1),
    "small-chunks": (1024, LINKS, True, 1),
    "unixfs-v1-2025": (1 << 20, 1024, True, 1),
    "unixfs-v0-2015": (LEAF, LINKS, False, 0),
    "node-leaves-v1": (LEAF, LINKS, False, 1),
    "raw-leaves-v0": (LEAF, LINKS, True, 0),
    "narrow": (1000, 11, True, 1),
    "narrow-node-leaves-v0": (1000, 3, False, 0),
}
EDGES = [0, 1, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF, LINKS * LEAF - 1, LINKS * LEAF, LINKS * LEAF + 1]
CASES = [
    *(("pinata-v1", content, size) for content in CONTENT for size in [*EDGES, GIB]),
    *(("pinata-v1", "mod251", LINKS**2 * LEAF + by) for by in (-1, 0, 1)),
    *(("small-chunks", "mod251", LINKS**2 * 1024 + by) for by in (-1, 0, 1)),
    *(("small-chunks", "mod251", LINKS**3 * 1024 + by) for by in (0, 1)),
    *(("unixfs-v1-2025", "mod251", size) for size in (0, 1, 1 << 20, (1 << 20) + 1, GIB, GIB + 1)),
    *(("unixfs-v0-2015", "mod251", size) for size in EDGES),
    *(("node-leaves-v1", "mod251", size) for size in (0, 1, LEAF, LEAF + 1, LINKS * LEAF + 1)),
    *(("raw-leaves-v0", "mod251", size) for size in (0, 1, LEAF, LEAF + 1, LINKS * LEAF + 1)),
    *(("narrow", "mod251", 1000 * 11**n + by) for n in (1, 2, 3, 4) for by in (-1, 0, 1)),
    *(("narrow-node-leaves-v0", "mod251", 1000 * 3**n + by) for n in (1, 2, 3, 7) for by in (-1, 0, 1)),
]


def pieces(content: str, size: int) -> Iterator[bytes]:
    """The first `size` bytes of an endlessly repeated pattern."""
    pattern = CONTENT[content]
    for start in range(0, size, len(pattern)):
        yield pattern[: size - start]


def add(tool: str, flags: list[str], content: str, size: int) -> str:
    with subprocess.Popen(
        [tool, "add", *flags, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        for piece in pieces(content, size):
            process.stdin.write(piece)
        return process.communicate()[0].split()[0].decode()


def cid(tool: str, profile: str, content: str, size: int) -> str:
    leaf, links, raw, version = PROFILES[profile]
    kind = "raw" if raw else "pb"
    flags = ["-chunk", str(leaf), "-links", str(links), "-leaves", kind, "-cidv", str(version)]
    return add(tool, flags, content, size)


def main(tool: str) -> None:
    vectors = [
        {"profile": profile, "content": content, "size": size, "cid": cid(tool, profile, content, size)}
        for profile, content, size in CASES
    ]
    head = {
        "made_by": "boxo v0.43.0, its balanced importer, by make_cid_vectors.py",
        "content": {"mod251": "byte i is i mod 251", "zeros": "every byte is 0"},
        "profiles": {
            name: dict(zip(("leaf_size", "links", "raw_leaves", "version"), profile, strict=True))
            for name, profile in PROFILES.items()
        },
    }
    parts = (f' "{name}": {json.dumps(value)}' for name, value in head.items())
    listed = ' "vectors": [\n' + ",\n".join("  " + json.dumps(value) for value in vectors) + "\n ]"
    print("{\n" + ",\n".join([*parts, listed]) + "\n}")


if __name__ == "__main__":
    main(sys.argv[1])
