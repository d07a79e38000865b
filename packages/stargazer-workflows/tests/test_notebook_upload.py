"""Files that a page sends in pieces: proposed as what they are, checked as `add` does, and never half registered."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pysam
import pytest
from stargazer.assets import REGISTRY
from stargazer.storage import LocalStorageClient
from stargazer.workflows.notebook.uploads import Uploads, type_forms

FASTA = b">chr1\nACGTACGTACGTACGT\n"
TOO_LARGE = 10**18  # bytes, which no disk has
PIECE = 64


class Page:
    """A page that reads files and sends what it is asked for."""

    def __init__(self, store: Any, name: str = "page", **options: Any):
        self.name = name
        self.data: dict[str, bytes] = {}
        self.told: list[dict[str, Any]] = []
        self.uploads = Uploads(store, self.told.append, **options)

    def offer(self, *files: tuple[str, str, int]) -> None:
        """Say which files are chosen: key, name, bytes."""
        described = [{"key": key, "name": name, "size": size} for key, name, size in files]
        self.uploads.receive({"kind": "offer", "page": self.name, "files": described})

    def choose(self, **files: tuple[str, bytes]) -> None:
        """Choose files, and send what is asked for until nothing more is."""
        self.data |= {key: data for key, (_, data) in files.items()}
        self.offer(*((key, name, len(data)) for key, (name, data) in files.items()))
        while self.told:
            self.send(self.told.pop(0))

    def send(self, asked: dict[str, Any]) -> None:
        key, offset = asked["key"], asked["offset"]
        piece = self.data[key][offset : offset + PIECE]
        self.uploads.receive({"kind": "chunk", "key": key, "offset": offset}, [memoryview(piece)])

    def say(self, key: str, kind: str, others: str = "", **fields: str) -> None:
        said = {"type": kind, "fields": fields, "others": others}
        self.uploads.receive({"kind": "say", "key": key, **said})

    def add(self, *, force: bool = False) -> None:
        """Press the button: with all that is ready, as the form has it."""
        files = {
            key: {"type": each.kind, "fields": each.fields, "others": each.others, "force": force}
            for key, each in self.uploads.files.items()
        }
        self.uploads.receive({"kind": "add", "files": files, "public": False})

    def file(self, key: str) -> dict[str, Any]:
        """What is shown of a file."""
        (found,) = [each for each in self.uploads.shown["files"] if each["key"] == key]
        return dict(found)


@pytest.fixture
def client(tmp_path: Path) -> LocalStorageClient:
    return LocalStorageClient(tmp_path / "store")


@pytest.fixture
def page(client: LocalStorageClient) -> Iterator[Page]:
    page = Page(client.store)
    yield page
    page.uploads.close()


def reads(mate: int) -> bytes:
    return gzip.compress(f"@pair/{mate}\nACGTACGT\n+\nIIIIIIII\n".encode())


def staged(client: LocalStorageClient) -> list[Path]:
    return [path for path in (client.store.root / "work").glob("upload-*/**/*") if path.is_file()]


def sorted_bam(folder: Path, sample: str) -> tuple[bytes, bytes]:
    """An alignment of one read, and its index."""
    path = str(folder / "made.bam")
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": "chr1", "LN": 1000}],
        "RG": [{"ID": "1", "SM": sample}],
    }
    with pysam.AlignmentFile(path, "wb", header=header) as file:
        read = pysam.AlignedSegment(file.header)
        read.query_name, read.query_sequence, read.reference_id, read.reference_start = "r", "ACGT", 0, 10
        read.cigarstring, read.mapping_quality = "4M", 60
        read.set_tag("RG", "1")
        file.write(read)
    pysam.index(path)
    return Path(path).read_bytes(), Path(f"{path}.bai").read_bytes()


def test_mates_are_proposed_by_their_names_and_linked(page: Page, client: LocalStorageClient) -> None:
    page.choose(b=("anna_L002_R2.fq.gz", reads(2)), a=("anna_L002_R1.fq.gz", reads(1)))

    assert page.file("a")["fields"] == page.file("b")["fields"] == {"sample": "anna", "lane": "L002"}
    assert page.file("b")["beside"] == "anna_L002_R1.fq.gz"
    page.add()

    first, second = page.uploads.records
    assert first.name == "anna_L002_R1.fq.gz"
    assert second.keyvalues["r1_cid"] == first.cid
    assert client.store.query({"sample": "anna"}) == [first, second]
    assert page.uploads.shown["files"] == staged(client) == []


def test_an_alignment_says_itself_what_it_is_and_its_index_goes_with_it(page: Page, tmp_path: Path) -> None:
    bam, bai = sorted_bam(tmp_path, "berta")
    page.choose(i=("x.bam.bai", bai), x=("x.bam", bam))

    assert page.file("x")["fields"] == {"sample": "berta", "sorted_by": "coordinate"}
    assert (page.file("i")["type"], page.file("i")["beside"]) == ("alignment_index", "x.bam")
    page.add()

    alignment, index = sorted(page.uploads.records, key=lambda record: record.name)
    assert index.keyvalues["alignment_cid"] == alignment.cid


def test_an_index_alone_says_what_it_needs(page: Page, tmp_path: Path) -> None:
    page.choose(i=("x.bam.bai", sorted_bam(tmp_path, "a")[1]))
    page.add()

    assert "alignment_cid" in page.file("i")["why"]
    assert page.uploads.records == []


def test_second_reads_alone_say_that_the_first_are_missing(page: Page) -> None:
    page.choose(b=("anna_R2.fq.gz", reads(2)))

    assert "first reads (R1) are not in this list" in page.file("b")["hint"]
    page.add()
    assert [record.keyvalues["asset"] for record in page.uploads.records] == ["r2"]


def test_what_is_refused_stays_until_it_is_corrected(page: Page, client: LocalStorageClient) -> None:
    page.choose(a=("GRCh38.fa", FASTA), b=("anna_1.fq", b"@x\nACGT\n+\nIIII\n"))
    page.say("b", "r1")
    page.uploads.files["b"].fields.clear()
    page.add()

    assert [record.name for record in page.uploads.records] == ["GRCh38.fa"]
    assert "sample" in page.file("b")["why"]
    assert "upload-" not in page.file("b")["why"]  # no path of ours
    assert [path.name for path in staged(client)] == ["anna_1.fq"]
    page.say("b", "r1", sample="anna")
    page.add()
    assert [record.name for record in page.uploads.records] == ["GRCh38.fa", "anna_1.fq"]


def test_a_damaged_alignment_is_refused_and_nothing_is_registered(
    page: Page, tmp_path: Path, client: LocalStorageClient
) -> None:
    bam, _ = sorted_bam(tmp_path, "anna")
    page.choose(x=("x.bam", bam[:-20]))
    page.say("x", "alignment", sample="anna")
    page.add()

    assert "x.bam" in page.file("x")["why"]
    assert page.file("x")["state"] == "ready"
    assert client.store.query({}) == []


def test_a_check_can_be_overruled_where_the_command_can(page: Page, tmp_path: Path) -> None:
    bam, _ = sorted_bam(tmp_path, "anna")
    page.choose(x=("x.bam", bam))
    page.say("x", "alignment", sample="berta")
    page.add()

    assert page.file("x")["force"], page.file("x")
    assert "--force" not in page.file("x")["why"]
    page.add(force=True)
    assert [record.keyvalues["sample"] for record in page.uploads.records] == ["berta"]


def test_a_file_whose_name_leaves_a_doubt_waits_for_a_type(page: Page) -> None:
    page.choose(a=("reads.fq", b"@r\nA\n+\nI\n"))
    assert page.file("a")["hint"] == "Its name does not tell what it is: choose its type."
    page.add()
    assert "choose its type" in page.file("a")["why"]
    page.say("a", "r1", sample="anna")
    page.add()
    assert [record.keyvalues["asset"] for record in page.uploads.records] == ["r1"]


def test_a_file_of_no_known_name_is_kept_as_it_is_unless_somebody_knows_better(page: Page) -> None:
    page.choose(a=("counts", FASTA), b=("genes of mine.xlsx", b"PK"))
    assert [page.file(key)["type"] for key in "ab"] == ["file", "file"]
    assert page.file("b")["fields"] == {"name": "genes of mine.xlsx"}
    page.say("a", "reference")
    assert page.file("a")["fields"] == {"build": "counts"}
    for others, refused in (("project=brca name=x", "name is said more than once"),
                            ("project", "'project' is no key=value"),
                            ("asset=reference", "asset is said more than once"),
                            ("a_cid=3", "'a_cid' cannot be a key of your own")):  # fmt: skip
        page.say("b", "file", others=others, name="genes of mine.xlsx", notes="by hand")
        page.add()
        assert refused in page.file("b")["why"]
    page.say("b", "file", others="project=brca 'owner=A B'", name="genes of mine.xlsx", notes="by hand")
    page.add()

    assert page.uploads.records[0].keyvalues["build"] == "counts"
    kept = page.uploads.records[-1].keyvalues
    assert kept.items() >= {"asset": "file", "project": "brca", "owner": "A B", "notes": "by hand"}.items()


def test_the_same_file_twice_is_said(page: Page, client: LocalStorageClient) -> None:
    page.choose(a=("tiny.fa", FASTA))
    page.add()
    page.choose(b=("tiny.fa", FASTA))
    page.add()

    assert [each["notes"] for each in page.uploads.shown["added"]] == [
        [],
        ["already registered: tiny.fa as build=tiny"],
    ]
    assert len(client.store.query({"asset": "reference"})) == 1


def test_two_files_of_one_name_do_not_mix(page: Page, client: LocalStorageClient) -> None:
    page.choose(a=("tiny.fa", FASTA), b=("tiny.fa", FASTA + b"ACGT\n"))
    page.say("b", "reference", build="other")
    page.add()

    assert sorted(record.size for record in page.uploads.records) == [len(FASTA), len(FASTA) + 5]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("two words.fa", "two words.fa"),
        ("Génome_日本.fa", "Génome_日本.fa"),
        ("../../x.fa", "x.fa"),
        ("C:\\data\\x.fa", "x.fa"),
        ("-rf.fa", "-rf.fa"),
        ("<b>&amp;.fa", "<b>&amp;.fa"),
        ("a\nb\x00\u202e.fa", "ab.fa"),
        (f"{'x' * 300}.fa", f"{'x' * 300}.fa"),
    ],
)
def test_odd_names_stay_names(page: Page, client: LocalStorageClient, given: str, name: str) -> None:
    page.choose(a=(given, FASTA))
    page.say("a", "reference", build="tiny")
    page.add()

    assert [record.name for record in page.uploads.records] == [name], page.uploads.shown
    assert not list(client.store.root.parent.glob("**/x.fa"))


@pytest.mark.parametrize("given", ["..", ".", "", "/", "\x00"])
def test_a_name_that_is_none_is_replaced(page: Page, given: str) -> None:
    page.offer(("a", given, 5))
    assert page.file("a")["name"] == "file"


def test_an_empty_file_is_refused_at_once(page: Page) -> None:
    page.offer(("a", "x.fa", 0))
    assert page.file("a")["why"] == "'x.fa' is empty: choose the file that has the data"
    assert page.told == []


def test_a_file_that_the_disk_has_no_room_for_is_refused_before_a_byte_is_sent(page: Page) -> None:
    page.offer(("a", "x.bam", TOO_LARGE), ("b", "y.fa", 5))

    assert "the disk of the store has room for" in page.file("a")["why"]
    assert page.told == [{"kind": "next", "key": "b", "offset": 0}]


def test_files_that_are_on_their_way_count(page: Page) -> None:
    status = os.statvfs(page.uploads.store.root.parent)
    free = status.f_bavail * status.f_frsize
    page.offer(("a", "x.bam", int(free * 0.3)), ("b", "y.bam", int(free * 0.3)))

    assert (page.file("a")["state"], page.file("b")["state"]) == ("arriving", "refused")


def test_a_disk_that_fills_up_meanwhile_is_said(page: Page) -> None:
    page.data["a"] = FASTA
    page.offer(("a", "x.fa", len(FASTA)))
    path = page.uploads.files["a"].path
    path.unlink()
    path.symlink_to("/dev/full")
    page.send(page.told.pop())

    assert "the disk is full: free some space" in page.file("a")["why"]
    assert not path.is_symlink()


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in its place")
    page = Page(LocalStorageClient(tmp_path / "file" / "store").store)
    page.offer(("a", "x.fa", 5))

    assert "cannot" in page.file("a")["why"]
    assert page.file("a")["state"] == "refused"


def test_a_file_that_grew_or_shrank_is_not_taken(page: Page, client: LocalStorageClient) -> None:
    page.offer(("a", "x.fa", 5), ("b", "y.fa", 5))
    page.uploads.receive({"kind": "chunk", "key": "a", "offset": 0}, [b"123456"])
    page.uploads.receive({"kind": "chunk", "key": "b", "offset": 0}, [b""])

    for key in "ab":
        assert "changed while it was read: choose it again" in page.file(key)["why"]
    assert staged(client) == []


def test_what_the_browser_cannot_read_is_said(page: Page, client: LocalStorageClient) -> None:
    page.offer(("a", "x.fa", 5))
    page.uploads.receive({"kind": "unreadable", "key": "a", "why": "The browser cannot read x.fa"})

    assert page.file("a")["why"] == "The browser cannot read x.fa"
    assert staged(client) == []


def test_a_piece_that_comes_twice_or_too_late_is_passed_over(page: Page) -> None:
    page.offer(("a", "x.fa", 10))
    for _ in range(2):
        page.uploads.receive({"kind": "chunk", "key": "a", "offset": 0}, [b"12345"])
    assert page.uploads.files["a"].received == 5
    page.uploads.receive({"kind": "drop", "key": "a"})
    page.uploads.receive({"kind": "chunk", "key": "a", "offset": 5}, [b"67890"])
    assert page.uploads.shown["files"] == []


def test_a_page_that_lost_the_connection_asks_where_to_go_on(page: Page) -> None:
    page.offer(("a", "x.fa", 10))
    page.uploads.receive({"kind": "chunk", "key": "a", "offset": 0}, [b"12345"])
    page.told.clear()
    page.uploads.receive({"kind": "where", "key": "a"})
    page.uploads.receive({"kind": "where", "key": "unknown"})
    assert page.told == [{"kind": "next", "key": "a", "offset": 5}]


def test_cancelling_removes_the_bytes(page: Page, client: LocalStorageClient) -> None:
    page.offer(("a", "x.fa", 10))
    page.uploads.receive({"kind": "chunk", "key": "a", "offset": 0}, [b"12345"])
    assert len(staged(client)) == 1
    page.uploads.receive({"kind": "drop", "key": "a"})
    assert staged(client) == []


def test_a_page_that_is_opened_again_says_what_did_not_arrive(page: Page, client: LocalStorageClient) -> None:
    page.choose(whole=("tiny.fa", FASTA))
    page.offer(("half", "x.bam", 10))
    page.uploads.receive({"kind": "hello", "page": "another"})

    assert [each["key"] for each in page.uploads.shown["files"]] == ["whole"]
    assert "closed before 'x.bam' had arrived" in page.uploads.shown["note"]
    assert [path.name for path in staged(client)] == ["tiny.fa"]


def test_two_pages_at_once(client: LocalStorageClient) -> None:
    one, other = Page(client.store, "one"), Page(client.store, "other")
    one.data, other.data = {"a": FASTA * 9}, {"a": FASTA + b"ACGTACGTACGTACGT\n" * 15}
    for page in (one, other):
        page.offer(("a", "tiny.fa", len(page.data["a"])))
    while one.told or other.told:
        for page in (one, other):
            if page.told:
                page.send(page.told.pop())
    one.uploads.close()
    other.add()

    assert [record.size for record in other.uploads.records] == [len(FASTA) + 255]
    assert staged(client) == []
    other.uploads.close()
    assert list((client.store.root / "work").iterdir()) == []


def test_what_a_killed_kernel_left_goes_when_the_next_one_takes_files(tmp_path: Path) -> None:
    client = LocalStorageClient(tmp_path / "store")
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        from stargazer.storage import LocalStorageClient
        from stargazer.workflows.notebook.uploads import Uploads
        uploads = Uploads(LocalStorageClient(Path(sys.argv[1])).store, print)
        uploads.receive({"kind": "offer", "page": "p", "files": [{"key": "a", "name": "x.fa", "size": 10}]})
        uploads.receive({"kind": "chunk", "key": "a", "offset": 0}, [b"12345"])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", code, str(client.store.root)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [path.read_bytes() for path in staged(client)] == [b"12345"]

    page = Page(client.store)
    page.offer(("a", "y.fa", 5))
    assert [path.name for path in staged(client)] == ["y.fa"]
    page.uploads.close()


def test_a_path_of_this_machine_is_added_where_that_is_allowed(
    client: LocalStorageClient, tmp_path: Path
) -> None:
    path = tmp_path / "my genome.fa"
    path.write_bytes(FASTA)
    page = Page(client.store, paths=True)
    page.uploads.receive({"kind": "path", "path": f" {path} "})
    page.add()

    assert [record.name for record in page.uploads.records] == ["my genome.fa"]
    assert path.read_bytes() == FASTA
    for wrong, said in {str(tmp_path / "none"): "no such file", str(tmp_path): "is a folder"}.items():
        page.uploads.receive({"kind": "path", "path": wrong})
        assert said in page.uploads.shown["note"]


def test_a_path_is_not_read_for_those_who_only_see_an_app(page: Page, tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_bytes(FASTA)
    page.uploads.receive({"kind": "path", "path": str(tmp_path / "x.fa")})
    assert page.uploads.shown["files"] == []


def test_too_many_files_are_refused_in_words(page: Page) -> None:
    page.offer(*((str(number), f"{number}.fa", 5) for number in range(201)))
    assert "201 files are more than the 200" in page.uploads.shown["note"]
    assert page.uploads.shown["files"] == []


def test_every_type_has_a_form() -> None:
    forms = type_forms()

    assert set(forms) == set(REGISTRY) - {"provenance"}
    fields = {field["name"]: field for field in forms["alignment"]["fields"]}
    assert fields["sample"]["needed"]
    assert fields["reference_cid"]["link"] == "reference"
    assert fields["sorted_by"]["choices"] == ["coordinate", "queryname", "unsorted"]
    assert fields["recalibrated"] == {
        "name": "recalibrated",
        "needed": False,
        "link": "",
        "choices": ["false", "true"],
        "default": "false",
    }


def test_a_file_that_was_refused_leaves_its_place_to_the_next_of_its_name(
    page: Page, client: LocalStorageClient
) -> None:
    page.offer(("old", "x.fa", 5))
    page.uploads.receive({"kind": "chunk", "key": "old", "offset": 0}, [b"123456"])
    page.told.clear()
    page.choose(new=("x.fa", FASTA))
    page.uploads.receive({"kind": "drop", "key": "old"})
    page.add()

    assert client.store.read(page.uploads.records[0].cid).read_bytes() == FASTA


def test_bytes_that_somebody_took_away_meanwhile_are_not_added(
    page: Page, client: LocalStorageClient
) -> None:
    page.offer(("a", "x.fa", 10))
    page.uploads.receive({"kind": "chunk", "key": "a", "offset": 0}, [b">x\nAC"])
    staged(client)[0].write_bytes(b"")
    page.uploads.receive({"kind": "chunk", "key": "a", "offset": 5}, [b"GTACG"])

    assert page.file("a")["why"] == "'x.fa' arrived with 5 bytes of 10: choose it again"


def test_force_is_for_what_a_check_refused_as_this_type(page: Page, tmp_path: Path) -> None:
    bam, _ = sorted_bam(tmp_path, "anna")
    page.choose(x=("x.bam", bam))
    page.say("x", "alignment", sample="berta")
    page.add(force=True)

    assert page.uploads.records == []
    page.say("x", "file")
    page.add(force=True)
    assert [record.keyvalues["asset"] for record in page.uploads.records] == ["file"]


def test_of_files_that_go_together_the_one_that_is_wrong_says_so(page: Page, tmp_path: Path) -> None:
    bam, _ = sorted_bam(tmp_path, "anna")
    page.choose(x=("x.bam", bam), y=("x.bam.bai", b"no index"))
    page.add()

    assert page.file("y")["why"].startswith("'x.bam.bai'"), page.file("y")
    assert page.file("x")["why"] == "It goes with 'x.bam.bai', and is added together with it."


def test_what_could_not_be_checked_is_said_on_the_page_that_added_it(page: Page, tmp_path: Path) -> None:
    path = str(tmp_path / "bare.bam")
    with pysam.AlignmentFile(path, "wb", header={"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr1", "LN": 9}]}):
        pass
    page.choose(x=("bare.bam", Path(path).read_bytes()))
    page.say("x", "alignment", sample="anna")
    page.add()

    notes = page.uploads.shown["added"][0]["notes"]
    assert "'bare.bam' is registered without a check of sample=anna: its header names no sample" in notes[0]


def test_a_fault_of_ours_leaves_the_form_as_it_was(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(page.uploads, "_changed", lambda: shown.append(page.file("a")["why"]))
    monkeypatch.setattr(page.uploads.store, "add", lambda *_, **__: 1 // 0)
    page.choose(a=("tiny.fa", FASTA))
    with pytest.raises(ZeroDivisionError):
        page.add()

    assert shown[-1] == "Stargazer failed at this; the terminal of the notebook says how."
    assert page.file("a")["state"] == "ready"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"kind": "offer"},
        {"kind": "offer", "files": "x.fa"},
        {"kind": "offer", "files": [None, {"key": "k"}, {"key": "k", "name": "x", "size": "many"}]},
        {"kind": "offer", "files": [{"key": "k", "name": "x", "size": 10**400}]},
        {"kind": "say", "key": "a", "type": 7, "fields": ["sample"]},
        {"kind": "say", "key": "a", "type": "file", "fields": {"asset": "reference", "build": "x"}},
        None,
        ["offer"],
        {"kind": "add", "files": [1]},
        {"kind": "add", "files": {"a": None}},
        {"kind": "chunk", "key": "a"},
        {"kind": "where", "key": None},
    ],
)
def test_messages_of_another_shape_do_no_harm(page: Page, client: LocalStorageClient, message: Any) -> None:
    page.choose(a=("x.dat", FASTA))
    page.uploads.receive(message)

    assert {each["state"] for each in page.uploads.shown["files"]} <= {"ready"}
    assert len(page.uploads.shown["files"]) + len(page.uploads.records) == 1


def test_what_is_said_of_a_file_that_was_refused_is_passed_over(page: Page) -> None:
    page.offer(("a", "x.bam", 5))
    page.uploads.receive({"kind": "chunk", "key": "a", "offset": 0}, [b"123456"])
    page.say("a", "alignment", sample="anna")
    assert page.file("a")["state"] == "refused"


def test_nothing_is_taken_after_the_end(page: Page, client: LocalStorageClient) -> None:
    page.uploads.close()
    page.offer(("a", "x.fa", 5))

    assert page.told == page.uploads.shown["files"] == staged(client) == []


def test_a_name_that_looks_like_a_list_stays_a_name(page: Page) -> None:
    page.choose(a=("[2024]", FASTA))
    assert page.file("a")["fields"] == {"name": "[2024]"}
