"""`stargazer add`: what is registered, under which names, and what is refused without a trace."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main

from .command import serving

ABSENT = "bafkreib6vj3os7l4lqqytaw5vju46iorcknttfiwfnlbizjcqn7xd5hrvy"
READS = b"@read/1\nACGTACGT\n+\nIIIIIIII\n"
COLUMNS = b"CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
Add = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def add(capsys: pytest.CaptureFixture[str]) -> Add:
    """`stargazer add ... --json` in this process: the records."""

    def run(*words: str) -> list[dict[str, Any]]:
        end = words.index("--") if "--" in words else len(words)
        status = main(["add", *words[:end], "--json", *words[end:]])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        found: list[dict[str, Any]] = json.loads(captured.out)
        return found

    return run


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The error of an `add` that must change nothing."""
    before = state()
    assert main(["add", *words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("stargazer: error: ")
    assert "Traceback" not in captured.err
    assert state() == before
    return captured.err


def state() -> tuple[list[str], list[str]]:
    """The ids of all records and the names of all objects."""
    from stargazer.storage import get_client

    store = get_client().store
    objects = sorted(path.name for path in (store.root / "objects").rglob("ba*"))
    return sorted(record.id for record in store.query({})), objects


def write(path: Path, data: bytes = READS) -> Path:
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def test_the_installed_command_registers_a_file(here: Path) -> None:
    write(here / "x_R1.fq.gz")
    command = [sys.executable, "-m", "stargazer.mcp.cli", "add", "x_R1.fq.gz", "sample=S", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["keyvalues"]["asset"] == "r1"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("name", "data", "words", "asset"),
    [
        ("a.fa", b">c\nACGT\n", ["build=b"], "reference"),
        ("a.fasta", b">c\nACGT\n", ["build=b"], "reference"),
        ("a.bed", b"c\t0\t9\n", ["name=n"], "intervals"),
        ("a.vcf", b"##fileformat=VCFv4.2\n#" + COLUMNS + b"\n", [], "variants"),
        ("a_R1.fastq", READS, ["sample=s"], "r1"),
        ("S1_L001_R2_001.fastq.gz", READS, ["sample=s"], "r2"),
        ("a_1.fq", READS, ["sample=s"], "r1"),
        ("a.2.fq.gz", READS, ["sample=s"], "r2"),
    ],
)
def test_a_type_is_read_off_the_name(
    here: Path, add: Add, name: str, data: bytes, words: list[str], asset: str
) -> None:
    write(here / name, data)
    assert add(name, *words)[0]["keyvalues"]["asset"] == asset


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("reads.fq", "asset=r1 or asset=r2"),
        ("x.bam.bai", "asset=alignment_index alignment_cid=CID"),
        ("x.bam.csi", "asset=alignment_index alignment_cid=CID"),
        ("x.txt", "give asset=TYPE, one of: "),
    ],
)
def test_a_doubtful_name_is_asked_about(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    write(here / name)
    error = refused(capsys, name)
    assert name in error
    assert said in error


def test_mates_given_together_are_linked(here: Path, add: Add) -> None:
    for name in ("x_R1.fq.gz", "x_R2.fq.gz", "y_R2.fq.gz"):
        write(here / name, READS.replace(b"/1", b"/1 " + name.encode()))
    first, second, other = add("x_R1.fq.gz", "x_R2.fq.gz", "y_R2.fq.gz", "sample=S", "lane=L1")
    assert second["keyvalues"]["r1_cid"] == first["cid"]
    assert "r1_cid" not in other["keyvalues"]


def test_each_pair_goes_to_the_types_that_know_it(here: Path, add: Add) -> None:
    write(here / "g.fa", b">c\nACGT\n")
    write(here / "x_R1.fq")
    reference, reads = add("g.fa", "x_R1.fq", "build=b", "sample=s")
    assert reference["keyvalues"]["build"] == "b"
    assert "build" not in reads["keyvalues"]


def test_a_list_is_written_with_commas(here: Path, add: Add) -> None:
    columns = b"CHROM POS ID REF ALT QUAL FILTER INFO FORMAT A B".replace(b" ", b"\t")
    write(here / "a.vcf", b"##fileformat=VCFv4.2\n#" + columns + b"\n")
    assert json.loads(add("a.vcf", "samples=A,B")[0]["keyvalues"]["samples"]) == ["A", "B"]


@pytest.mark.parametrize("stem", ["a b", 'it\'s "x"', "new\nline", "gen\u00f6m\u2603", "a\x1b[31m", "$(x)*;"])
def test_odd_names_are_kept(here: Path, add: Add, stem: str) -> None:
    name = f"{stem}_R1.fq"
    write(here / name)
    assert add(name, "sample=S")[0]["name"] == name


def test_a_name_that_is_no_text_is_escaped(here: Path, add: Add) -> None:
    name = os.fsdecode(b"\xff_R1.fq")
    write(here / name)
    assert add(name, "sample=S")[0]["name"] == "\\xff_R1.fq"


def test_names_that_look_like_options_and_pairs(here: Path, add: Add) -> None:
    for name in ("-x_R1.fq", "a=b_R1.fq"):
        write(here / name, READS.replace(b"read", name.encode()))
    assert add("./-x_R1.fq", "./a=b_R1.fq", "sample=S")[1]["name"] == "a=b_R1.fq"
    assert add("sample=T", "--", "-x_R1.fq", "a=b_R1.fq")[0]["name"] == "-x_R1.fq"


def test_a_file_that_reads_as_a_pair_is_explained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "a=b_R1.fq")
    with pytest.raises(SystemExit):
        main(["add", "a=b_R1.fq", "sample=S"])
    assert "write './a=b_R1.fq'" in capsys.readouterr().err


def test_odd_names_reach_the_terminal_escaped(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\n\x1b[31mb_R1.fq"
    write(here / name)
    assert main(["add", name, "sample=S"]) == 0
    assert "a\\n\\x1b[31mb_R1.fq" in capsys.readouterr().out
    assert "\x1b" not in refused(capsys, "no\x1b\nsuch_R1.fq", "sample=S")


def truncated() -> bytes:
    return gzip.compress(READS * 1000)[:-20]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("gone_R1.fq", None, "no such file"),
        ("empty_R1.fq", b"", "empty"),
        ("text_R1.fq", b"hello\n", "not FASTQ"),
        ("cut_R1.fq.gz", truncated(), "truncated"),
        ("short_R1.fq", READS + b"@r\nACGT\n", "truncated"),
        ("folder_R1.fq", "folder", "is a folder"),
    ],
)
def test_bad_files_are_refused_by_name(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes | str | None, said: str
) -> None:
    if isinstance(data, bytes):
        (here / name).write_bytes(data)
    elif data:
        (here / name).mkdir()
    error = refused(capsys, name, "sample=S")
    assert name in error
    assert said in error


def test_one_bad_file_refuses_all(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "good_R1.fq")
    write(here / "bad_R2.fq", b"no reads")
    assert "bad_R2.fq" in refused(capsys, "good_R1.fq", "bad_R2.fq", "sample=S")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["asset=reads", "sample=S"], "unknown asset type 'reads'"),
        (["sample=S", "lain=1"], "unknown key 'lain'; did you mean 'lane'"),
        ([], "needs sample"),
        (["sample=\t"], "sample"),
        (["asset=alignment", "sample=S", "sorted_by=name"], "one of coordinate, queryname, unsorted"),
        (["asset=alignment", "sample=S", "duplicates_marked=maybe"], "true or false"),
        (["asset=anndata", "n_obs=-1"], "0 or more"),
        (["asset=r2", "sample=S", "r1_cid=x"], "expected the CID of a r1, got 'x'"),
        (["asset=r2", "sample=S", f"r1_cid={ABSENT}"], "no r1 bafkrei"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    write(here / "x_R1.fq")
    assert said in refused(capsys, "x_R1.fq", *words)


@pytest.mark.parametrize(
    "words", [[], ["sample=S"], ["x_R1.fq", "sample=S", "sample=T"], ["--nonsense"], ["x", "--md5", "0"]]
)
def test_misuse_is_status_two(here: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["add", *words])
    assert raised.value.code == 2
    assert capsys.readouterr().err.startswith("usage: stargazer add ")


def test_the_same_file_again_adds_nothing(here: Path, add: Add) -> None:
    write(here / "x_R1.fq")
    before = add("x_R1.fq", "sample=S"), state()
    assert (add("x_R1.fq", "sample=S"), state()) == before


def test_a_new_reference_takes_at_most_six_selects(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*args, **named)
        connection.set_trace_callback(said.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    for name in ("w", "x", "y", "z"):
        said.clear()
        (here / f"{name}.fa").write_text(f">{name}\nACGT\n")
        assert main(["add", f"{name}.fa", f"build={name}", "asset=reference"]) == 0

    assert any("INSERT INTO docs" in text for text in said)
    selects = [text for text in said if re.match(r"\s*(SELECT|WITH)\b", text)]
    assert len(selects) <= 6, "\n".join(selects)
    assert capsys.readouterr().err.count("another reference") == 0


def test_unchanged_files_again_give_the_same_answer(
    here: Path, add: Add, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargazer.storage.statcache.SETTLED", 0)  # ns: they need not be old to be known
    words = ["x_R2.fq", "x_R1.fq", "./y.bed", "sample=S", "name=panel", "build=b"]
    for number, name in enumerate(words[:3]):
        bed = b"chr1\t1\t2\n"
        write(here / name, bed if name.endswith("bed") else READS * (number + 1))
    before = add(*words), state()
    assert add(*words) == before[0]
    assert add(*reversed(words)) == before[0][::-1]
    assert state() == before[1]
    capsys.readouterr()
    assert main(["add", *words]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 4
    assert captured.err.splitlines() == [
        "already registered: x_R2.fq as sample=S platform=ILLUMINA",
        "already registered: x_R1.fq as sample=S platform=ILLUMINA",
        "already registered: y.bed as name=panel build=b",
    ]


def test_a_read_only_store_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    store = Path(os.environ["STARGAZER_LOCAL"])
    store.mkdir(parents=True)
    store.chmod(0o500)
    write(here / "x_R1.fq")
    assert main(["add", "x_R1.fq", "sample=S"]) == 1
    assert "no permission" in capsys.readouterr().err


def test_what_the_store_had_before_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> list[str]:
        assert main(["add", *words]) == 0
        return capsys.readouterr().err.splitlines()

    write(here / "x_R1.fq")
    write(here / "a.fa", b">c\nACGT\n")
    write(here / "b.fa", b">c\nACGTT\n")
    assert said("x_R1.fq", "sample=S", "lane=L1") == []
    assert said("x_R1.fq", "sample=S", "lane=L1") == [
        "already registered: x_R1.fq as sample=S lane=L1 platform=ILLUMINA"
    ]
    (line,) = said("x_R1.fq", "sample=T")
    assert re.fullmatch(
        "note: the bytes of x_R1.fq are also registered as sample=S lane=L1 platform=ILLUMINA; "
        "where that is not meant, `stargazer rm [0-9a-f]{32}` takes this registration back",
        line,
    )
    assert said("a.fa", "build=b") == []
    (line,) = said("b.fa", "build=b")
    assert line.startswith("note: there is another reference build=b; workflows need exactly one")


def test_ambiguity_codes_of_a_reference_are_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "r.fa", b">chrT\nACKNac\n>c2\nGR\n")
    assert main(["add", "r.fa", "build=R"]) == 0

    assert capsys.readouterr().err.splitlines() == [
        "note: 2 bases of the reference R are ambiguity codes (K at chrT:3, R at c2:2): no variant can be called there"
    ]


def test_what_a_check_refuses_can_be_forced(here: Path, add: Add, capsys: pytest.CaptureFixture[str]) -> None:
    from stargazer.storage import get_client

    write(here / "x_R1.fq")
    error = refused(capsys, "x_R1.fq", "sample=S", "platform=ILUMINA")
    assert "give one of CAPILLARY" in error
    assert "stargazer add --force" in error
    (record,) = add("--force", "x_R1.fq", "sample=S", "platform=ILUMINA")
    store = get_client().store
    document: Any = store.document(store.documents(record["cid"])[0])
    assert "platform=ILUMINA" in document.forced[0]
    assert [check.split()[0] for check in document.checks] == ["r1.encoding", "r1.platform"]


def test_reads_are_added_without_the_libraries_of_other_files(here: Path) -> None:
    write(here / "x_R1.fq.gz")
    code = (
        "import sys; from stargazer.mcp.cli import main; main(['add', 'x_R1.fq.gz', 'sample=S']); "
        "sys.exit(f'{loaded}' if (loaded := {'pysam', 'numpy', 'flyte', 'h5py'} & sys.modules.keys()) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_notes_about_many_files_stay_few(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [write(here / f"{number}_R1.fq", READS * (number + 1)).name for number in range(30)]
    for _ in range(2):
        capsys.readouterr()
        assert main(["add", *names, "sample=S"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("note: sample 'S', no lane: 30 r1 files")
    assert lines[-1] == "... and 21 more notes like these"


def test_a_folder_is_called_one_whatever_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "reads").mkdir()
    assert main(["add", "reads", "sample=S"]) == 1
    assert "'reads' is a folder" in capsys.readouterr().err


@pytest.fixture
def server(here: Path) -> Iterator[str]:
    """A web server on this machine; `/missing` is 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = b">c\nACGT\n"
            self.send_response(404 if "missing" in self.path else 200)
            self.send_header("Content-Length", str(len(data) * (2 if "short" in self.path else 1)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None: ...

    with serving(Handler) as url:
        yield url


SHA256 = hashlib.sha256(b">c\nACGT\n").hexdigest()


def test_a_url_is_verified_and_remembered_without_secrets(server: str, add: Add) -> None:
    from stargazer.assets.provenance import Import
    from stargazer.storage import get_client

    address = server.replace("://", "://user:password@")
    (record,) = add(f"{address}/data/my%20genome.fa?token=secret#x", "--sha256", SHA256.upper(), "build=b")
    assert record["name"] == "my genome.fa"
    store = get_client().store
    document = store.document(record["keyvalues"]["provenance_cid"])
    assert isinstance(document, Import)
    assert document.files[0].origin == f"{server}/data/my%20genome.fa"
    assert list(store.objects.work.iterdir()) == []


def test_md5_is_taken_too(server: str, add: Add) -> None:
    assert add(f"{server}/a.fa", "--md5", hashlib.md5(b">c\nACGT\n").hexdigest(), "build=b")


@pytest.mark.parametrize(
    ("path", "words", "said"),
    [
        ("/a.fa", ["--sha256", "0" * 64], "expected 0000"),
        ("/a.fa", ["--sha256", "abc"], "64 hexadecimal digits"),
        ("/a.fa", [], "--sha256"),
        ("/missing.fa", ["--sha256", SHA256], "404"),
        ("/short.fa", ["--sha256", SHA256], "could not be downloaded"),
        ("/", ["--sha256", SHA256, "asset=reference"], "names no file"),
        ("/a.fa", ["--sha256", SHA256, "bild=x"], "unknown key 'bild'"),
    ],
)
def test_a_download_that_fails_leaves_nothing(
    server: str, capsys: pytest.CaptureFixture[str], path: str, words: list[str], said: str
) -> None:
    before = state()
    assert main(["add", server + path, *words, *(["build=b"] if "bild=x" not in words else [])]) == 1
    assert said in capsys.readouterr().err
    assert state() == before


def test_a_dead_server_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", "http://127.0.0.1:9/a.fa", "--sha256", SHA256, "build=b"]) == 1
    assert "could not be downloaded" in capsys.readouterr().err


def test_one_file_given_twice_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a_R1.fq").write_bytes(READS)
    (here / "a_R2.fq").symlink_to("a_R1.fq")
    assert "this file is given twice" in refused(capsys, "a_R1.fq", "a_R1.fq", "sample=A")
    assert "'a_R2.fq', which is 'a_R1.fq': this file" in refused(capsys, "a_R1.fq", "a_R2.fq", "sample=A")
