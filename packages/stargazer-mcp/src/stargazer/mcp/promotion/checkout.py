"""The checkout that tasks are promoted into: where it is, its files, and the module that `--to` means."""

from __future__ import annotations

import importlib.util
import keyword
import tomllib
from pathlib import Path, PurePosixPath

import attrs
from stargazer.assets import ConfigurationError, InvalidAssetError

__all__ = ["PACKAGE", "Checkout", "Target", "find_checkout", "target_of"]

PACKAGE = "stargazer-tasks"


@attrs.frozen
class Checkout:
    """A checkout of this repository.

    Attributes:
        root: its folder.
    """

    root: Path

    @property
    def package(self) -> Path:
        """The folder of stargazer-tasks."""
        return self.root / "packages" / PACKAGE

    @property
    def source(self) -> Path:
        """The folder that module paths begin in: `tasks/deepvariant.py` is below it."""
        return self.package / "src" / "stargazer"

    @property
    def front_page(self) -> Path:
        """What `stargazer.tasks` offers."""
        return self.source / "tasks" / "__init__.pyi"

    @property
    def pyproject(self) -> Path:
        """Of stargazer-tasks, with its entry points."""
        return self.package / "pyproject.toml"

    @property
    def changelog(self) -> Path:
        """Of stargazer-tasks."""
        return self.package / "CHANGELOG.md"

    @property
    def catalogue(self) -> Path:
        """The script that writes docs/catalogue.md."""
        return self.root / ".ci" / "catalogue.py"

    @property
    def unit_tests(self) -> Path:
        """Where the tests of promoted tasks are."""
        return self.package / "tests" / "unit"

    @property
    def test_data(self) -> Path:
        """Where the files of these tests are."""
        return self.package / "tests" / "data"


@attrs.frozen
class Target:
    """The module that a task goes into.

    Attributes:
        path: its file, which may be there.
        module: its name: `stargazer.tasks.deepvariant`.
    """

    path: Path
    module: str


def find_checkout() -> Checkout:
    """The checkout that this installation runs from.

    Raises:
        ConfigurationError: it runs from an installed wheel, or the current folder is in another checkout.
    """
    spec = importlib.util.find_spec("stargazer.tasks")
    own = _checkout_around(Path(spec.origin)) if spec is not None and spec.origin is not None else None
    if own is None:
        raise ConfigurationError(
            f"{PACKAGE} is installed as a wheel, so there is no source to promote a task into; clone the repository, "
            "and run `hatch run test:stargazer promote-task ...` in it"
        )
    here = _checkout_around(Path.cwd() / "here")
    if here is not None and here.root.resolve() != own.root.resolve():
        raise ConfigurationError(
            f"this is the stargazer of the checkout {own.root}, and you are in {here.root}; run `hatch run "
            "test:stargazer promote-task ...` here, or go there"
        )
    return own


def _checkout_around(path: Path) -> Checkout | None:
    """The checkout that a path is in."""
    for folder in path.parents:
        if _name_of(Checkout(folder).pyproject) == PACKAGE:
            return Checkout(folder)
    return None


def _name_of(pyproject: Path) -> str:
    try:
        return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["name"])
    except (OSError, ValueError, LookupError):
        return ""


def target_of(checkout: Checkout, to: str) -> Target:
    """The module that `--to` means.

    Raises:
        InvalidAssetError: it is not a module of stargazer.tasks.
    """
    path = PurePosixPath(to)
    example = "expected a module below tasks/, such as --to tasks/deepvariant.py"
    if path.parts[:1] == ("workflows",):
        raise InvalidAssetError(
            f"--to {to!r}: only tasks are promoted; a workflow is moved by hand (docs/workflows.md)"
        )
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != ("tasks",) or len(path.parts) < 2:
        raise InvalidAssetError(f"--to {to!r} is outside of the tasks; {example}")
    if path.suffix != ".py":
        raise InvalidAssetError(f"--to {to!r} is no Python module; {example}")
    names = [*path.parts[1:-1], path.stem]
    for name in names:
        usual = name.isidentifier() and name.isascii() and name.islower() and not name.startswith("_")
        if not usual or keyword.iskeyword(name):
            raise InvalidAssetError(
                f"--to {to!r}: {name!r} is no name for a module; expected lower-case letters, digits and "
                "underscores, and a letter first"
            )
    *folders, _ = names
    folder = checkout.source.joinpath("tasks", *folders)
    if not (folder / "__init__.py").is_file():
        raise InvalidAssetError(
            f"--to {to!r}: there is no package {'.'.join(['stargazer.tasks', *folders])}; promote into one that is "
            "there, or make its __init__.py first"
        )
    if (checkout.source / path.with_suffix("")).is_dir():
        raise InvalidAssetError(f"--to {to!r}: a package of this name is there; name a module in it")
    return Target(checkout.source / path, ".".join(["stargazer", "tasks", *names]))
