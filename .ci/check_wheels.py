"""Build each distribution, install its wheel with only the layers below it, and try it there.

Every name of its front page is imported, the script of `works/` does one thing that a user would, and a sample of the
tests that the distribution carries is run: QUICK. All of them are run by `hatch run test`, on the sources. The
server is started by `uvx` too, as an agent's client does it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")  # from the lowest to the highest
NOT_INSTALLED = {
    "assets": {"fastmcp", "flyte", "numpy", "pysam", "requests", "rich", "tinydb"},
    "storage": {"fastmcp", "flyte", "numpy", "pysam"},
    "tasks": {"anndata", "fastmcp", "scanpy"},
    "workflows": {"anndata", "fastmcp", "scanpy"},
    "mcp": {"anndata", "scanpy"},
}
QUICK = ("-m", "not slow and not long", "--sample", "2")
"""The quick tests of a distribution: one case of the first two of each module that are marked neither slow nor long, so
that every part of a wheel is used in a minute."""
ALONE = {"storage": ("tests/test_lineage_rocrate.py", "roc-validator")}
"""Tests that are run in full, as they run nowhere else: by layer, the file, and what they must not be skipped for."""
FRONT_PAGE = """
import importlib, sys
page = importlib.import_module(sys.argv[1])
names = getattr(page, "__all__", ())
for name in names:
    getattr(page, name)
print(len(names))
"""

GREETING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "check_wheels", "version": "1"},
}
CALLS = (
    {"id": 1, "method": "initialize", "params": GREETING},
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list"},
    {"id": 3, "method": "tools/call", "params": {"name": "list_tasks", "arguments": {}}},
)
"""What a client of the server says, one message a line."""


class CheckError(Exception):
    """A distribution is not what it should be."""


def run(
    *command: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None, given: str = ""
) -> str:
    """Run a command, and return what it prints."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, input=given, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise CheckError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(layer: str, dist: Path) -> tuple[Path, Path]:
    """Build the sdist and, from it, the wheel."""
    run("uv", "build", "--quiet", "--out-dir", dist, ROOT / f"packages/stargazer-{layer}")
    (sdist,) = dist.glob(f"stargazer_{layer}-*.tar.gz")
    (wheel,) = dist.glob(f"stargazer_{layer}-*.whl")
    return sdist, wheel


def check_contents(layer: str, wheel: Path) -> None:
    """A wheel holds its own layer, typed, and nothing of the namespace itself."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    own = f"stargazer/{layer}/"
    strays = sorted(name for name in names if not name.startswith(own))
    if strays:
        raise CheckError(f"{wheel.name} holds {strays}: only {own} is its own")
    if f"{own}py.typed" not in names:
        raise CheckError(f"{wheel.name} has no py.typed")


def check_no_notebook(built: Path) -> None:
    """Neither a wheel nor an sdist holds a notebook of the repository, a wheel no other one either."""
    own = {path.read_bytes() for path in (ROOT / "notebooks").rglob("*.py")}
    is_wheel = zipfile.is_zipfile(built)
    if is_wheel:
        with zipfile.ZipFile(built) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    else:
        with tarfile.open(built) as archive:
            members = [member for member in archive if member.isfile() and member.name.endswith(".py")]
            files = {member.name: archive.extractfile(member).read() for member in members}
    found = sorted(name for name, data in files.items() if data in own or (is_wheel and is_notebook(data)))
    if found:
        raise CheckError(f"{built.name} holds notebooks, which nothing imports: {', '.join(found)}")


def is_notebook(source: bytes) -> bool:
    """Whether a module is a notebook of marimo: `app = marimo.App(...)`."""
    return any(
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "marimo.App"
        for node in ast.parse(source).body
    )


def check_planted_notebooks(wheel: Path, work: Path) -> None:
    """A notebook that is planted in a copy of a wheel is noticed: one of ours, and any other."""
    ours = sorted((ROOT / "notebooks").rglob("[!_]*.py"))[0].read_bytes()
    for number, planted in enumerate((ours, b"import marimo\napp = marimo.App(width='full')\n")):
        copy = shutil.copy(wheel, work / f"planted-{number}.whl")
        with zipfile.ZipFile(copy, "a") as archive:
            archive.writestr("stargazer/mcp/planted.py", planted)
        try:
            check_no_notebook(Path(copy))
        except CheckError:
            continue
        raise CheckError("a notebook that was planted in a wheel is not noticed")


def install(layer: str, wheels: dict[str, Path], venv: Path, python: str) -> Path:
    """Make an environment with one wheel, its lower layers from `wheels`, and nothing above."""
    run("uv", "venv", "--quiet", "--no-project", "--python", python, venv)
    interpreter = venv / "bin" / "python"
    lower = LAYERS[: LAYERS.index(layer)]
    constraints = venv / "lower-layers.txt"
    constraints.write_text("".join(f"stargazer-{name} @ {wheels[name].as_uri()}\n" for name in lower))
    run("uv", "pip", "install", "--quiet", "--python", interpreter, "-c", constraints, wheels[layer])

    listed = json.loads(run("uv", "pip", "list", "--python", interpreter, "--format", "json"))
    installed = {entry["name"] for entry in listed}
    ours = {name for name in installed if name.startswith("stargazer")}
    if ours != {f"stargazer-{name}" for name in (*lower, layer)}:
        raise CheckError(f"stargazer-{layer} installs {sorted(ours)}")
    unwanted = installed & NOT_INSTALLED.get(layer, set())
    if unwanted:
        raise CheckError(f"stargazer-{layer} brings {sorted(unwanted)}")
    print(f"stargazer-{layer}: {len(installed)} packages, of ours {', '.join(sorted(ours))}", flush=True)
    return interpreter


def needed_by_tests(layer: str) -> list[str]:
    """What the tests of a distribution need beside it, as the environment `package` of hatch.toml has it."""
    package = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]["package"]
    own = package["overrides"]["matrix"]["package"]["dependencies"]
    return [*package["dependencies"], *(item["value"] for item in own if layer in item["if"])]


def empty_home(folder: Path) -> dict[str, str]:
    """The environment of a user who has nothing but this folder, and no settings."""
    folder.mkdir()
    foreign = ("PYTHON", "STARGAZER_", "PINATA_", "FLYTE_", "UNION_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "HOME": str(folder)}


def try_out(layer: str, interpreter: Path, work: Path) -> None:
    """Import every name of the front page, and do what the script of `works/` does, as a user with an empty home."""
    folder = work / f"home-{layer}"
    environment = empty_home(folder)
    names = int(run(interpreter, "-c", FRONT_PAGE, f"stargazer.{layer}", cwd=folder, environment=environment))
    if layer != "mcp" and not names:  # whose front page is a command
        raise CheckError(f"stargazer.{layer} offers nothing")
    run(interpreter, ROOT / ".ci" / "works" / f"{layer}.py", cwd=folder, environment=environment)
    print(f"stargazer-{layer}: {names} names of the front page, and works/{layer}.py works", flush=True)


def serve(dist: Path, work: Path, python: str) -> None:
    """Start the server by `uvx` as a client does, from these wheels and in an empty home, and call a tool of it."""
    folder = work / "home-uvx"
    environment = {"UV_CACHE_DIR": run("uv", "cache", "dir").strip(), **empty_home(folder)}
    command = ("uvx", "--python", python, "--find-links", dist, "--from", "stargazer-mcp", "stargazer-mcp")
    told = run(
        *command,
        cwd=folder,
        environment=environment,
        given="".join(json.dumps({"jsonrpc": "2.0", **call}) + "\n" for call in CALLS),
    )
    answers = {answer.get("id"): answer.get("result") for answer in map(json.loads, told.splitlines())}
    if not (answers.get(1) and answers.get(2) and answers.get(3)) or answers[3].get("isError"):
        raise CheckError(f"{' '.join(map(str, command))} answers {told[:2000]}")
    listed = answers[3]["structuredContent"]["total"]
    print(f"stargazer-mcp: uvx serves {len(answers[2]['tools'])} tools, and lists {listed} tasks", flush=True)


def run_tests(layer: str, sdist: Path, interpreter: Path, work: Path) -> None:
    """Run the quick tests that the sdist carries against the installed wheel, and those that run nowhere else."""
    with tarfile.open(sdist) as archive:
        safely = (
            {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        )  # not in Debian 12's Python 3.11.2
        archive.extractall(work, **safely)
    unpacked = work / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked / "src")
    if not (unpacked / "conftest.py").exists():
        raise CheckError(f"{sdist.name} has no conftest.py: its tests would run in the user's own store")
    run("uv", "pip", "install", "--quiet", "--python", interpreter, *needed_by_tests(layer))
    settings = ["-c", ROOT / "pyproject.toml", "--rootdir", unpacked, "--disable-warnings"]
    pytest = [interpreter, "-m", "pytest", *settings, "-q", "-n", "2", "--dist", "worksteal"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*pytest, *QUICK, "tests"], cwd=unpacked, env=environment, check=False)
    if done.returncode != 0:
        raise CheckError(f"the tests of stargazer-{layer}: pytest ended with {done.returncode}")
    if layer in ALONE:
        file, needed = ALONE[layer]
        told = run(*pytest, file, cwd=unpacked, environment=environment)
        print(told, flush=True)
        if needed in told:
            raise CheckError(f"{file} was not run in full: {needed} is missing")


def main() -> int:
    """Check the distributions asked for, and return 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", nargs="*", metavar="LAYER", help=f"of {', '.join(LAYERS)}; default: all")
    parser.add_argument("--python", default=sys.executable, help="a version or an interpreter")
    parser.add_argument("--dist", type=Path, help="keep what was built in this folder")
    options = parser.parse_args()
    unknown = set(options.layers) - set(LAYERS)
    if unknown:
        parser.error(f"unknown layers {sorted(unknown)}: expected {', '.join(LAYERS)}")

    failures = []
    with tempfile.TemporaryDirectory(prefix="stargazer-wheels-") as folder:
        work = Path(folder)
        built = {layer: build(layer, work / "dist") for layer in LAYERS}
        wheels = {layer: wheel for layer, (_, wheel) in built.items()}
        if options.dist:
            shutil.copytree(work / "dist", options.dist, dirs_exist_ok=True)
        for layer in options.layers or LAYERS:
            try:
                check_contents(layer, wheels[layer])
                for each in built[layer]:
                    check_no_notebook(each)
                check_planted_notebooks(wheels[layer], work)
                interpreter = install(layer, wheels, work / f"venv-{layer}", options.python)
                try_out(layer, interpreter, work)
                if layer == "mcp":
                    serve(work / "dist", work, options.python)
                run_tests(layer, built[layer][0], interpreter, work)
            except CheckError as error:
                failures.append(layer)
                print(f"stargazer-{layer}: FAILED: {error}", flush=True)
    print(f"wheels: {len(options.layers or LAYERS) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
