"""The gallery of notebooks: what is in it, where its files come from, and copies of it in a folder of the user's.

No wheel holds a notebook. They come from STARGAZER_NOTEBOOKS, from the clone of the repository that is installed, or
from the project's pages; what was downloaded is compared with the checksums that gallery.json has.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path, PurePosixPath

from attrs import frozen
from stargazer.assets import AssetNotFoundError, StargazerError, StorageError
from stargazer.assets.addresses import is_address

__all__ = ["FOLDER", "Copies", "Notebook", "copy_gallery", "find_notebook", "notebooks"]

VARIABLE = "STARGAZER_NOTEBOOKS"
FOLDER = "stargazer-notebooks"
"""Where copies go unless somebody says otherwise, in the current folder."""
PAGES = "https://raw.githubusercontent.com/stargazerbio/stargazer/stargazer-mcp-v{version}/notebooks"
"""The folder of the notebooks in the repository, at the tag of a release."""
COPIED = ".stargazer-gallery.json"
"""In a folder of copies: the checksum of each as it was copied, which tells those that were edited since."""
LARGEST = 1 << 20  # bytes of a notebook


@frozen
class Notebook:
    """A notebook of the gallery.

    Attributes:
        file: its path in the gallery, with `/`.
        title: what its first cell calls it.
        sha256: of its bytes in this release.
    """

    file: str
    title: str
    sha256: str

    @property
    def name(self) -> str:
        """What people call it."""
        return PurePosixPath(self.file).stem


@frozen
class Copies:
    """What became of the notebooks in a folder of copies.

    Attributes:
        folder: the folder.
        made: files that were not there.
        updated: those that nobody had edited, and that the gallery has in another version now.
        edited: those that somebody edited and that the gallery has in another version now; they were left.
    """

    folder: Path
    made: Sequence[str] = ()
    updated: Sequence[str] = ()
    edited: Sequence[str] = ()


def notebooks() -> tuple[Notebook, ...]:
    """The notebooks of this release, in the order in which they are to be read."""
    text = resources.files("stargazer.mcp").joinpath("gallery.json").read_text(encoding="utf-8")
    return tuple(Notebook(**each) for each in json.loads(text))


def find_notebook(word: str) -> Notebook:
    """The notebook of this name or file.

    Raises:
        AssetNotFoundError: there is none; it names those there are.
    """
    found = {word: each for each in notebooks() for word in (each.name, each.file, each.file[:-3])}
    if word not in found:
        names = ", ".join(each.name for each in notebooks())
        raise AssetNotFoundError(f"the gallery has no notebook {word!r}; it has {names}")
    return found[word]


def copy_gallery(folder: Path, tell: Callable[[str], None] = lambda text: None) -> Copies:
    """Bring the notebooks of the gallery into a folder, but for those that somebody edited there.

    All are written or none: a copy is whole before it takes its name. Where the folder is the gallery of a clone
    itself, it stays as it is.

    Args:
        folder: made where it is not there.
        tell: told what is being downloaded.

    Raises:
        StorageError: a notebook cannot be had from anywhere, or the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{str(folder)!r} is no folder: give another with --folder")
    source = _source()
    if isinstance(source, Path) and source.exists() and folder.exists() and source.samefile(folder):
        return Copies(folder)
    digests, bring = _contents(source, tell)
    copied = _copied(folder)
    made, updated, edited = [], [], []
    for file, digest in digests.items():
        found = _digest(folder / file)
        if found is None:
            made.append(file)
        elif found != digest and found == copied.get(file):
            updated.append(file)
        elif found != digest and digest != copied.get(file):
            edited.append(file)
    if made or updated:
        contents = {file: bring(file) for file in (*made, *updated)}
        same = [file for file in digests if file not in edited and _digest(folder / file) == digests[file]]
        known = {**copied, **{file: digests[file] for file in (*made, *updated, *same)}}
        try:
            _write(folder, {**contents, COPIED: json.dumps(known, indent=2).encode()})
        except OSError as error:
            raise StorageError(
                f"the notebooks cannot be copied to {str(folder)!r}: {error.strerror or error}. "
                "Give another folder with --folder."
            ) from error
    return Copies(folder, made, updated, edited)


def _source() -> Path | str:
    """Where notebooks come from: a folder, or the URL of one."""
    if given := os.environ.get(VARIABLE):
        return given.rstrip("/") if is_address(given) else Path(given).expanduser()
    for folder in Path(__file__).resolve().parents[5:6]:
        if (folder / "notebooks").is_dir() and (folder / "packages").is_dir():
            return folder / "notebooks"
    return PAGES.format(version=metadata.version("stargazer-mcp"))


def _contents(
    source: Path | str, tell: Callable[[str], None]
) -> tuple[Mapping[str, str], Callable[[str], bytes]]:
    """The checksum of each file of the gallery at a source, and what brings its bytes."""
    listed = {each.file: each.sha256 for each in notebooks()}
    if isinstance(source, str):
        return listed, lambda file: _downloaded(f"{source}/{file}", listed[file], tell)
    try:
        contents = {file: (source / file).read_bytes() for file in listed}
    except OSError as error:
        raise StorageError(
            f"the gallery's folder {str(source)!r} has no {error.filename and Path(error.filename).name!r} "
            f"({error.strerror}): set {VARIABLE} to a folder with {', '.join(listed)}"
        ) from error
    return {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}, contents.__getitem__


def _downloaded(url: str, digest: str, tell: Callable[[str], None]) -> bytes:
    from stargazer.storage import fetch_file

    try:
        with (
            tempfile.TemporaryDirectory(prefix="stargazer-gallery-") as work,
            fetch_file(url, {"sha256": digest}, Path(work), tell, most=LARGEST) as path,
        ):
            return path.read_bytes()
    except StargazerError as error:
        raise StorageError(
            f"the notebooks are not on this machine, and could not be downloaded: {error}\n"
            f"Set {VARIABLE} to the folder notebooks/ of a clone of the repository, or to the URL of a copy of it."
        ) from error


def _copied(folder: Path) -> dict[str, str]:
    """What is written down of a folder of copies; nothing where that cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / COPIED).read_bytes())
        if isinstance(found, dict):
            return {str(file): str(digest) for file, digest in found.items()}
    return {}


def _digest(path: Path) -> str | None:
    """The checksum of a file; None where there is none, "" of what is no file or cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return "" if path.is_symlink() else None
    except OSError:
        return ""


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, all of them under other names first; what was made is removed where that fails."""
    fresh = [folder / PurePosixPath(file).parent for file in contents]
    fresh = [path for path in dict.fromkeys([folder, *fresh]) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".stargazer-", dir=folder) as staged:
            for number, data in enumerate(contents.values()):
                Path(staged, str(number)).write_bytes(data)
            for file in contents:
                (folder / file).parent.mkdir(exist_ok=True)
            for number, file in enumerate(contents):
                Path(staged, str(number)).replace(folder / file)
    except BaseException:
        for path in reversed(fresh):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
