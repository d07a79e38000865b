"""Workspaces: how inputs are laid out, what becomes of folders, and what a sweep takes."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import StorageError
from stargazer.assets.catalogue import (
    AlignerIndex,
    Alignment,
    AlignmentIndex,
    QcReport,
    Reference,
    ReferenceIndex,
    SequenceDict,
)
from stargazer.storage import Store, get_client
from stargazer.storage.maintenance import remove_tree
from stargazer.tasks.execution import AssetEnvironment, pack, workspace
from stargazer.tasks.execution._workspace import open_workspace, sweep
from stargazer.tasks.execution.archives import unpacked

env = AssetEnvironment(name="places")


def store() -> Store:
    return get_client().store


def relative(path: Path | None) -> str:
    assert path is not None
    return path.relative_to(workspace()).as_posix()


@env.task
async def reports(texts: list[str]) -> list[QcReport]:
    made = []
    for number, text in enumerate(texts):
        path = workspace() / str(number)
        path.write_text(text)
        made.append(QcReport(path=path, kind=text, sample=text))
    return made


@env.task
async def reference() -> tuple[Reference, ReferenceIndex, SequenceDict]:
    for name, text in (("fa", ">c\nACGT\n"), ("fai", "c\t4\t3\t4\t5\n"), ("dict", "@SQ\tSN:c\tLN:4\n")):
        (workspace() / name).write_text(text)
    made = Reference(path=workspace() / "fa", build="b")
    return (
        made,
        ReferenceIndex(path=workspace() / "fai", reference_cid=made),
        SequenceDict(path=workspace() / "dict", reference_cid=made),
    )


@env.task
async def alignment() -> tuple[Alignment, AlignmentIndex]:
    for name in ("bam", "bai"):
        (workspace() / name).write_text(name)
    made = Alignment(path=workspace() / "bam", sample="-rf /; $(x) 'é", reference_cid="bafkref")
    return made, AlignmentIndex(path=workspace() / "bai", alignment_cid=made)


@env.task
async def index(names: list[str]) -> AlignerIndex:
    folder = workspace() / "made"
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return AlignerIndex(path=pack(folder, workspace() / "index.tar"), reference_cid="bafkref", aligner="bwa")


def test_companions_lie_beside_their_primary_under_the_names_tools_expect() -> None:
    @env.task
    async def look(reference: Reference, alignment: Alignment) -> list[str]:
        return sorted(
            path.relative_to(workspace()).as_posix() for path in workspace().rglob("*") if path.is_file()
        )

    async def run() -> list[str]:
        (fasta, _, _), (bam, _) = await reference(), await alignment()
        return await look(fasta, bam)  # type: ignore[no-any-return]

    assert asyncio.run(run()) == [
        "alignment/alignment.bam",
        "alignment/alignment.bam.bai",
        "reference/reference.dict",
        "reference/reference.fa",
        "reference/reference.fa.fai",
    ]


def test_inputs_are_links_to_the_store_and_each_has_a_place_of_its_own() -> None:
    @env.task
    async def look(
        one: QcReport, files: list[QcReport], named: dict[str, QcReport], nothing: QcReport | None, _: int = 0
    ) -> list[str]:
        for asset in (one, *files, *named.values()):
            assert asset.path is not None
            assert asset.path.is_symlink()
            assert asset.path.resolve() == store().objects.path(asset.cid or "").resolve()
        return [relative(asset.path) for asset in (one, *files, *named.values())]

    async def run() -> list[str]:
        a, b = await reports(["a", "b"])
        return await look(a, [a, b, a], {"../../x": a, "/": b}, None)  # type: ignore[no-any-return]

    folders = ["one", "files/0", "files/1", "files/2", "named/0", "named/1"]
    assert [path.rpartition("/")[0] for path in asyncio.run(run())] == folders


def test_odd_parameter_names_are_places_too() -> None:
    @env.task
    async def look(größe: QcReport, __len__: QcReport, self: QcReport, args: list[QcReport]) -> list[str]:
        return [asset.path.read_text() for asset in (größe, __len__, self, *args) if asset.path]

    async def run() -> list[str]:
        a, b, c, d = await reports(["a", "b", "c", "d"])
        return await look(a, b, c, [d])  # type: ignore[no-any-return]

    assert asyncio.run(run()) == ["a", "b", "c", "d"]


def test_positional_only_and_keyword_only_parameters_arrive() -> None:
    @env.task
    async def look(first: QcReport, /, second: QcReport, *, third: QcReport) -> list[str]:
        return [asset.path.read_text() for asset in (first, second, third) if asset.path]

    async def run() -> list[str]:
        a, b, c = await reports(["a", "b", "c"])
        return await look(a, b, third=c)  # type: ignore[no-any-return]

    assert asyncio.run(run()) == ["a", "b", "c"]


# folders


@env.task
async def contents(index: AlignerIndex) -> dict[str, str]:
    assert index.path is not None
    return {
        path.relative_to(index.path).as_posix(): path.read_text()
        for path in index.path.rglob("*")
        if path.is_file()
    }


def test_a_folder_is_unpacked_once_and_read_only() -> None:
    names = ["index.0123", "index.amb", "sub/index.x"]

    async def run() -> tuple[dict[str, str], dict[str, str], AlignerIndex]:
        made = await index(names)
        return await contents(made), await again(made), made

    @env.task
    async def again(index: AlignerIndex) -> dict[str, str]:
        return await contents.func.__wrapped__(index)  # type: ignore[no-any-return]

    one, two, made = asyncio.run(run())
    assert one == two == {name: f"content of {name}" for name in names}
    (folder,) = (store().root / "unpacked").iterdir()
    assert folder.name == made.cid
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o222 == 0
    assert list(store().objects.work.iterdir()) == []


@pytest.mark.parametrize("damage", ["content", "size", "missing", "folder"])
def test_an_unpacked_folder_that_was_changed_is_unpacked_anew(damage: str) -> None:
    @env.task
    async def again(index: AlignerIndex, number: int) -> dict[str, str]:
        return await contents.func.__wrapped__(index)  # type: ignore[no-any-return]

    async def run() -> tuple[dict[str, str], dict[str, str]]:
        made = await index(["index.a", "sub/index.b"])
        before = await again(made, 1)
        folder = store().root / "unpacked" / str(made.cid)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
        if damage == "content":
            (folder / "index.a").write_text("CONTENT of index.a")
        elif damage == "size":
            (folder / "index.a").write_text("")
        elif damage == "missing":
            (folder / "sub" / "index.b").unlink()
        else:
            remove_tree(folder)
            folder.mkdir()
        return before, await again(made, 2)

    before, after = asyncio.run(run())
    assert after == before
    assert list(store().objects.work.iterdir()) == []


def test_packing_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    packed = []
    for number, names in enumerate((["b", "a/é", "a/b"], ["a/b", "b", "a/é"])):
        folder = tmp_path / str(number)
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            os.utime(path, (number, number))
            path.chmod(0o600 + number)
        packed.append(pack(folder, tmp_path / f"{number}.tar").read_bytes())
    assert packed[0] == packed[1]
    with tarfile.open(tmp_path / "0.tar") as tar:
        assert tar.getnames() == ["a", "a/b", "a/é", "b"]
        assert {member.mtime for member in tar} == {0}


@pytest.mark.parametrize("name", ["../outside", "/outside", "link"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        if name == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc"
            tar.addfile(info)
        else:
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(StorageError, match="cannot unpack bafkevil"):
        unpacked(tmp_path / "evil.tar", tmp_path / "unpacked" / "bafkevil", tmp_path)
    assert not (tmp_path / "outside").exists()


def test_what_is_no_tar_is_refused_by_its_cid(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("no tar at all, though long enough to be taken for a header" * 20)
    with pytest.raises(StorageError, match="cannot unpack bafk123 in"):
        unpacked(tmp_path / "x.tar", tmp_path / "bafk123", tmp_path)


# sweeping

HOLDER = """
import os, sys, time
from pathlib import Path
from stargazer.tasks.execution._workspace import open_workspace
with open_workspace(Path(sys.argv[1]), "task") as folder:
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("x")
    (folder / "sub").chmod(0o555)
    print(folder, flush=True)
    time.sleep(60)
"""


def test_the_workspace_of_a_killed_process_is_swept_and_that_of_a_live_one_stays(tmp_path: Path) -> None:
    def holder() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        return process, Path(process.stdout.readline().strip())

    with holder()[0] as killed, holder()[0] as live:
        killed.kill()
        killed.wait()
        sweep(tmp_path)
        (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
        assert (folder / "sub" / "file").exists()
        live.kill()
        live.wait()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_leaves_what_is_none_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "a.txt").touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "notes"]
    sweep(tmp_path / "missing")


def test_a_lock_that_is_held_is_respected(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with open(tmp_path / "x.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep(tmp_path)
        assert (tmp_path / "x").exists()


def test_where_no_folder_can_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="cannot make a workspace in"),
        open_workspace(tmp_path / "file", "task"),
    ):
        pass


def test_a_long_name_of_a_task_is_cut(tmp_path: Path) -> None:
    with open_workspace(tmp_path, "é" * 300) as folder:
        assert folder.is_dir()


def test_outside_of_any_task_values_of_any_kind_are_fine() -> None:
    @env.task
    async def sample(alignment: Alignment) -> str:
        assert alignment.path is not None
        assert alignment.path.read_text() == "bam"
        return alignment.sample

    async def run() -> Any:
        return await sample((await alignment())[0])

    assert asyncio.run(run()) == "-rf /; $(x) 'é"
