"""A disk that is full while a tool writes: the error says so and what to do, whichever words the tool has for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stargazer.tasks.tools.disk import LITTLE, NO_ROOM, full_disk, room

RUN = """
import asyncio, os, sys
from pathlib import Path
from stargazer.assets.errors import ToolError
from stargazer.tasks.tools import ResolvedTool, Session, Tool, use_session
from stargazer.tasks import samtools

async def main(folder, sam):
    py = Tool("py", ())
    write = "import sys; sys.stdout.buffer.write(bytes(8 << 20))"
    quiet = "import os, sys\\ntry: open('x', 'wb').write(bytes(8 << 20))\\nexcept OSError: sys.exit('short write')"
    tidy = "import os\\ntry: open('x', 'wb').write(bytes(8 << 20))\\nexcept OSError as e: os.remove('x'); raise"
    commands = {
        "samtools view": samtools("view", "-u", "-o", folder / "out.bam", sam),
        "samtools sort": samtools("sort", "-l", 0, "-o", folder / "sorted.bam", sam),
        "parts of a sort": samtools("sort", "-l", 0, "-m", "1M", "-T", folder / "t", "-o", folder / "s.bam", sam),
        "a pipe": samtools("view", "-h", sam) | samtools("view", "-u", "-o", folder / "piped.bam", "-"),
        "standard output": py("-c", write, stdout=folder / "x"),
        "words of its own": py("-c", quiet),
        "who tidies up": py("-c", tidy),
    }
    for name, command in commands.items():
        for path in set(folder.iterdir()) - {sam}:
            path.unlink()
        try:
            await command
        except ToolError as error:
            print(f"{name}\\t{str(error)!r}")
        else:
            print(f"{name}\\tno error")

mount, sam = Path(sys.argv[1]), Path(sys.argv[2])
folder = mount / "work"
folder.mkdir()
(folder / "in.sam").symlink_to(sam)
tools = {"samtools": samtools.resolve({}), "py": ResolvedTool("py", "3", "PATH", (sys.executable,))}
with use_session(Session(folder=folder, log=sam.with_name("log"), tools=tools)):
    asyncio.run(main(folder, folder / "in.sam"))
"""


def test_a_full_disk_is_named_whatever_the_tool_says(tmp_path: Path) -> None:
    prefix = ["unshare", "--mount", "--map-root-user"]
    probe = [*prefix, "sh", "-c", "mount -t tmpfs none /mnt"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("NOT TESTED: no mount namespaces here, so no full disk")
    sam, mount = tmp_path / "x.sam", tmp_path / "small"
    mount.mkdir()
    with sam.open("w") as file:
        file.write("@HD\tVN:1.6\n@SQ\tSN:1\tLN:100000000\n")
        for number in range(20_000):
            file.write(f"r{number}\t0\t1\t{number + 1}\t60\t200M\t*\t0\t0\t{'ACGT' * 50}\t{'I' * 200}\n")

    done = subprocess.run(
        [*prefix, "sh", "-c", 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"', "sh", mount,
         sys.executable, "-c", RUN, mount, sam],
        capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert len(told) == 7
    for name, error in told.items():
        assert "the disk of the store is full" in error, (name, error)
        assert str(mount) in error
        assert "STARGAZER_LOCAL" in error


@pytest.mark.parametrize(
    "said",
    [
        '[E::bgzf_flush] File write failed (wrong size)\nsamtools sort: failed writing to "x": No space left on device',
        "OSError: [Errno 28] No space left on device: 'x'",
        "write: Disk quota exceeded",
        "fwrite: ENOSPC",
    ],
)
def test_these_words_are_enough(tmp_path: Path, said: str) -> None:
    assert "the disk of the store is full" in full_disk(tmp_path, said)


@pytest.mark.parametrize(
    "said",
    [
        "samtools view: writing to \"x.bam\" failed",
        "[bam_sort_core] fail to open file",
        "bwa: short write",
        "Failed to write output",
        "error: could not flush the stream",
        "[bgzf_close] failed",
    ],
)  # fmt: skip
def test_these_words_are_enough_where_little_room_was_seen(tmp_path: Path, said: str) -> None:
    if room(tmp_path) < LITTLE:
        pytest.skip("NOT TESTED: this disk is full itself")
    assert full_disk(tmp_path, said) == ""
    assert bool(full_disk(tmp_path, said, LITTLE - 1)) == ("open file" not in said)
    assert full_disk(tmp_path, said, NO_ROOM - 1)


@pytest.mark.parametrize(
    "said", ["", "truncated file", "[E::hts_open_format] Failed to open file x: No such file"]
)
def test_other_failures_are_not_blamed_on_the_disk(tmp_path: Path, said: str) -> None:
    assert full_disk(tmp_path, said, LITTLE - 1) == ""
