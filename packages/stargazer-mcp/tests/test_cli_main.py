"""The command itself: help, exit statuses, and what it leaves alone."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import pytest
from stargazer.mcp.cli import VERBS, main
from stargazer.mcp.cli.completion import parser_of
from stargazer.mcp.cli.console import Parser
from stargazer.workflows import new_run

HEAVY = {"fastmcp", "flyte", "matplotlib", "numpy", "pysam", "requests", "rich"}


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["stargazer", "stargazer-mcp"])
def test_the_command_is_installed(name: str) -> None:
    command = Path(sysconfig.get_path("scripts")) / name
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("stargazer ")


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_has_a_line_for_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert "for example:" in out


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"demo", "run"}))
def test_every_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([verb, "--help"])
    assert raised.value.code == 0
    assert f"stargazer {verb}" in capsys.readouterr().out.partition("for example:")[2] or verb == "serve"


def described(verb: str) -> Parser:
    parser = parser_of(verb)
    assert parser is not None
    return parser


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_a_verb_can_be_typed_and_its_usage_is_complete(verb: str) -> None:
    parser = described(verb)
    examples = [shlex.split(line, comments=True) for line in str(parser.epilog).splitlines()[1:]]
    assert examples
    for words in examples:
        named = [
            number for number, word in enumerate(words) if word in VERBS and "stargazer" in words[number - 1]
        ]
        assert named, words
        described(words[named[0]]).sort(
            [word.rstrip(")") for word in words[named[0] + 1 :]]
        )  # exits if it cannot be
    usage = set(re.findall(r"(?<!\w)--?[a-z][a-z0-9-]*", str(parser.usage)))
    shown = [action for action in parser.flags if action.help != argparse.SUPPRESS and action.dest != "help"]
    assert [action.option_strings for action in shown if not usage.intersection(action.option_strings)] == []
    assert usage <= {flag for action in parser.flags for flag in action.option_strings}


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"completion", "mcp", "serve"}))
def test_every_verb_answers_programs(verb: str) -> None:
    assert "--json" in {flag for action in described(verb).flags for flag in action.option_strings}


def test_help_says_what_exit_statuses_mean(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "exit status: 0 done; 1 an error" in capsys.readouterr().out


def test_an_unknown_verb_is_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quary"]) == 2
    assert "did you mean 'query'" in capsys.readouterr().err


def test_an_option_that_is_not_known_has_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in ((["query", "--jsn"], "unrecognized arguments: --jsn: did you mean --json?"),
                        (["gc", "--to=x"], "unrecognized arguments: --to=x (")):  # fmt: skip
        with pytest.raises(SystemExit) as raised:
            main(words)
        assert raised.value.code == 2
        assert said in capsys.readouterr().err


def test_help_takes_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["help", "query"])
    assert capsys.readouterr().out.startswith("usage: stargazer query ")
    assert main(["help", "quary"]) == 2


@pytest.mark.parametrize(
    "words", [["query"], ["add", "x_R1.fq", "sample=S"], ["rm", "sample=S"], ["why", "x_R1.fq"]]
)
def test_light_verbs_stay_light(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x_R1.fq").write_text("@r\nACGT\n+\nIIII\n")
    main(["add", "x_R1.fq", "sample=S"])
    code = f"import sys; from stargazer.mcp.cli import main; main({words!r}); print({HEAVY!r} & set(sys.modules))"
    assert python(code).splitlines()[-1] == "set()"


def test_help_of_a_verb_loads_neither_a_store_nor_the_types_of_assets() -> None:
    code = """
import contextlib, io, sys
from stargazer.mcp.cli import VERBS, main
for verb in VERBS.keys() - {"run"}:  # which looks at the store afterwards
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([verb, "--help"])
print({"sqlite3", "stargazer.storage.store", "stargazer.assets.catalogue"} & set(sys.modules))
"""
    assert python(code) == "set()\n"


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "stargazer.mcp.cli", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE


def test_a_reader_that_leaves_in_mid_answer_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(
        "PYTHONUNBUFFERED", raising=False
    )  # with it Python itself takes a cut write for a whole one
    run = new_run("flow", {}, detached=True)
    (run.logs / "2026-11-30T120000-77-001-chatty.log").write_text("0123456789" * 100_000)
    run.release()
    for words in (["runs", "logs", run.id], ["runs", "logs", run.id, "--json"]):
        command = [sys.executable, "-m", "stargazer.mcp.cli", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 128 + signal.SIGPIPE)
        process.stderr.close()


def test_a_closed_stdout_is_no_error() -> None:
    command = f"exec {sys.executable} -m stargazer.mcp.cli query --json >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def warns(argv: list[str]) -> int:
        warnings.warn("record 7 is odd", stacklevel=1)
        return 0

    monkeypatch.setattr("stargazer.mcp.cli.query.query", warns)
    assert main(["query"]) == 0
    assert capsys.readouterr().err == "stargazer: warning: record 7 is odd\n"


def test_the_unexpected_is_one_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(argv: list[str]) -> int:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("stargazer.mcp.cli.query.query", broken)
    assert main(["query"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    kept = Path(error.rpartition("traceback: ")[2].rstrip(")\n"))
    assert "ZeroDivisionError: boom" in kept.read_text()


def test_the_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARGAZER_DEBUG", "1")
    with pytest.raises(ValueError, match="reads"):
        main(["query", "asset=reads"])


def test_a_wrong_setting_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STARGAZER_MODE", "clowd")
    assert main(["query"]) == 1
    assert "STARGAZER_MODE" in capsys.readouterr().err


def test_a_damaged_store_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    store = Path(os.environ["STARGAZER_LOCAL"])
    store.mkdir(parents=True)
    (store / "index.sqlite").write_text("this is no database" * 100)
    assert main(["query"]) == 1
    error = capsys.readouterr().err
    assert "index.sqlite" in error
    assert "unexpected" not in error


def test_the_readme_has_every_verb() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    assert set(VERBS) <= {cell.split()[0].strip("`") for row in rows for cell in row[2:].split(", ")}


def test_stargazer_mcp_is_the_server_for_pipes_alone(tmp_path: Path) -> None:
    command = Path(sysconfig.get_path("scripts")) / "stargazer-mcp"
    ask = '{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    served = subprocess.run([command], input=ask, capture_output=True, text=True, timeout=300)
    assert (served.stdout, served.stderr, served.returncode) == (
        '{"jsonrpc":"2.0","id":1,"result":{}}\n', "", 0
    )  # fmt: skip
    verb = subprocess.run([command, "query"], input=ask, capture_output=True, text=True, timeout=300)
    assert verb.stdout == ""
    assert "stargazer add" in verb.stderr
    terminal, other = os.openpty()
    helped = subprocess.run([command], stdin=other, capture_output=True, text=True, timeout=300)
    os.close(terminal)
    os.close(other)
    assert helped.stdout.startswith("usage: stargazer VERB")
