"""Notebooks that are served: tokens, ports, the index, and sessions that are nobody else's."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from stargazer.assets import ConfigurationError
from stargazer.mcp.cli import main

from .command import COMMAND, mounted
from .notebook_browser import Served, open_page, settled, started

pytest.importorskip("marimo", reason="no marimo: hatch run test has it")

from stargazer.mcp.listener import bound
from stargazer.mcp.notebook_index import index_page, list_notebooks
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

ROOT = (Path(__file__) / "../../../..").resolve()
SOURCE = ROOT / "notebooks"
pytestmark = pytest.mark.skipif(not SOURCE.exists(), reason="the notebooks are in no distribution")

TOKEN = "a-token-that-is-long-enough"
VARIABLE = {"STARGAZER_NOTEBOOK_TOKEN": TOKEN}
SECRET = "my-sample-of-patient-4711"
NOTEBOOK = '''"""Keeps what is typed.

More of it.
"""

import marimo

app = marimo.App(app_title="Typed <b>words</b>")


@app.cell
def _():
    import marimo as mo

    word = mo.ui.text(label="Word")
    word
    return mo, word


@app.cell
def _(mo, word):
    print(word.value)
    mo.vstack([mo.md(f"said {word.value}"), mo.download(word.value.encode(), "word.txt")])
    return
'''
SLEEP = """

@app.cell
def _():
    import time

    time.sleep(600)
    return
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of copies, with notebooks of one's own."""
    found = tmp_path / "mine"
    shutil.copytree(SOURCE, found, ignore=shutil.ignore_patterns("__marimo__", "__pycache__"))
    (found / "words.py").write_text(NOTEBOOK)
    return found


@contextlib.contextmanager
def notebook(folder: Path, *words: str, **env: str) -> Iterator[Served]:
    """The command, which serves the folder."""
    command = [*COMMAND, "notebook", *words, "--no-browser", "--folder", str(folder)]
    with started(command, folder.parent, home=folder.parent / "home", env=env) as served:
        yield served


def visitor(url: str) -> httpx.Client:
    """Somebody who has come by the address with the token."""
    client = httpx.Client(base_url=url, follow_redirects=True, timeout=60)
    answer = client.get("/", params={"access_token": TOKEN})
    assert answer.status_code == 200
    assert str(answer.url) == f"{url}/"
    return client


def test_an_app_asks_for_its_token_lists_notebooks_and_serves_no_other_file(folder: Path) -> None:
    (folder / "broken.py").write_text("import marimo\napp = marimo.App(\n")
    (folder / "zwölf & ?#%.py").write_text(NOTEBOOK)
    (folder / "v1.2.py").write_text(NOTEBOOK)
    (folder / "script.py").write_text("secret = 1")
    (folder.parent / "outside.py").write_text(NOTEBOOK)
    (folder / "linked.py").symlink_to(folder.parent / "outside.py")
    (folder / "words").mkdir()
    (folder / "words" / "hidden.py").write_text(NOTEBOOK)
    (folder / "public").mkdir()
    (folder / "public" / "secret.csv").write_text(SECRET)

    with notebook(folder, "--app", **VARIABLE) as served:
        assert httpx.get(f"{served.url}/health").json() == {"status": "healthy"}
        for path in (
            "/",
            "/?access_token=wrong",
            "/notebooks/results/",
            "/notebooks/results/api/version",
            "/x",
        ):
            refused = httpx.get(served.url + path)
            assert refused.status_code == 401, path
            assert "results" not in refused.text
            assert not refused.cookies
        for header in (f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}"):
            assert httpx.get(served.url, headers={"Authorization": header}).status_code == 401
        assert httpx.get(served.url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert httpx.post(served.url, data={"access_token": "wrong" * 4}).status_code == 401
        form = httpx.post(f"{served.url}/notebooks/words/?a=b", data={"access_token": TOKEN})
        assert (form.status_code, form.headers["location"]) == (303, "/notebooks/words/?a=b")
        cookie = form.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax"} <= set(cookie.split("; "))
        assert TOKEN not in cookie
        away = httpx.get(f"{served.url}//evil.example/?access_token={TOKEN}")
        assert away.headers["location"] == "/evil.example/"

        client = visitor(served.url)
        index = client.get("/").text
        assert "Typed &lt;b&gt;words&lt;/b&gt;" in index
        assert "Keeps what is typed." in index
        assert "More of it" not in index
        assert "Not served: line 2:" in index
        assert "Not served: a name with a dot" in index
        assert not {"script.py", "linked.py"} & set(re.findall(r"<code>(.*?)</code>", index))
        links = re.findall(r'<a href="(.*?)"', index)
        assert links[0] == "/notebooks/assets_and_storage/"
        assert "/notebooks/zw%C3%B6lf%20%26%20%3F%23%25/" in links
        for link in links:
            assert client.get(link).status_code == 200, link
        for path in ("script/", "linked/", "broken/", "v1.2/", "words.py", ".stargazer-gallery.json", "no/",
                     "../outside/", "..%2foutside/", "%2e%2e/outside/", "words/../../outside/",
                     "words/hidden", "words/hidden/", "words//hidden", "words/./hidden//", "words/hidden/ws",
                     "words/hidden.x/", "words/hidden.x/ws", "words/public/secret.csv", "words//public/secret.csv",
                     "words/./public/secret.csv", "words/sse", "words//sse", "words/sse%0A", f"{'a' * 300}/",
                     f"{folder}/words/hidden/"):  # fmt: skip
            asked = client.get(f"/notebooks/{path}", headers={"X-Notebook-Id": str(folder / "words.py")})
            assert asked.status_code == 404, path
        assert client.get("/notebooks/words/").headers["content-security-policy"] == "frame-ancestors 'self'"

        other = {"Origin": "http://evil.example"}
        assert client.get("/", headers=other).status_code == 403
        assert client.get("/", headers={"Origin": "http://["}).status_code == 403
        changed = client.post(
            "/notebooks/words/api/kernel/save", json={"cellIds": [], "codes": [], "names": [], "configs": []}
        )
        assert changed.status_code in (401, 403)
        assert client.get("/notebooks/words/api/status").status_code in (401, 403)
        client.close()
        assert TOKEN not in served.told()
        assert TOKEN not in Path(f"/proc/{served.process.pid}/environ").read_text().replace("\0", "\n")
    assert (folder / "words.py").read_text() == NOTEBOOK


def socket_of(client: httpx.Client, notebook: str, session: str, **headers: str) -> ClientConnection:
    """The socket of a page, which its browser opens once it has the page."""
    assert client.get(f"/notebooks/{notebook}/").status_code == 200
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    url = str(client.base_url).replace("http", "ws", 1).rstrip("/")
    address = f"{url}/notebooks/{notebook}/ws?session_id={session}"
    return connect(address, additional_headers={"Cookie": cookie, **headers}, max_size=None)


def said(client: httpx.Client, notebook: str, session: str, **headers: str) -> str | None:
    """What marimo says to a page until its cells have run; None if the socket is refused."""
    messages: list[str] = []
    try:
        with socket_of(client, notebook, session, **headers) as socket:
            while not messages or json.loads(messages[-1])["op"] != "completed-run":
                messages.append(str(socket.recv(timeout=60)))
    except InvalidStatus:
        return None
    return "\n".join(messages)


@pytest.mark.long
@pytest.mark.browser
def test_what_one_visitor_types_no_other_can_have(folder: Path) -> None:
    with notebook(folder, "--app", "--token-file", str(token_file(folder.parent))) as served:
        sessions: list[str] = []
        files: list[str] = []
        with open_page(f"{served.url}/?access_token={TOKEN}") as opened:
            page = opened.page
            page.on("websocket", lambda each: sessions.extend(re.findall(r"session_id=(\w+)", each.url)))
            page.on("request", lambda each: files.extend([each.url] if "/@file/" in each.url else []))
            page.get_by_text("Typed <b>words</b>").click()
            settled(page)
            page.get_by_label("Word").fill(SECRET)
            page.get_by_label("Word").press("Enter")
            page.get_by_text(f"said {SECRET}").wait_for()
            with page.expect_download() as download:
                page.get_by_text("Download", exact=False).first.click()
            assert download.value.path().read_text() == SECRET
            assert TOKEN not in page.url
            opened.assert_well()

            session = sessions[-1]
            files.append(download.value.url)
            assert "/@file/" in files[-1], files
            other = visitor(served.url)
            assert other.cookies != {each["name"]: each.get("value") for each in page.context.cookies()}
            assert SECRET not in other.get("/notebooks/words/").text
            assert SECRET not in (said(other, "words", "s_other1") or SECRET)

            assert said(other, "words", session) is None
            call = {"Marimo-Session-Id": session}
            value = {"objectIds": ["x"], "values": ["y"]}
            for path, body in (("kernel/set_ui_element_value", value), ("kernel/read_code", {}),
                               ("kernel/function_call", {}), ("export/html", {})):  # fmt: skip
                answer = other.post(f"/notebooks/words/api/{path}", json=body, headers=call)
                assert answer.status_code == 403, path
                assert SECRET not in answer.text
            for file in files:
                assert other.get(file).status_code == 403, file
            assert said(other, "words", "s_other2", Origin="http://evil.example") is None

            page.context.clear_cookies()
            page.goto(f"{served.url}/notebooks/words/")
            page.get_by_label("Token").fill(TOKEN)
            page.get_by_role("button", name="Open").click()
            settled(page)
            page.get_by_label("Word").fill("still here")
            page.get_by_label("Word").press("Enter")
            page.get_by_text("said still here").wait_for()
            other.close()
        assert TOKEN not in served.told()
        assert session not in served.told()


def token_file(folder: Path) -> Path:
    """A file with the token."""
    path = folder / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_with_its_sessions(folder: Path, number: signal.Signals) -> None:
    (folder / "results.py").write_text(NOTEBOOK + SLEEP)
    with notebook(folder, "--app", "results", **VARIABLE) as served:
        client = visitor(served.url)
        assert "Germline" not in client.get("/").text
        assert client.get("/notebooks/germline/").status_code == 404
        with socket_of(client, "results", "s_abcdef") as socket:
            socket.recv(timeout=60)
            os.kill(served.process.pid, number)
            assert served.process.wait(20) in (128 + number, -number)
        assert "Traceback" not in served.told()


def test_a_token_is_given_by_the_environment_and_marimo_asks_for_it(folder: Path) -> None:
    with notebook(folder, **VARIABLE) as served:
        for query in ("", "?access_token=wrong"):
            refused = httpx.get(f"{served.url}/{query}")
            assert refused.status_code in (302, 303, 307, 401)
            assert "login" in refused.headers.get("location", "login")
        assert (
            httpx.get(f"{served.url}/api/status", headers={"Authorization": "Bearer wrong"}).status_code
            == 401
        )
        right = httpx.get(f"{served.url}/api/status", headers={"Authorization": f"Bearer {TOKEN}"})
        assert right.json()["mode"] == "edit"
        listed = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True).stdout
        assert f"edit {folder}" in listed
        assert TOKEN not in listed
        assert TOKEN not in Path(f"/proc/{served.process.pid}/environ").read_text().replace("\0", "\n")
        assert TOKEN not in served.told()
        assert "it asks for the token that you gave" in served.told()
        served.process.terminate()
        served.process.wait(20)


@pytest.mark.long
def test_without_a_token_each_start_makes_one_up(folder: Path) -> None:
    with notebook(folder, "--app") as served:
        address = re.search(r"http://\S+access_token=(\S+)", served.told())
        assert address
        assert len(address[1]) >= 16
        assert httpx.get(address[0], follow_redirects=False).status_code == 303


def test_a_port_that_is_taken_is_left_for_a_free_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = importlib.import_module("stargazer.mcp.cli.notebook")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(verb, "PORT", port)
        with verb._listener(Namespace(host=None, port=None)) as other:
            free = other.getsockname()[1]
            assert other.getsockname()[0] == "127.0.0.1"
    assert capsys.readouterr().err == f"port {port} is taken; listening at port {free} instead\n"


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "203.0.113.7", "a..b", "x" * 300, "127.0.0.1 ", "1.2.3"]
)
def test_a_host_that_is_not_of_this_machine_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot listen at {re.escape(host)}, port 0: "):
        bound(host, 0)


def test_tokens_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["notebook", "--folder", str(tmp_path / "mine"), "--no-browser", "--app"]
    missing = tmp_path / "nothing"
    assert main([*words, "--token-file", str(missing)]) == 1
    assert str(missing) in capsys.readouterr().err
    for text in ("", "\n", "short", "with a space in it, too", "ümlaut-ümlaut-ümlaut"):
        file = tmp_path / "token"
        file.write_text(text)
        assert main([*words, "--token-file", str(file)]) == 1
        told = capsys.readouterr().err
        assert "openssl rand -hex 24" in told
        assert not text.strip() or text not in told
    monkeypatch.setenv("STARGAZER_NOTEBOOK_TOKEN", "short")
    assert main(words) == 1
    assert "STARGAZER_NOTEBOOK_TOKEN: a token has 16" in capsys.readouterr().err
    monkeypatch.setenv("STARGAZER_NOTEBOOK_TOKEN", TOKEN)
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--token-file", str(token_file(tmp_path))])
    assert not (tmp_path / "mine").exists()


def test_two_visitors_have_sessions_of_their_own_at_one_time(folder: Path) -> None:
    with notebook(folder, "--app", **VARIABLE) as served:
        first, second = visitor(served.url), visitor(served.url)
        assert said(first, "words", "s_first1") is not None
        assert said(second, "words", "s_second") is not None
        assert said(second, "words", "s_first1") is None
        with socket_of(first, "words", "s_first1") as again:
            assert json.loads(again.recv(timeout=60))["op"] == "reconnected"
        first.close()
        second.close()


@pytest.mark.long
def test_a_read_only_folder_is_served(folder: Path) -> None:
    prefix = mounted('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"', folder)
    command = [*prefix, *COMMAND, "notebook", "--app", "--no-browser", "--folder", str(folder)]
    with started(command, folder.parent, home=folder.parent / "home", env=VARIABLE) as served:
        assert "words" in visitor(served.url).get("/").text


def test_the_index_of_many_odd_files_runs_none(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"n{number}.py").write_text(NOTEBOOK + "raise SystemExit('was run')\n")
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text(NOTEBOOK)
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "zero.py").write_bytes(b"marimo.App(\0)")
    (tmp_path / "deep.py").write_text("marimo.App(" + "(" * 500)
    (tmp_path / "_helper.py").write_text(NOTEBOOK)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "nowhere.py").symlink_to(tmp_path / "gone.py")
    (tmp_path / "circle.py").symlink_to(tmp_path / "circle.py")
    begun = time.monotonic()
    listed = list_notebooks(tmp_path)
    index = index_page(listed)
    print(f"index of {len(listed)} notebooks: {time.monotonic() - begun:.2f} s")  # not what decides
    problems = {each.title for each in listed if each.problem}
    assert problems == {"zero", "deep", "Typed <b>words</b>"}
    assert len(listed) == 303
    assert "_helper" not in index
    assert not list_notebooks(tmp_path / "nothing")
    assert "There is no notebook" in index_page([])


FLYTE = "from stargazer.workflows.notebook import marimo_env\n"


@pytest.mark.long
@pytest.mark.timeout(180)
def test_flyte_serves_marimo_env_which_asks_for_the_token(folder: Path) -> None:
    import psutil  # marimo needs it
    from stargazer.workflows.notebook import marimo_env

    port = marimo_env.get_port().port
    try:
        bound("0.0.0.0", port).close()
    except ConfigurationError as error:
        pytest.skip(f"marimo_env is not tried: {error}")
    (folder.parent / "apps.py").write_text(FLYTE)
    scripts = Path(sys.executable).parent
    home = folder.parent / "home"
    process = subprocess.Popen(
        [scripts / "flyte", "serve", "--local", "apps.py", "marimo_env"], cwd=folder.parent,
        env={**os.environ, **VARIABLE, "PATH": f"{scripts}:{os.environ['PATH']}", "STARGAZER_HOME": str(home),
             "STARGAZER_LOCAL": str(home / "local"), "STARGAZER_NOTEBOOKS": str(SOURCE), "DO_NOT_TRACK": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            time.sleep(0.2)
        assert httpx.get(f"{url}/api/status").status_code == 401
        assert httpx.get(f"{url}/api/status", headers={"Authorization": "Bearer wrong"}).status_code == 401
        right = httpx.get(f"{url}/api/status", headers={"Authorization": f"Bearer {TOKEN}"})
        assert right.json()["mode"] == "edit"
        assert (folder.parent / "stargazer-notebooks" / "germline.py").exists()
    finally:
        apps = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        for app in apps:  # Flyte leaves them where it is told to end while it still looks for the app
            with contextlib.suppress(psutil.NoSuchProcess):
                app.terminate()
        told = process.communicate(timeout=60)[0].decode()
    assert TOKEN not in told


def test_marimo_env_is_made_of_wheels_in_the_versions_that_are_installed() -> None:
    from importlib import metadata

    from stargazer.workflows.notebook import marimo_env

    assert marimo_env.requires_auth
    assert marimo_env.get_port().port == 8080
    (layer,) = marimo_env.image._layers
    assert layer.packages == tuple(
        f"{name}[notebook]=={metadata.version(name)}" for name in ("stargazer-workflows", "stargazer-mcp")
    )
    assert [secret.as_env_var for secret in marimo_env.secrets] == ["STARGAZER_NOTEBOOK_TOKEN"]


def test_a_file_of_another_visitor_is_theirs_whichever_length_is_asked_for() -> None:
    from stargazer.mcp.notebook_guard import Guard, Tickets
    from starlette.requests import HTTPConnection

    async def app(*_: object) -> None:
        raise AssertionError

    guard = Guard(app, tickets=Tickets(TOKEN), port=1)

    def may(path: str, visitor: str) -> bool:
        scope = {"type": "http", "path": f"/notebooks/x/@file/{path}", "headers": [], "query_string": b""}
        return guard._may_use(HTTPConnection(scope), visitor)

    assert may("12-abc.csv", "first")
    assert not any(may(path, "second") for path in ("12-abc.csv", "13-abc.csv", "012-abc.csv", "12-abc.csv/"))
    assert may("12-other.csv", "second")


def test_a_visitor_with_many_files_leaves_the_sessions_of_others_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stargazer.mcp import notebook_guard
    from starlette.requests import HTTPConnection

    async def app(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(notebook_guard, "MOST", 3)
    guard = notebook_guard.Guard(app, tickets=notebook_guard.Tickets(TOKEN), port=1)

    def may(session: str, visitor: str) -> bool:
        headers = [(b"marimo-session-id", session.encode())]
        scope = {"type": "http", "path": "/", "headers": headers, "query_string": b""}
        return guard._may_use(HTTPConnection(scope), visitor)

    assert may("s_mine", "first")
    assert all(may(f"s_{number}", "second") for number in range(9))
    assert not may("s_mine", "second")
    assert not may("s_8", "first")
    assert not may("s" * 201, "first")
    assert len(guard._owners) == 4
    assert all(may("s_of_many", f"visitor {number}") == (number == 0) for number in range(9))
    assert len(guard._names) == 3


def test_what_the_browser_is_started_with_lets_it_in_once() -> None:
    from stargazer.mcp.notebook_guard import Tickets

    tickets = Tickets(TOKEN)
    assert not tickets.is_good("", is_address=True)
    first, second = tickets.make_once(), tickets.make_once()
    assert not tickets.is_good(first, is_address=True)
    assert not tickets.is_good(second)
    assert tickets.is_good(second, is_address=True)
    assert not tickets.is_good(second, is_address=True)
    assert tickets.is_good(TOKEN)
