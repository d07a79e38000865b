"""Notebooks as people see them: marimo on a free port, and a page of Chromium that remembers what went wrong."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = [
    "CHROMIUM",
    "SECONDS",
    "Opened",
    "Served",
    "drawn",
    "open_page",
    "run_all",
    "serve",
    "settled",
    "started",
]

SECONDS = 120.0
"""What anything on a page may take; nothing is decided by it."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HERE = {"127.0.0.1", "localhost", "::1"}
ERROR = "application/vnd.marimo+error"
STOPPED = {"ancestor-stopped"}  # by mo.stop, on purpose
SMALLEST = 60  # pixels a side; what is smaller is an icon
PLOTS = """smallest => {
  const found = [];
  const marked = plot => {
    if (plot.localName === "svg") return plot.querySelector("path, rect, circle, line, polyline, image, text");
    const pixels = plot.getContext("2d")?.getImageData(0, 0, plot.width, plot.height).data;
    if (!pixels) return true;
    const colours = new Uint32Array(pixels.buffer);
    return colours.some(colour => colour !== colours[0]);
  };
  const look = root => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) look(element.shadowRoot);
      const name = element.localName;
      if (!["img", "svg", "canvas"].includes(name)) continue;
      const { width, height } = element.getBoundingClientRect();
      if (name === "img") found.push({ name, width: element.naturalWidth, height: element.naturalHeight });
      else if (width >= smallest && height >= smallest)
        found.push({ name, width: marked(element) ? width : 0, height });
    }
  };
  look(document);
  return found;
}"""


@dataclass(frozen=True)
class Served:
    """A marimo that serves a notebook, or a folder of them."""

    url: str
    """Where it is, with the token that lets one in."""
    process: subprocess.Popen[bytes]
    log: Path

    def address(self) -> str:
        """The address that it prints, with the token that it made up."""
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"access_token=(\S+)", self.told())):
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.05)
        return f"{self.url}/?access_token={found[1]}"

    def told(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")


@dataclass
class Opened:
    """A page, and what went wrong on it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """Errors of the page, of its console and of cells, in the order they came; a cell's in run mode is an internal one,
    whose text is in `Served.told`."""
    outside: list[str] = field(default_factory=list)
    """Addresses of other machines that it asked for."""

    def assert_well(self) -> None:
        """No error on page or console, none in a cell, no request to the outside."""
        assert self.errors == []
        assert self.outside == []


@contextlib.contextmanager
def serve(
    notebook: Path,
    mode: Literal["edit", "run"],
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    config: str = "",
    options: Sequence[str] = (),
) -> Iterator[Served]:
    """A notebook opened with `marimo edit` or `marimo run`, as long as the block lasts; then its processes are killed.

    In edit mode a token is asked for, as users have it.

    Args:
        notebook: a notebook, or a folder of notebooks.
        mode: `edit` or `run`.
        home: the STARGAZER_HOME it works in, whose `local` is the store; default: that of the test.
        env: more variables.
        config: what the user's marimo.toml says.
        options: more words of marimo's command.
    """
    token = secrets.token_urlsafe(16)
    guard = ["--skip-update-check", "--token-password", token] if mode == "edit" else ["--no-token"]
    command = [sys.executable, "-m", "marimo", "--yes", mode, "--headless", "--no-sandbox", *guard, *options]
    here = notebook if notebook.is_dir() else notebook.parent
    with started([*command, str(notebook.resolve())], here, home=home, env=env, config=config) as served:
        yield replace(served, url=f"{served.url}/?access_token={token}") if mode == "edit" else served


@contextlib.contextmanager
def started(
    command: Sequence[str],
    folder: Path,
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    config: str = "",
) -> Iterator[Served]:
    """What a command serves that takes `--port`, started in a folder; see `serve`, which is for a known token."""
    pytest.importorskip("marimo", reason="no marimo: hatch run test has it")
    with tempfile.TemporaryDirectory(prefix="stargazer-marimo-", ignore_cleanup_errors=True) as own:
        log, port = Path(own, "log"), _free_port()
        variables = {**os.environ, "HOME": own, "XDG_CONFIG_HOME": f"{own}/config"}
        variables |= {"XDG_CACHE_HOME": f"{own}/cache", "XDG_STATE_HOME": f"{own}/state"}
        variables |= {"MPLCONFIGDIR": f"{own}/matplotlib", "PYTHONUNBUFFERED": "1"}
        if home is not None:
            variables |= {"STARGAZER_HOME": str(home), "STARGAZER_LOCAL": str(home / "local")}
        if config:
            Path(own, "config", "marimo").mkdir(parents=True)
            Path(own, "config", "marimo", "marimo.toml").write_text(config)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--port", str(port)],
                cwd=folder,
                env={**variables, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            base = f"http://127.0.0.1:{port}"
            _wait_until_healthy(base, process, log)
            yield Served(base, process, log)
        finally:
            _end(process)


@contextlib.contextmanager
def open_page(url: str, *, width: int = 1280, height: int = 900) -> Iterator[Opened]:
    """A page of Chromium at this address; what goes wrong on it is collected from its first request on.

    A second page of the same browser is `opened.page.context.new_page()`.
    """
    pytest.importorskip("playwright", reason="no Playwright: hatch run test has it")
    from playwright.sync_api import expect, sync_playwright

    with tempfile.TemporaryDirectory(prefix="stargazer-chromium-") as folder, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=_chromium(),
            headless=True,
            args=ARGUMENTS,
            viewport={"width": width, "height": height},
        )
        try:
            context.set_default_timeout(SECONDS * 1000)
            expect.set_options(timeout=SECONDS * 1000)
            opened = Opened(context.pages[0])
            context.on("console", lambda said: _hear(opened, said))
            context.on("weberror", lambda error: opened.errors.append(str(error.error)))
            context.on("request", lambda request: _follow(opened, request.url))
            for page in context.pages:
                _listen(opened, page)
            context.on("page", lambda page: _listen(opened, page))
            opened.page.goto(url, wait_until="domcontentloaded")
            yield opened
        finally:
            context.close()


def run_all(page: Page) -> None:
    """In edit mode: run every cell that was not run yet, by the button that says so, and wait for the end."""
    page.get_by_test_id("cell-editor").first.wait_for()
    settled(page)  # the kernel is there, and knows which cells were not run
    before = _kernels[page].ended
    page.get_by_test_id("run-button").last.click()
    _wait(page, lambda: _kernels[page].ended > before, SECONDS)
    settled(page)


def settled(page: Page, seconds: float = SECONDS) -> None:
    """Wait until the cells have run that are run when a page is opened, and none runs or waits for its turn."""
    kernel = _kernels[page]
    _wait(page, lambda: kernel.ended > 0, seconds)
    quiet = 0
    while quiet < 3:
        _wait(page, lambda: not kernel.busy, seconds)
        page.wait_for_timeout(100)
        quiet = 0 if kernel.busy else quiet + 1


def _wait(page: Page, happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"cells still run after {seconds:g} seconds"
        page.wait_for_timeout(50)


def drawn(page: Page, least: int = 1, *, seconds: float = SECONDS) -> list[dict[str, Any]]:
    """Wait until there are so many plots and each is drawn: a picture with pixels, or an svg or canvas of some size.

    Returns:
        Of each its element (`img`, `svg`, `canvas`), width and height.
    """
    deadline = time.monotonic() + seconds
    while True:
        found: list[dict[str, Any]] = page.evaluate(PLOTS, SMALLEST)
        if len(found) >= least and all(plot["width"] > 0 for plot in found):
            return found
        assert time.monotonic() < deadline, f"expected {least} plots, all drawn: {found}"
        page.wait_for_timeout(100)


@functools.cache
def _chromium() -> str:
    """The first Chromium on PATH that runs: Ubuntu has one that only says how to install it."""
    for found in filter(None, map(shutil.which, CHROMIUM)):
        if subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    pytest.skip("no browser that runs: none of " + ", ".join(CHROMIUM))


def _hear(opened: Opened, said: Any) -> None:
    if said.type == "error":
        opened.errors.append(f"{said.text} ({said.location.get('url', '')})")


@dataclass
class _Kernel:
    """What the kernel of a page has said.

    Attributes:
        ended: how often all that was to be run has been.
        busy: the cells that run or wait for their turn.
    """

    ended: int = 0
    busy: set[str] = field(default_factory=set)


_kernels: WeakKeyDictionary[Page, _Kernel] = WeakKeyDictionary()


def _listen(opened: Opened, page: Page) -> None:
    """Hear what the kernel says to a page: in run mode an error is shown for a moment only."""
    kernel = _kernels[page] = _Kernel()
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: _hear_kernel(opened, kernel, frame)),
    )


def _hear_kernel(opened: Opened, kernel: _Kernel, frame: str | bytes) -> None:
    message = json.loads(frame)
    data = message.get("data") or {}
    if message.get("op") == "completed-run":
        kernel.ended += 1
    elif message.get("op") == "cell-op":
        if status := data.get("status"):
            (kernel.busy.add if status in ("queued", "running") else kernel.busy.discard)(data["cell_id"])
        output = data.get("output") or {}
        if output.get("mimetype") == ERROR:
            told = [error for error in output["data"] if error.get("type") not in STOPPED]
            opened.errors += [f"cell: {error.get('type')}: {error.get('msg')}" for error in told]


def _follow(opened: Opened, url: str) -> None:
    address = urlsplit(url)
    if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in HERE:
        opened.outside.append(re.sub(r"\?.*", "", url))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_healthy(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/health", timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError(f"marimo does not answer: {log.read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it as a terminal does, then whatever of its group is left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
