"""`stargazer completion`: what is offered after the words of a line, and that real shells take it over."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import VERBS, main
from stargazer.mcp.cli.completion import SHELLS, TAKES, offered
from stargazer.mcp.cli.offers import SOURCES
from stargazer.storage import Settings
from stargazer.workflows import new_run

from .command import Command

DEADLINE = 30.0
"""Seconds for what takes one; nothing is decided by them."""

Records = dict[str, dict[str, Any]]


def words(*line: str) -> set[str]:
    """What is offered for the last word of a line."""
    return {word for word, _ in offered(line)}


# what is offered


def test_verbs_and_options_are_those_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert words("") == {*VERBS, "--help", "--version"}
    assert words("que") == {"query"}
    assert words("nonsense", "") == set()
    assert dict(offered(["que"]))["query"] == VERBS["query"]
    assert words("query", "--") == {"--json", "--superseded"}
    assert words("query", "--json", "--") == {"--superseded"}
    for verb in VERBS:
        with contextlib.suppress(SystemExit):
            main([verb, "--help"])
        said = capsys.readouterr().out
        assert all(f" {word}" in said for word in words(verb, "--")), verb


def test_every_verb_that_takes_words_says_which() -> None:
    for verb in set(VERBS) - {"serve", "config", "doctor", "fsck", "gc"}:
        assert TAKES[verb], verb
    assert {verb.split()[0] for verb in TAKES} <= set(VERBS)
    listed = {source for sources in TAKES.values() for source in sources}
    assert listed - SOURCES.keys() == {"scrna", *SHELLS}


def test_keys_and_values_are_those_that_records_have(store: Records) -> None:
    assert {"asset=", "sample=", "lane=", "build="} <= words("query", "")
    assert words("get", "lane=") == {"lane=L1", "lane=L2"}
    assert words("query", "asset=r", "sample=NA") == {"sample=NA12878"}
    assert words("query", "nothing=") == set()
    cid = store["reference"]["cid"]
    assert cid in words("why", cid[:10])
    assert words("bundle", "fetch", "demo", "--only", "lane=L1") == {"lane=L1"}


def test_members_of_lists_are_offered_one_by_one(
    stargazer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    header = "##fileformat=VCFv4.2\n##contig=<ID=c,length=9>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT"
    Path("x.vcf").write_text(f"{header}\tNA1\tNA2\tB 3;$(x)\n")
    assert stargazer("add", "x.vcf", "build=x")[0] == 0
    assert words("query", "samples=NA") == {"samples=NA1", "samples=NA2"}
    assert words("query", "samples=NA1,") == {
        "samples=NA1,NA1",
        "samples=NA1,NA2",
    }  # and none that a shell would read


def test_where_there_is_no_store_none_is_made_and_nothing_is_offered() -> None:
    assert words("query", "") == set()
    assert not Path(os.environ["STARGAZER_LOCAL"]).exists()


def test_a_damaged_index_and_a_wrong_setting_offer_nothing(
    store: Records, monkeypatch: pytest.MonkeyPatch, stargazer: Command
) -> None:
    for path in Path(os.environ["STARGAZER_LOCAL"]).glob("index.sqlite*"):
        path.write_text("no database" * 100)
    assert words("query", "sample=") == set()
    monkeypatch.setenv("STARGAZER_MODE", "clowd")
    status, out, _ = stargazer("completion", "--offer", "--", "query", "sample=")
    assert (status, out) == (0, "")


def test_workflows_their_arguments_and_choices(store: Records) -> None:
    assert "germline_short_variant_discovery" in words("run", "")
    assert words("run", "prepare_reference", "") == {"build=", "contigs=", "aligner=", "indexer="}
    assert words("run", "prepare_reference", "build=GRCh38", "al") == {"aligner="}
    assert words("run", "prepare_reference", "aligner=bwa") == {"aligner=bwa", "aligner=bwa-mem3"}
    assert words("run", "prepare_reference", "build=") == {"build=GRCh38"}
    assert words("run", "prepare_reference", "--refresh-task", "samtools_fa") == {"samtools_faidx"}
    assert words("run", "prepare_reference", "--outdir", "") == words("run", "--outdir=") == {":folders"}
    assert "gatk" in words("install", "")
    assert words("mcp", "") == {"config"}
    assert {"claude-code", "vscode"} <= words("mcp", "config", "")
    assert words("add", "x.fa", "asset=referen") == {
        "asset=reference",
        "asset=reference_gzi",
        "asset=reference_index",
    }
    assert words("add", "x.fa", "asset=reference", "bu") == {"build=", ":files"}
    assert words("add", "--", "x") == {":files"}


def test_what_takes_long_to_find_out_is_kept_until_the_installation_changes(store: Records) -> None:
    kept = Settings.load().home / "caches" / "completion.json"
    assert not kept.exists()
    words("run", "")
    known = json.loads(kept.read_bytes())
    known["workflows"] = {"kept": {"about": "", "arguments": {}}}
    kept.write_text(json.dumps(known))
    assert words("run", "") == {"kept"}
    known["times"][next(iter(known["times"]))] = 0
    kept.write_text(json.dumps(known))
    assert "prepare_reference" in words("run", "")
    kept.write_text('{"prefix"')
    assert "prepare_reference" in words("run", "")


def test_runs_with_which_an_action_has_something_to_do(stargazer: Command) -> None:
    done, going = (new_run("flow", {}, detached=True) for _ in range(2))
    done.state = "failed"
    done.save()
    done.release()
    (done.logs / "2026-11-30T120000-77-001-mark_duplicates.log").write_text("")
    assert words("runs", "") == {"show", "logs", "watch", "cancel", "resume", "rm"}
    assert words("runs", "show", "") == {"last", done.id, going.id}
    assert words("runs", "cancel", "") == {going.id}
    assert words("runs", "resume", "") == words("runs", "rm", "") == {done.id}
    assert words("runs", "logs", done.id, "") == {"mark_duplicates"}
    assert words("runs", "watch", done.id, "") == set()
    assert words("runs", "resume", done.id, "--") == {"--detach", "--json"}
    assert dict(offered(["runs", "show", ""]))[done.id].startswith("failed flow 20")
    assert words("bundle", "make", "x", "--run", "") == {done.id, going.id}
    assert "demo" in words("bundle", "fetch", "")
    going.release()


def test_which_shell(stargazer: Command) -> None:
    status, _, err = stargazer("completion", "tcsh")
    assert status == 2
    assert "say for which shell: bash, zsh, fish" in err


def test_what_may_come_next_is_found_without_heavy_imports(store: Records) -> None:
    words("run", "")
    code = (
        "import sys; from stargazer.mcp.cli.completion import offered\n"
        "for line in (['query', 'sample='], ['run', ''], ['runs', 'show', ''], ['add', 'asset='], ['get', 'baf']):\n"
        "    assert offered(line), line\n"
        "print({'stargazer.storage.store', 'stargazer.assets.catalogue', 'stargazer.tasks', 'tinydb', 'rich', 'flyte', "
        "'numpy', 'asyncio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.stdout == "set()\n", done.stderr


# real shells, in a terminal

START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
LOAD = {
    "bash": "source <(stargazer completion bash)",
    "zsh": "autoload -Uz compinit; compinit -u -D; source <(stargazer completion zsh)",
    "fish": "stargazer completion fish | source",
}


@contextlib.contextmanager
def shell(name: str) -> Iterator[int]:
    """A shell that has loaded the script, in a terminal of its own: what its keyboard and screen are read through."""
    main_end, other = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "HOME": os.getcwd(), "COLUMNS": "200", "LC_ALL": "C.UTF-8",
                   "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    own = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", own, *START[name]],
        stdin=other,
        stdout=other,
        stderr=other,
        env=environment,
        start_new_session=True,
    )
    os.close(other)
    try:
        os.write(main_end, f"{LOAD[name]}; echo read''y\n".encode())
        until(main_end, "ready\r\n")
        yield main_end
    finally:
        process.kill()
        process.wait()
        os.close(main_end)


def until(terminal: int, text: str) -> str:
    """What a terminal shows until it shows a text."""
    shown = ""
    while text not in shown:
        assert select.select([terminal], [], [], DEADLINE)[0], shown
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


@pytest.mark.parametrize(
    "name",
    ["bash", *(pytest.param(name, marks=pytest.mark.debian(name)) for name in ("zsh", "fish"))],
)
def test_a_shell_completes_what_is_written(name: str, store: Records) -> None:
    Path("folder x").mkdir()
    Path("a folder").mkdir()
    run = new_run("flow", {}, detached=True)
    typed = {
        "que": "query",
        "runs cancel ": f"runs cancel {run.id}",
        "query lane=L1 sam": "query lane=L1 sample=",
        "query sample=NA1": "query sample=NA12878",
        "run prepa": "run prepare_reference",
        "run prepare_reference aligner=n": "run prepare_reference aligner=none",
        "get L1_R1": "get L1_R1.fq",
        "get --to fo": "get --to folder x",
    }
    with shell(name) as terminal:
        for line, completed in typed.items():
            # what is completed becomes the words of another command, which shows them
            os.write(terminal, f"stargazer {line}\t".encode() + b"\x01printf '<%s>' \x05\n")
            words = [word.replace("\0", " ") for word in completed.replace("folder x", "folder\0x").split()]
            until(terminal, f"<stargazer><{'><'.join(words)}")
    run.release()
