"""`stargazer` where things are odd: names, folders, streams, settings, tools, and words that mean nothing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .command import MOUNT, mounted

COMMAND = [sys.executable, "-m", "stargazer.mcp.cli"]
GERMLINE = ["run", "germline_short_variant_discovery", "caller=bcftools", "samples=S", "build=small"]
ODD = "a b'c\"d $HOME;`x`\n\té漢字 %s{0}*?[x]\\ -\x7f"
ABSENT = "bafkreib6vj3os7l4lqqytaw5vju46iorcknttfiwfnlbizjcqn7xd5hrvy"


def stargazer(
    *words: object, status: int = 0, prefix: list[str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, ended with the status expected and without a traceback."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    done = subprocess.run([*(prefix or []), *COMMAND, *map(str, words)], text=True, timeout=120, **options)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "raceback" not in (done.stderr or "")
    return done


def failing(*words: object, **options: Any) -> str:
    """The one error message of a command with status 1."""
    done = stargazer(*words, status=1, **options)
    assert done.stdout == ""
    assert done.stderr.count("stargazer: error: ") == 1
    assert "unexpected" not in done.stderr
    message: str = done.stderr.partition("stargazer: error: ")[2]
    return message


def known() -> Any:
    """The results of a run that was done before: nothing is computed."""
    answer = json.loads(stargazer(*GERMLINE, "--json").stdout)
    assert answer["computed"] == 0
    return answer["results"]


@pytest.fixture(scope="module")
def data(made_once: Callable[..., Path]) -> dict[str, Path]:
    """A reference of 60,000 bases and a lane of reads."""
    from stargazer.workflows.demo.simulate import simulate_sample

    def simulate(folder: Path) -> None:
        made = simulate_sample(str(folder / "made"), pairs=600, seed=1, genome_length=60000)
        files = [("reference", made["reference"]), *made["samples"][0]["lanes"][0].items()][:4]
        (folder / "files.json").write_text(json.dumps({name: str(file) for name, file in files}))

    folder = made_once("data", simulate)
    return {
        name: folder / "made" / file for name, file in json.loads((folder / "files.json").read_text()).items()
    }


NAMELESS = ["unshare", "--user", "--map-user=54321"]
"""What runs a command as a user whom /etc/passwd does not know."""


@pytest.fixture(scope="module")
def called(data: dict[str, Path], made_once: Callable[..., Path]) -> Path:
    """A home where the variants of S have been called."""
    return made_once("called", lambda home: call_variants(data, home))


def call_variants(data: dict[str, Path], home: Path) -> None:
    env = {**os.environ, "STARGAZER_HOME": str(home), "STARGAZER_LOCAL": str(home / "local")}
    stargazer("add", data["reference"], "build=small", env=env)
    stargazer("add", data["r1"], data["r2"], "sample=S", "lane=L1", env=env)
    stargazer(*GERMLINE, env=env)


@pytest.fixture
def home(called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test, which works in an empty folder."""
    home = Path(os.environ["STARGAZER_HOME"])
    shutil.copytree(called, home, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and an empty store."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_odd_names_go_through_a_whole_run(
    data: dict[str, Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here / ODD
    folder.mkdir()
    monkeypatch.setenv("STARGAZER_HOME", str(folder / "home"))
    monkeypatch.setenv("STARGAZER_LOCAL", str(folder / "home" / "store"))
    reads = [folder / f"re ads'\"\né_R{mate}.fq.gz" for mate in "12"]
    for name, path in zip(("r1", "r2"), reads, strict=True):
        shutil.copy(data[name], path)
    reference = folder / "-ref ' \".fa"
    shutil.copy(data["reference"], reference)
    sample, build = "S é漢 'q\" $x;*?[]{}%", "b u/ild:'é-9"
    stargazer("add", reference, f"build={build}")
    stargazer("add", *reads, f"sample={sample}", "lane=L 1", "library=lib é")

    out = folder / "out\n put"
    stargazer(*GERMLINE[:3], f"samples={sample}", f"build={build}", "--outdir", out)

    name = f"{sample}.b u_ild:'é-9.variants.vcf.gz"
    with gzip.open(out / name, "rt") as calls:
        (header,) = [line for line in calls if line.startswith("#CHROM")]
    assert header.rstrip("\n").split("\t")[9:] == [sample]
    assert "lib%20%C3%A9" in stargazer("why", out / name).stdout
    assert [path.name for path in here.iterdir()] == [ODD]
    assert list((folder / "home" / "store" / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({"HOME": None}, []),
        ({"TMPDIR": "/nonexistent"}, []),
        ({"LC_ALL": "C", "LANG": None, "PYTHONUTF8": None}, []),
        ({"PATH": None}, []),
        ({}, ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"]),
        ({}, ["sh", "-c", 'exec "$@" <&-', "sh"]),
        ({}, ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]),
        ({"HOME": None, "USER": None, "LOGNAME": None}, [*NAMELESS]),
    ],
    ids=["no HOME", "no TMPDIR", "C", "no PATH", "deleted cwd", "no stdin", "64 files", "no name"],
)
def test_a_run_needs_nothing_of_its_surroundings(
    data: dict[str, Path], home: Path, changes: dict[str, str | None], prefix: list[str]
) -> None:
    if prefix == NAMELESS and subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("another user is not allowed here: one without a name is not tested")
    env = {**os.environ, **changes}
    env = {name: value for name, value in env.items() if value is not None}
    words = ["run", "prepare_reference", "build=small", "aligner=none", "--refresh", "--json"]
    computed = json.loads(stargazer(*words, env=env, prefix=prefix).stdout)
    assert computed["computed"] == 3
    stargazer("add", data["reference"], "build=again", env=env, prefix=prefix)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("words", [["query"], ["run", "prepare_reference", "build=small", "--refresh"]])
def test_streams_that_take_nothing_fail_nothing(home: Path, redirection: str, words: list[str]) -> None:
    stargazer(*words, prefix=["sh", "-c", f'exec "$@" {redirection}', "sh"])
    assert list((home / "local" / "work").iterdir()) == []


@pytest.mark.parametrize(
    "words", [[*GERMLINE, "--json"], ["query"], ["why", "asset=variants", "filtered=true"]]
)
def test_a_reader_that_leaves_early_is_no_error(home: Path, words: list[str]) -> None:
    done = stargazer(*words, prefix=["sh", "-c", '"$@" | head -c 1', "sh"])
    assert len(done.stdout) == 1
    assert "error" not in done.stderr


@pytest.mark.parametrize("words", [["query"], ["--help"]])
def test_an_answer_that_cannot_be_written_is_an_error(home: Path, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = stargazer(*words, status=1, stdout=full)
    assert "No space left on device" in done.stderr
    assert "unexpected" not in done.stderr


NO_SOCKETS = """
import os, socket
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto") and not (
        event == "socket.connect" and args[0].family == socket.AF_UNIX
    ):
        os.write(2, f"NETWORK {event} {args[1:]}\\n".encode())
        os._exit(99)
import sys
sys.addaudithook(refuse)
"""


@pytest.mark.parametrize("words", [["query"], ["add", "x_R1.fq", "sample=S"], GERMLINE, ["get", "asset=r1"]])
def test_a_malformed_token_is_a_clear_error_and_no_socket_is_opened(
    home: Path, tmp_path: Path, words: list[str]
) -> None:
    Path("x_R1.fq").write_text("@r\nACGT\n+\nIIII\n")
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    env = {**os.environ, "PINATA_JWT": "the-secret of two words", "PYTHONPATH": str(tmp_path)}
    message = failing(*words, env=env)
    assert "PINATA_JWT" in message
    assert "the-secret" not in message
    assert "NETWORK" not in message


def test_a_whole_run_opens_no_socket(home: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    stargazer("run", "prepare_reference", "build=small", "--refresh", env=env)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STARGAZER_TOOLS", "samtools=conda", "conda"),
        ("STARGAZER_TOOLS", "samtools", "name=kind"),
        ("STARGAZER_CORES", "0", "STARGAZER_CORES is '0'"),
        ("STARGAZER_CORES", "two", "STARGAZER_CORES is 'two'"),
        ("STARGAZER_MEMORY", "much", "STARGAZER_MEMORY is 'much'"),
        ("STARGAZER_MODE", "cloud", "STARGAZER_MODE"),
        ("STARGAZER_MODE", "LOCAL", "STARGAZER_MODE is 'LOCAL'"),
        ("STARGAZER_LOCAL", "/dev/null/x", "/dev/null/x"),
        ("STARGAZER_HOME", "/dev/null", "/dev/null"),
        ("PINATA_VISIBILITY", "secret", "PINATA_VISIBILITY is 'secret'"),
    ],
)
def test_a_wrong_variable_is_named(home: Path, variable: str, value: str, said: str) -> None:
    empty = Path("empty")
    empty.mkdir()
    env = {**os.environ, variable: value, "PATH": str(empty)}
    message = failing("run", "prepare_reference", "build=small", "--refresh", env=env)
    assert said in message
    assert list((home / "local" / "work").iterdir()) == []


@pytest.mark.parametrize("text", [b"mode = ", b"bogus = 1", b"\xff\xfe", b"cores = true", b"cores = 'x'"])
def test_a_broken_configuration_file_is_named(home: Path, text: bytes) -> None:
    (home / "config.toml").write_bytes(text)
    for words in (["query"], GERMLINE, ["add", "x", "asset=r1"]):
        assert "config.toml" in failing(*words) or words[0] == "add"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 0", "wrote nothing"),
        ("kill -9 $$", "was killed by SIGKILL"),
        ("echo no >&2; exit 3", "exit status 3"),
    ],
)
def test_a_tool_that_does_no_work_is_named(home: Path, body: str, said: str) -> None:
    tools = Path("tools")
    tools.mkdir()
    version = 'case "$1" in --version) echo "samtools 1.99"; exit 0;; esac'
    (tools / "samtools").write_text(f"#!/bin/sh\n{version}\n{body}\n")
    (tools / "samtools").chmod(0o755)
    env = {**os.environ, "PATH": f"{tools.absolute()}:/bin:/usr/bin", "STARGAZER_TOOLS": "samtools=path"}
    message = failing("run", "prepare_reference", "build=small", "aligner=none", env=env)
    assert "samtools faidx" in message
    assert said in message
    assert list((home / "local" / "work").iterdir()) == []
    known()


def test_why_walks_from_the_calls_to_the_reads(data: dict[str, Path], home: Path) -> None:
    text = stargazer("why", known()["variants"]["cid"]).stdout
    for said in (
        "$ bcftools filter", "$ bcftools mpileup", "$ bcftools call", "$ samtools markdup",
        "$ bwa-mem3 mem", "$ bwa-index", "tool bcftools 1.", "(wheel pysam==", "tool bwa-mem3 0.",
        f"imported from {data['r1'].name} by", f"imported from {data['r2'].name} by", "imported from reference.fa by",
    ):  # fmt: skip
        assert said in text
    assert str(home) not in text
    whole = json.loads(stargazer("why", known()["variants"]["cid"], "--json").stdout)
    assert {"r1", "r2", "reference", "alignment"} <= {file["asset"] for file in whole["files"].values()}
    assert "imported from" in stargazer("why", data["r1"]).stdout


def test_why_shows_a_step_that_changed_nothing(home: Path) -> None:
    records = json.loads(stargazer("query", "asset=variants", "--json").stdout)
    assert len({record["cid"] for record in records}) < len(records)  # bcftools norm found nothing to do
    text = stargazer("why", known()["variants"]["cid"]).stdout
    assert "$ bcftools norm" in text
    assert "$ bcftools call" in text


def test_why_of_a_provenance_document_shows_what_it_says(home: Path) -> None:
    document = known()["variants"]["keyvalues"]["provenance_cid"]
    assert "$ bcftools filter" in stargazer("why", document).stdout


@pytest.mark.parametrize("word", [ABSENT, "junk", "/dev/zero", "é\n"])
def test_why_of_junk_is_an_error(home: Path, word: str) -> None:
    failing("why", word)


MANY = """
import contextlib, io, json, sys
from stargazer.mcp.cli import main
said = []
for word in json.loads(sys.argv[2]):
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = main([sys.argv[1], word])
        except SystemExit as exit:
            status = exit.code
    said.append([word, status, out.getvalue(), error.getvalue()])
print(json.dumps(said))
"""


@pytest.mark.parametrize("verb", ["demo", "add", "query", "get", "rm", "why", "run", "doctor", "serve"])
def test_no_words_make_a_traceback(verb: str, here: Path) -> None:
    words = ["", "=", "==", "nokey=1", "asset=", "asset=\x1b[31m", "cid=x", "é", "-", "-x", "--nope", "%s{0}",
             "sample=\udcff", "\udcff"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MANY, verb, json.dumps(words)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for word, status, out, error in json.loads(done.stdout):
        assert status in ((0, 1, 2) if verb == "query" else (1, 2)), (word, error)
        assert "raceback" not in error
        assert "unexpected" not in error, (word, error)
        assert error.count("stargazer: error:") == (status > 0), (word, error)
        assert "\x1b" not in out + error


@pytest.mark.parametrize(
    "words",
    [["query", "sample={}"], ["get", "{}"], ["run", "{}"], ["{}"], ["add", "{}"],
     ["why", "{}"]],
)  # fmt: skip
def test_a_huge_word_is_nothing_special(here: Path, words: list[str]) -> None:
    done = subprocess.run(
        [*COMMAND, *(word.format("A" * 100_000) for word in words)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (0, 1, 2)
    assert "raceback" not in done.stderr
    assert "unexpected" not in done.stderr


Damage = Callable[[Path], object]


def _newer(path: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_newer, "newer Stargazer"),
        (lambda path: os.truncate(path, 60_000), "damaged"),
        (lambda path: path.write_bytes(b"x" * 100_000), "damaged"),
    ],
    ids=["newer", "truncated", "garbage"],
)
def test_a_store_that_cannot_be_used_is_named_and_left_alone(
    data: dict[str, Path], home: Path, damage: Damage, said: str
) -> None:
    index = home / "local" / "index.sqlite"
    damage(index)
    before = index.read_bytes()
    for words in (["query"], ["add", data["r1"], "sample=N"], GERMLINE, ["rm", "asset=r1"], ["why", ABSENT]):
        message = failing(*words)
        assert said in message
        assert str(index) in message
    assert stargazer("doctor", status=1).stdout.count("BROKEN") == 1
    assert index.read_bytes() == before


@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_an_index_that_is_gone_is_noticed(home: Path, how: str) -> None:
    for path in (home / "local").glob("index.sqlite*"):
        path.unlink()
    if how == "emptied":
        (home / "local" / "index.sqlite").touch()
    said = stargazer("query").stderr if how == "deleted" else failing("query")
    assert "the store is empty" not in said
    assert "stargazer fsck" in said

    stargazer("fsck")
    assert known()["variants"]["cid"]


def object_of(home: Path, cid: str) -> Path:
    (path,) = (home / "local" / "objects").glob(f"*/{cid}")
    return path


def edit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [edit, Path.unlink, lambda path: (path.unlink(), path.touch())],
                         ids=["edited", "deleted", "emptied"])  # fmt: skip
def test_a_damaged_object_is_an_error_and_can_be_added_again(
    data: dict[str, Path], home: Path, damage: Damage
) -> None:
    (record,) = json.loads(stargazer("query", "asset=r1", "--json").stdout)
    cid = record["cid"]
    damage(object_of(home, cid))
    assert cid in failing("get", cid, "--to", "out")
    assert not list(Path("out").glob("*"))
    assert cid in failing(*GERMLINE, "--refresh")
    assert list((home / "local" / "work").iterdir()) == []
    assert "imported from" in stargazer("why", cid).stdout
    stargazer("add", data["r1"], "sample=S", "lane=L1")
    stargazer("get", cid, "--to", "out")
    assert (Path("out") / "S.L1.r1.fq.gz").read_bytes() == data["r1"].read_bytes()


def test_a_damaged_result_is_never_handed_out_and_made_again(home: Path) -> None:
    results = known()
    edit(object_of(home, results["variants"]["cid"]))
    assert results["variants"]["cid"] in failing(*GERMLINE, "--outdir", "out")
    again = json.loads(stargazer(*GERMLINE, "--refresh", "--json").stdout)
    assert again["results"]["variants"]["cid"] == results["variants"]["cid"]
    known()


def test_a_result_that_is_gone_is_computed_again(home: Path) -> None:
    results = known()
    object_of(home, results["variants"]["cid"]).unlink()
    assert "computed again" in stargazer(*GERMLINE, "--outdir", "out").stderr
    assert "computed again" not in stargazer("get", results["variants"]["cid"], "--to", "out").stderr
    known()


def test_a_read_only_home_is_read(data: dict[str, Path], home: Path) -> None:
    cid = known()["variants"]["cid"]
    prefix = mounted('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"', home)
    assert cid in stargazer("query", "asset=variants", prefix=prefix).stdout
    assert "bwa-mem3 mem" in stargazer("why", cid, prefix=prefix).stdout
    assert "S.small.variants.vcf.gz" in stargazer("get", cid, "--to", "out", prefix=prefix).stdout
    for words in (["add", data["r1"], "sample=N"], GERMLINE, ["rm", "asset=r1"]):
        assert str(home) in failing(*words, prefix=prefix)


def test_a_read_only_store_gives_what_is_known(home: Path) -> None:
    store = home / "local"
    prefix = mounted('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"', store)
    assert json.loads(stargazer(*GERMLINE, "--json", prefix=prefix).stdout)["computed"] == 0
    message = failing(*GERMLINE, "--refresh", prefix=prefix)
    assert str(store) in message
    assert "Read-only file system" in message


CAMPAIGN = """
import json, os, subprocess, sys
from pathlib import Path
from stargazer.storage.store import open_store

leave, mount, home, r1 = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
command = sys.argv[5:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(mount)], check=True)
subprocess.run(["cp", "-a", home, str(mount / "home")], check=True)
os.environ |= {"STARGAZER_HOME": str(mount / "home"), "STARGAZER_LOCAL": str(mount / "home/local")}
store = mount / "home" / "local"

def fill(leave):
    left = os.statvfs(mount)
    (mount / "filler").write_bytes(bytes(left.f_bavail * left.f_frsize - leave))

def state():
    store = open_store(mount / "home/local")
    ids = sorted(record.id for record in store.query({}))
    for record in store.query({}):
        (store.ledger.folder(record.cid) or store.objects).verify(record.cid)
    store.index.close()
    return ids

def stargazer(*words):
    return subprocess.run([*command, *words], capture_output=True, text=True)

germline = [
    *("run", "germline_short_variant_discovery", "caller=bcftools", "samples=S", "build=small"),
    *("--refresh", "--json"),
]
before = state()
for words in (["add", r1, "sample=N"], germline):
    fill(leave)
    done = stargazer(*words)
    (mount / "filler").unlink()
    if done.returncode == 0 and words[0] == "add" and leave >= 150_000:
        continue
    assert done.returncode == 1, (words, done)
    assert "raceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr
    assert str(mount) in done.stderr, (words, done.stderr)
    said = done.stderr.lower()
    assert "full" in said or "no space left" in said, (words, done.stderr)
    assert not list((store / "work").glob("*")), list((store / "work").glob("*"))
    assert not list((store / "tmp").glob("*"))
    assert set(before) <= set(state())
assert stargazer("add", r1, "sample=N").returncode == 0
done = stargazer(*germline)
assert done.returncode == 0, done.stderr
print(json.loads(done.stdout)["results"]["variants"]["cid"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "leave",
    [
        0,
        40_000,
        400_000,
        *(pytest.param(leave, marks=pytest.mark.long) for leave in (16_000, 80_000, 150_000)),
    ],
)
def test_a_full_disk_fails_clearly_and_works_again(
    data: dict[str, Path], home: Path, tmp_path: Path, leave: int
) -> None:
    cid = known()["variants"]["cid"]
    mount = tmp_path / "small"
    mount.mkdir()
    mounted('mount -t tmpfs -o size=1m none "$1"', mount)
    words = [str(leave), str(mount), str(home), str(data["r1"]), *COMMAND]
    done = subprocess.run(
        [*MOUNT, 'exec "$@"', "sh", sys.executable, "-c", CAMPAIGN, *words],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == cid
