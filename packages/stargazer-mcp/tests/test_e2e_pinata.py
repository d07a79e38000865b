"""The `stargazer` command of two machines with one account at Pinata, which is down, slow or hostile at times."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .command import GERMLINE, simulate

EMULATOR = Path(__file__).parents[2] / "stargazer-storage" / "tests"
pytestmark = pytest.mark.skipif(
    not (EMULATOR / "pinata_emulator.py").exists(),
    reason="NOT TESTED: no Pinata emulator (stargazer-storage/tests of the repository) beside these tests",
)
FASTA = ">chr1\n" + "ACGTTGCAAC" * 30 + "\n"


def emulator() -> ModuleType:
    """The emulator's module, which lies in another distribution's tests."""
    sys.path.insert(0, str(EMULATOR))
    try:
        import pinata_emulator
    finally:
        sys.path.remove(str(EMULATOR))
    return pinata_emulator


@pytest.fixture
def pinata(tmp_path: Path) -> Iterator[Any]:
    with emulator().PinataProcess(tmp_path / "account") as process:
        yield process


class Machine:
    """A home, and the command that works in it; whatever is printed must not show the account's key."""

    def __init__(self, folder: Path, pinata: Any, **settings: str):
        self.folder = folder
        folder.mkdir()
        self.secret = pinata.jwt
        self.env = {
            **{name: value for name, value in os.environ.items() if name != "STARGAZER_MODE"},
            "STARGAZER_HOME": str(folder / "home"),
            "STARGAZER_LOCAL": str(folder / "home" / "local"),
            "PINATA_JWT": pinata.jwt,
            "PINATA_API": pinata.api,
            "PINATA_UPLOADS": pinata.uploads,
            "PINATA_GATEWAY": pinata.gateway,
            **settings,
        }

    def start(self, *words: object, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stargazer.mcp.cli", *map(str, words)],
            env={**self.env, **env},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], status: int = 0) -> tuple[str, str]:
        out, error = process.communicate(timeout=180)
        assert self.secret not in out + error
        assert "X-Signature" not in out + error
        assert "Traceback" not in error
        assert "unexpected" not in error
        assert process.returncode == status, error
        return out, error

    def run(self, *words: object, status: int = 0, **env: str) -> tuple[str, str]:
        return self.end(self.start(*words, **env), status)

    def json(self, *words: object, **env: str) -> Any:
        return json.loads(self.run(*words, "--json", **env)[0])

    def add(self, *words: object, name: str = "GRCh38.fa", content: str = FASTA) -> Any:
        (self.folder / name).write_text(content)
        (record,) = self.json("add", name, *words)
        return record

    def assert_no_secret(self) -> None:
        """Nothing on the disk of this machine holds the key."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                assert self.secret.encode() not in path.read_bytes(), path


@pytest.fixture
def here(tmp_path: Path, pinata: Any) -> Machine:
    return Machine(tmp_path / "here", pinata)


@pytest.fixture
def there(tmp_path: Path, pinata: Any) -> Machine:
    return Machine(tmp_path / "there", pinata)


def networks(pinata: Any) -> list[tuple[str, str]]:
    return sorted((file["keyvalues"]["asset"], file["network"]) for file in pinata.files)


def test_what_one_machine_adds_another_finds_copies_explains_and_takes_back(here, there, pinata):
    record = here.add("build=GRCh38")
    assert networks(pinata) == [("provenance", "private"), ("reference", "private")]

    (found,) = there.json("query", "build=GRCh38")
    assert (found["id"], found["cid"]) == (record["id"], record["cid"])
    (copy,) = there.json("get", record["cid"], "--to", "out")
    assert (there.folder / copy["path"]).read_text() == FASTA
    assert "GRCh38.fa" in there.run("why", record["cid"])[0]
    there.run("rm", record["cid"])

    assert there.json("query", "build=GRCh38") == []
    assert networks(pinata) == [("provenance", "private"), ("provenance", "private")]
    here.assert_no_secret()
    there.assert_no_secret()
    assert not any(pinata.jwt in json.dumps(file) for file in pinata.files)


def test_pulled_once_it_needs_no_service(here, there, pinata):
    record = here.add("build=GRCh38")
    there.run("pull", "build=GRCh38")
    pinata.kill()

    words = [("query", "build=GRCh38"), ("get", "build=GRCh38"), ("why", record["cid"])]
    processes = [there.start(*each, "--json") for each in words]  # each waits for the service for a while
    (found,), (copy,), lineage = [json.loads(there.end(process)[0]) for process in processes]

    assert found["id"] == record["id"]
    assert (there.folder / copy["path"]).read_text() == FASTA
    assert lineage


def test_nothing_is_published_without_a_word(here, pinata):
    record = here.add("build=a")
    (here.folder / "b.fa").write_text(FASTA.replace("A", "T"))

    for words in (
        ("push", record["cid"], "--public"),
        ("add", "b.fa", "build=b", "--public"),
    ):
        _, error = here.run(*words, status=1)
        assert "--yes" in error
    _, error = here.run("add", "b.fa", "build=b", status=1, PINATA_VISIBILITY="public")
    assert "--yes" in error
    assert {network for _, network in networks(pinata)} == {"private"}
    assert len(here.json("query")) == 1  # what was refused was not added either


def test_with_a_word_files_are_published_and_provenance_never(here, there, pinata):
    record = here.add("build=a")
    here.run("push", record["cid"], "--public", "--yes")
    here.add("build=b", "--public", "--yes", name="b.fa", content=FASTA.replace("A", "T"))
    here.env["PINATA_VISIBILITY"] = "public"
    here.add("build=c", "--yes", name="c.fa", content=FASTA.replace("A", "C"))

    assert networks(pinata) == [
        *[("provenance", "private")] * 3,
        ("reference", "private"),
        *[("reference", "public")] * 3,
    ]
    assert len(there.json("get", "asset=reference")) == 3


def test_what_was_added_before_there_was_an_account_is_pushed_as_a_whole(here, there, pinata):
    (here.folder / "early.fa").write_text(">c\nACGT\n")
    here.run("add", "early.fa", "build=early", PINATA_JWT="")
    assert networks(pinata) == []

    here.run("push")
    assert networks(pinata) == []
    here.run("push", "--all")

    assert "early.fa" in there.run("query", "build=early")[0]
    here.run("push", "--all", "build=early", status=2)


def test_what_a_client_of_the_server_adds_is_not_published(
    here: Machine, pinata: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the settings say of what is added: publishing is for people to decide."""
    from stargazer.mcp.access import Access
    from stargazer.mcp.jobs import upload

    for name, value in (here.env | {"PINATA_VISIBILITY": "public"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(here.folder)
    (here.folder / "a.fa").write_text(FASTA)
    done = asyncio.run(upload(["a.fa"], {"build": "a"}, Access().as_dict()))
    assert done["total"] == 1
    assert {network for _, network in networks(pinata)} == {"private"}


def test_public_means_nothing_without_an_account(here):
    (here.folder / "a.fa").write_text(FASTA)
    _, error = here.run("add", "a.fa", "build=a", "--public", "--yes", status=1, PINATA_JWT="")
    assert "PINATA_JWT" in error


def test_every_verb_works_while_the_service_is_down_and_says_what_is_missing(here, there, pinata):
    first = here.add("build=a")
    pinata.kill()

    (here.folder / "b.fa").write_text(FASTA.replace("A", "T"))
    _, said = here.run("add", "b.fa", "build=b")
    assert "not on Pinata yet" in said
    assert "stargazer push" in said
    reading = [("query", "--json"), ("get", "build=b", "--json"), ("why", "build=b")]
    processes = [here.start(*words) for words in reading]  # each waits for the service for a while
    known, got, _ = [here.end(process)[0] for process in processes]
    assert {record["keyvalues"]["build"] for record in json.loads(known)} == {"a", "b"}
    assert len(json.loads(got)) == 1
    pulling = there.start("pull", "--all")
    _, said = here.run("rm", first["cid"])
    assert "not on Pinata yet" in said
    out, _ = here.run("push", status=1)
    assert "not on Pinata yet" in out
    _, said = there.end(pulling, status=1)
    assert said

    pinata.start()
    out, _ = here.run("push")
    assert "sent" in out
    assert [record["keyvalues"]["build"] for record in there.json("query")] == ["b"]
    assert here.json("push") == {"sent": 0, "left": []}


def test_a_refused_key_loses_nothing_and_is_said(here, pinata):
    (here.folder / "a.fa").write_text(FASTA)
    _, said = here.run("add", "a.fa", "build=a", PINATA_JWT="eyJhbGciOiJIUzI1NiJ9.wrong.c2ln")
    assert "not on Pinata yet" in said
    assert "PINATA_JWT" in said
    assert "eyJ" not in said

    assert here.json("push")["left"] == []
    assert networks(pinata) == [("provenance", "private"), ("reference", "private")]


def test_a_rate_limit_is_waited_for(here, pinata):
    pinata.fault("POST /v3/files", status=429, headers={"Retry-After": "2"}, times=2)
    began = time.monotonic()
    _, said = here.run("add", str(written(here)), "build=a")

    assert "not on Pinata" not in said
    assert time.monotonic() - began >= 2
    assert len(networks(pinata)) == 2


def test_wrong_bytes_of_the_gateway_are_refused_by_name(here, there, pinata):
    record = here.add("build=a")
    pinata.fault(f"GET /files/{record['cid']}", corrupt=10, times=None)
    pinata.fault(f"GET /ipfs/{record['cid']}", corrupt=10, times=None)

    _, error = there.run("get", "build=a", "--to", "out", status=1)

    assert record["cid"] in error
    assert not list((there.folder / "out").glob("*.fa")) if (there.folder / "out").exists() else True
    pinata.clear_faults()
    there.run("get", "build=a", "--to", "out")


def test_an_unexpected_failure_keeps_no_key_in_its_traceback(here, pinata):
    pinata.fault("", body="{]", times=None)
    here.run("add", str(written(here)), "build=a")
    here.run("push", status=1)
    here.assert_no_secret()


@pytest.mark.parametrize("verb", ["add", "pull"])
def test_ctrl_c_ends_a_transfer_that_stalls(here, there, pinata, verb):
    record = here.add("build=a")
    pinata.fault("POST /v3/files$", stall_request=100, times=None)
    pinata.fault(f"GET /files/{record['cid']}", drip=1.0, drip_after=10, times=None)
    if verb == "add":
        path = here.folder / "large.fa"
        path.write_text(">1\n" + 30_000_000 * "A" + "\n")
        words, match = ("add", path, "build=b"), "POST /v3/files$"
    else:
        words, match = ("pull", record["cid"]), f"GET /files/{record['cid']}"
    before = len(pinata.matching(match))
    process = (here if verb == "add" else there).start(*words)
    while len(pinata.matching(match)) == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)  # nothing of it answers for minutes

    assert process.returncode == 130
    assert "interrupted" in error
    pinata.clear_faults()
    here.run("push")
    there.run("pull", "--all")


@pytest.mark.slow
def test_pinata_killed_in_the_middle_of_a_workflow(here, there, pinata):
    """It ends well, says what is missing, push completes it, and another machine finds the results."""
    simulate(here.folder)
    here.run("add", "tiny.fa", "S_R1.fq.gz", "S_R2.fq.gz", "build=tiny", "sample=S", "lane=L1")
    before = len(pinata.files)
    process = here.start(*GERMLINE, "--json")
    while len(pinata.files) < before + 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    pinata.kill()
    out, said = here.end(process)
    results = json.loads(out)["results"]
    assert "not on Pinata yet" in said
    assert "stargazer push" in said
    pinata.start()

    assert here.json("push")["left"] == []

    variants = results["variants"] if "variants" in results else next(iter(results.values()))
    cid = variants["cid"]
    (found,) = there.json("query", f"cid={cid}")
    assert found["keyvalues"] == variants["keyvalues"]
    there.run("get", cid, "--to", "out")
    lineage = there.json("why", cid)
    assert lineage
    there.run("pull", f"cid={cid}")
    here.assert_no_secret()
    there.assert_no_secret()


def written(machine: Machine) -> Path:
    path = machine.folder / "GRCh38.fa"
    path.write_text(FASTA)
    return path
