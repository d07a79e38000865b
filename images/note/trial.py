"""How the note image is tried from outside: by podman and a browser, without a network, on volumes that last."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from checks import SmokeError, run_checks
from container import CONFINED, FOLDER, ImageError, run

PROGRAMS = ()
"""What it needs beside buildah and podman; the browser is looked for where tests look for it."""
HERE = Path(__file__).resolve().parent
TESTS = FOLDER.parent / "packages" / "stargazer-mcp" / "tests"
PICTURE = "STARGAZER_PICTURE"
PYTHON = "/opt/stargazer/bin/python"
TMPFS = "rw,U,notmpcopyup"
SECONDS = 300.0
"""What anything may take; nothing is decided by it."""
BUILD, SAMPLE = "stargazer-demo", "demo-father"


def try_image(tag: str) -> str:
    """Raise if the image is not what it should be; what there is to say of it."""
    with tempfile.TemporaryDirectory(prefix="stargazer-note-") as folder:
        trial = Trial(tag, Path(folder))
        try:
            failed = run_checks(trial.checks())
        finally:
            trial.clean()
    if failed:
        raise ImageError("a check failed")
    return f"without a network it answers {trial.started:.1f} s after `podman run`, and all checks pass"


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def status(url: str, token: str = "") -> int:
    """The status of an answer, with cookies; 401 for the form that asks for a token; 0 where nothing answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with browser.open(request, timeout=10) as answer:
            return 401 if "/auth/login" in answer.url else int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def wait_for(happened: Callable[[], object], what: str) -> None:
    """Wait for something; raise if it does not happen."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise SmokeError(f"{what}: not within {SECONDS:g} s")
        time.sleep(0.1)


def expect(wanted: str, text: str) -> None:
    """Raise if a text does not match."""
    if not re.search(wanted, text):
        raise SmokeError(f"expected {wanted!r} in:\n{text}")


def shown(started: Container, id: str) -> dict[str, Any]:
    """The record of a run."""
    record: dict[str, Any] = json.loads(started.run("stargazer", "runs", "show", id, "--json"))
    return record


class Container:
    """A container that runs, and the address at which it is reached."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url

    def told(self) -> str:
        """What it has printed."""
        done = subprocess.run(["podman", "logs", self.name], text=True, capture_output=True, check=False)
        return done.stdout + done.stderr

    def run(self, *command: str) -> str:
        """Run a command in it, and return what it prints."""
        return run("podman", "exec", self.name, *command)


class Trial:
    """Everything that is tried of an image, with the volume that most of it works on."""

    def __init__(self, tag: str, folder: Path) -> None:
        self.tag, self.folder = tag, folder
        self.name = f"stargazer-note-{secrets.token_hex(4)}"
        self.token = secrets.token_hex(16)
        self.started = 0.0

    def checks(self) -> dict[str, Callable[[], None]]:
        """All of them, in an order in which each finds what those before it left on the volume."""
        return {
            "an end user's image: not root, no tools of a developer, no secret": self.plain_user,
            "the documented line: an address with a token, at a port of this machine": self.documented_line,
            "without a network: health, the token accepted, no token and a wrong one refused": self.first_start,
            "a browser simulates a family and calls it in germline": self.germline,
            "killed in the middle of a run of GATK; resumed by the next container": self.killed_run,
            "single cells": self.cells,
            "apps by `app`, and by `marimo run --include-code`": self.apps,
            "an edited notebook survives a restart and an update of the image": self.update,
            "a user that the image does not know": self.other_user,
            "a volume that is full or read-only is said in words": self.refused_volumes,
        }

    def clean(self) -> None:
        """Remove what was made."""
        for command in (["rm", "--force", self.name], ["volume", "rm", "--force", self.name]):
            subprocess.run(["podman", *command], capture_output=True, check=False)

    @contextlib.contextmanager
    def container(self, *options: str, words: tuple[str, ...] = ()) -> Iterator[Container]:
        """The image without a network, on the volume, with the token of this trial; reached through relays."""
        began = time.monotonic()
        shared = self.folder / "shared"
        shared.mkdir(exist_ok=True)
        shared.chmod(0o777)
        shutil.copy(HERE / "relay.py", shared)
        os.environ["STARGAZER_NOTEBOOK_TOKEN"] = self.token
        mounts = ("--volume", f"{self.name}:/data", "--volume", f"{shared}:/shared")
        run(
            *("podman", "run", "--detach", "--no-healthcheck", "--name", self.name, *CONFINED, *mounts),
            *("--env", "STARGAZER_NOTEBOOK_TOKEN", *options, self.tag, *words),
        )
        outside = None
        try:
            relay = ("python", "/shared/relay.py", "/shared/socket", "8080")
            run("podman", "exec", "--detach", self.name, *relay)
            port = str(free_port())
            outside = subprocess.Popen([sys.executable, HERE / "relay.py", port, shared / "socket"])
            found = Container(self.name, f"http://127.0.0.1:{port}")
            wait_for(lambda: status(f"{found.url}/health") == 200, "the image answers")
            self.started = self.started or time.monotonic() - began
            yield found
        except Exception as error:
            raise SmokeError(f"{error}\n{Container(self.name, '').told()[-3000:]}") from error
        finally:
            if outside is not None:
                outside.terminate()
                outside.wait()
            run("podman", "rm", "--force", "--time", "10", self.name)

    def plain_user(self) -> None:
        """The check that all images have, inside."""
        mounted = ("--volume", f"{FOLDER / 'checks.py'}:/checks.py:ro", "--entrypoint", PYTHON)
        script = "import sys; sys.path.insert(0, '/'); import checks; checks.plain_user()"
        run("podman", "run", "--rm", *CONFINED, *mounted, self.tag, "-c", script)
        run("podman", "run", "--rm", *CONFINED, self.tag, "bash", status=2)

    def documented_line(self) -> None:
        """`docker run -p PORT:8080 IMAGE` and no more: it answers there, its token opens it, it ends when told to."""
        port = free_port()
        line = ("podman", "run", "--detach", "--no-healthcheck", "--name", self.name, "-p", f"{port}:8080")
        run(*line, "--pull", "never", self.tag)
        try:
            started, url = Container(self.name, ""), f"http://127.0.0.1:{port}"
            wait_for(lambda: status(f"{url}/health") == 200, "the port of the documented line answers")
            wait_for(lambda: "access_token=" in started.told(), "an address with a token")
            found = re.search(r"http://0\.0\.0\.0:8080/?\?access_token=(\S+)", started.told())
            if found is None:
                raise SmokeError(f"no address in: {started.told()}")
            answers = [
                status(url),
                status(f"{url}/?access_token=x"),
                status(f"{url}/?access_token={found[1]}"),
            ]
            if answers != [401, 401, 200]:
                raise SmokeError(f"without a token, with another one and with its own it answered {answers}")
            run("podman", "stop", "--time", "30", self.name)
            (state,) = json.loads(run("podman", "inspect", self.name))
            if state["State"]["ExitCode"] == 137:
                raise SmokeError("it did not end by itself when it was stopped")
        finally:
            run("podman", "rm", "--force", "--volumes", self.name)

    def first_start(self) -> None:
        """An empty volume gets the gallery; health is open and nothing else; the token that was given is not shown."""
        with self.container() as started:
            started.run("note", "health")
            if not {"germline.py", "scrna.py"} <= set(started.run("ls", "/data/notebooks").split()):
                raise SmokeError("no gallery on the volume")
            url = started.url
            answers = [status(url), status(url, "x" * 16), status(url, self.token)]
            if answers != [401, 401, 200]:
                raise SmokeError(f"without a token, with another one and with its own it answered {answers}")
            if self.token in started.told() + started.run("cat", "/proc/1/cmdline"):
                raise SmokeError("the token is in the log or the list of processes")

    def germline(self) -> None:
        """The notebook in Chromium: its buttons simulate and call, and what came of it is drawn."""
        sys.path.insert(0, str(TESTS))
        try:
            from notebook_browser import drawn, open_page, settled
        finally:
            sys.path.remove(str(TESTS))
        with self.container() as started:
            address = f"{started.url}/?file=germline.py&access_token={self.token}"
            with open_page(address) as opened:
                page = opened.page
                settled(page)
                page.get_by_role("button", name="Simulate the demo's trio").click()
                page.get_by_role("button", name="Call variants").click()
                page.get_by_text(re.compile(r"Run \S+ succeeded in")).wait_for()
                page.get_by_text(re.compile(r"^[1-9][\d,]* of [\d,]+ calls fit")).first.wait_for()
                settled(page)
                drawn(page, 6)
                if os.environ.get(PICTURE):
                    page.get_by_role("heading", name="In figures").scroll_into_view_if_needed()
                    page.screenshot(path=os.environ[PICTURE])
                opened.assert_well()

    def killed_run(self) -> None:
        """What a run had finished when its container was killed is remembered; the next container goes on with it."""
        asked = (f"samples={SAMPLE}", f"build={BUILD}", "caller=gatk")
        words = ("stargazer", "run", "germline_short_variant_discovery", *asked)
        with self.container() as started:
            id = str(json.loads(started.run(*words, "--detach", "--json"))["run"])
            wait_for(lambda: shown(started, id)["computed"] > 0, "a first task ends")
            run("podman", "kill", "--signal", "KILL", self.name)
        with self.container() as started:
            lost = shown(started, id)
            if lost["state"] != "lost":
                raise SmokeError(f"a run whose container was killed is called {lost['state']}")
            started.run("stargazer", "runs", "resume", id)
            done = shown(started, id)
            if done["state"] != "succeeded" or done["memo_hits"] < lost["memo_hits"] + lost["computed"]:
                raise SmokeError(f"before: {lost}\nresumed: {done}")
            expect("haplotype_caller", started.run("stargazer", "why", done["results"]["variants"]["cid"]))

    def cells(self) -> None:
        """The demo of single cells finds the types that were simulated."""
        with self.container() as started:
            started.run("stargazer", "demo", "scrna", "--outdir", "/data/demo-scrna")

    def apps(self) -> None:
        """Both ways to serve notebooks to people who do not change them ask for the token, and list or show them."""
        alone = ("marimo", "run", "/data/notebooks/results.py", "--include-code", "--headless")
        listening = ("--host", "0.0.0.0", "--port", "8080", "--token-password-file", "/shared/token")
        token = self.folder / "shared" / "token"
        for words in (("app",), (*alone, *listening)):
            token.write_text(self.token)
            with self.container(words=words) as started:
                answers = [status(started.url), status(f"{started.url}/?access_token={self.token}")]
                if answers != [401, 200]:
                    raise SmokeError(f"{words[0]}: without a token and with it, it answered {answers}")

    def update(self) -> None:
        """A newer image brings its notebooks; those that were edited stay, and it says so."""
        newer = self.folder / "newer"
        shutil.copytree(FOLDER.parent / "notebooks", newer, ignore=shutil.ignore_patterns("__*__"))
        for name in ("tasks.py", "results.py"):
            (newer / name).write_text((newer / name).read_text() + "# newer\n")
        newer.chmod(0o755)
        with self.container() as started:
            started.run("sh", "-c", "echo '# mine' >> /data/notebooks/tasks.py")
        with self.container() as started:
            expect("# mine", started.run("tail", "-1", "/data/notebooks/tasks.py"))
        update = ("--volume", f"{newer}:/newer:ro", "--env", "STARGAZER_NOTEBOOKS=/newer")
        with self.container(*update) as started:
            expect("# mine", started.run("tail", "-1", "/data/notebooks/tasks.py"))
            expect("# newer", started.run("tail", "-1", "/data/notebooks/results.py"))
            expect("tasks.py stays as you edited it", started.told())

    def other_user(self) -> None:
        """As docker has it: a number that is in no list of users, in the group 0, on a volume of its own."""
        volume = f"{self.name}-other"
        options = ("--rm", "--passwd=false", "--user", "12345:0", "--volume", f"{volume}:/data")
        try:
            said = run(
                "podman", "run", *CONFINED, *options, self.tag, "stargazer", "demo", "--outdir", "/data/demo"
            )
            expect(r"\S", said)
        finally:
            run("podman", "volume", "rm", "--force", volume)

    def refused_volumes(self) -> None:
        """The image ends with a sentence that names the folder and the reason."""
        empty = self.folder / "empty"
        empty.mkdir()
        empty.chmod(0o755)
        no_room, read_only = "No space left on device", "Read-only file system"
        for volume, words, said in (
            (("--tmpfs", f"/data:{TMPFS},size=64k"), (), f"cannot be copied to '/data/notebooks': {no_room}"),
            (("--tmpfs", f"/data:{TMPFS},size=2m"), ("stargazer", "demo"), f"{no_room}|disk is full"),
            (("--volume", f"{empty}:/data:ro"), (), f"cannot be copied to '/data/notebooks': {read_only}"),
        ):
            command = ("podman", "run", "--rm", "--no-healthcheck", *CONFINED, *volume, self.tag, *words)
            done = subprocess.run(command, text=True, capture_output=True, check=False)
            expect(said, done.stderr)
            if done.returncode != 1 or "Traceback" in done.stderr:
                raise SmokeError(f"{done.returncode}: {done.stderr}")
