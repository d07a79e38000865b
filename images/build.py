"""Build an image from the wheels of this tree, start it without a network, try it, and say its size and time.

    hatch run ci:chat-image                      from the base that the Containerfile names
    hatch run ci:note-image --base here          from one that mmdebstrap makes, where no registry of images is reached
    hatch run ci:note-image --built              try the one that was built before
    hatch run ci:note-image --lock [--upgrade]   pin what is in all images anew

It needs buildah and podman, and while it builds the package indexes of Python and npm, and Maven Central. How an image
is tried is in the file trial.py of its folder.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time

from container import ImageError, base_here, build, engine, inspect, lint, pin


def main() -> int:
    """Build and try an image, and return 1 if it is not what it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", choices=["chat", "note"], help="the folder of the image")
    parser.add_argument("--tag", help="the image's name (localhost/stargazer:IMAGE)")
    parser.add_argument("--base", default="", help="another base image; `here`: made by mmdebstrap")
    parser.add_argument("--extras", default="", help="of stargazer-mcp, in place of the Containerfile's")
    parser.add_argument("--built", action="store_true", help="build nothing: try the image of that name")
    parser.add_argument("--lock", action="store_true", help="pin versions anew, and build nothing")
    parser.add_argument("--upgrade", action="store_true", help="with --lock: to the newest ones")
    options = parser.parse_args()
    if options.lock:
        pin(*["--upgrade"] * options.upgrade)
        return 0
    trial = importlib.import_module(f"{options.image}.trial")
    programs = ("uv", "hadolint", "buildah", "podman", *trial.PROGRAMS)
    if missing := [name for name in programs if shutil.which(name) is None]:
        parser.error(f"not on PATH: {', '.join(missing)}")
    tag = options.tag or f"localhost/stargazer:{options.image}"
    with engine():
        try:
            lint(options.image)
            began = time.monotonic()
            if not options.built:
                base = base_here() if options.base == "here" else options.base
                began = time.monotonic()
                build(options.image, tag, base, options.extras)
            seconds = time.monotonic() - began
            size = inspect(tag)
            said = trial.try_image(tag)
        except ImageError as error:
            print(f"{options.image} image: FAILED: {error}")
            return 1
    built = "built before" if options.built else f"built in {seconds:.0f} s"
    print(f"{tag}: {size / 1e9:.2f} GB, {built}; {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
