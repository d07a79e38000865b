"""Bundle the genome browser of notebooks: igv.js and what is ours, with npm, into one file that is checked in.

    hatch run genome-browser           from what package-lock.json pins
    hatch run genome-browser --lock    pin anew what package.json names

Beside the bundle it writes the licences of what is in it, and two digests: of what it is made of, and its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

WORKFLOWS = Path(__file__).resolve().parent.parent / "packages/stargazer-workflows"
SOURCE = WORKFLOWS / "genome_browser"
STATIC = WORKFLOWS / "src/stargazer/workflows/notebook/static"
BUNDLE = STATIC / "genome_browser.js"
LICENCES = STATIC / "genome_browser.licences.txt"
DIGEST = STATIC / "genome_browser.sha256"
LOCK = "package-lock.json"
INPUTS = ("index.js", "offline.js", "package.json", LOCK)
"""What the bundle follows from."""


def digest(source: Path = SOURCE) -> str:
    """The sha256 of what the bundle is made of."""
    made_of = hashlib.sha256()
    for name in INPUTS:
        data = (source / name).read_bytes()
        made_of.update(f"{name} {len(data)}\n".encode() + data)
    return made_of.hexdigest()


def pin(folder: Path) -> None:
    """Write the lock file anew, without the names of registries."""
    (folder / LOCK).unlink(missing_ok=True)
    subprocess.run(
        ["npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit"], cwd=folder, check=True
    )
    lock = json.loads((folder / LOCK).read_text())
    for package in lock["packages"].values():
        package.pop("resolved", None)
    (SOURCE / LOCK).write_text(json.dumps(lock, indent=2) + "\n")


def bundle(folder: Path) -> None:
    """Install what is pinned and bundle it."""
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    STATIC.mkdir(exist_ok=True)
    command = (
        *("node_modules/.bin/esbuild", "index.js", "--bundle", "--minify", "--format=esm", "--target=es2022"),
        *("--charset=utf8", "--inject:offline.js", "--legal-comments=none", f"--outfile={BUNDLE}"),
        "--metafile=meta.json",
    )
    subprocess.run(command, cwd=folder, check=True)
    bundled = {
        Path(name).parts[1]
        for name in json.loads((folder / "meta.json").read_text())["inputs"]
        if name.startswith("node_modules/")
    }
    texts = []
    for package in sorted(bundled):
        about = json.loads((folder / "node_modules" / package / "package.json").read_text())
        licence = (folder / "node_modules" / package / "LICENSE").read_text()
        texts.append(f"{package} {about['version']} ({about['license']})\n\n{licence.strip()}\n")
    for name in json.loads((folder / "meta.json").read_text())["inputs"]:  # what igv.js itself has bundled
        said = dict.fromkeys(re.findall(r"/\*(?:[^*]|\*(?!/))*\*/", (folder / name).read_text()))
        texts += [
            f"{comment}\n" for comment in said if re.search(r"copyright|@license", comment, re.IGNORECASE)
        ]
    LICENCES.write_text("\n".join(texts))
    made = hashlib.sha256(BUNDLE.read_bytes()).hexdigest()
    DIGEST.write_text(f"{digest()}\n{made}\n")
    print(f"{BUNDLE.name}: {BUNDLE.stat().st_size:,} bytes, with {', '.join(sorted(bundled))}")


def main() -> None:
    """Bundle it, after pinning if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", action="store_true", help="pin anew what package.json names")
    with tempfile.TemporaryDirectory(prefix="stargazer-genome-browser-") as work:
        folder = Path(work)
        asked = parser.parse_args()
        for name in INPUTS:
            if (SOURCE / name).exists():
                shutil.copy(SOURCE / name, folder)
        if asked.lock:
            pin(folder)
            shutil.copy(SOURCE / LOCK, folder)
        bundle(folder)


if __name__ == "__main__":
    main()
