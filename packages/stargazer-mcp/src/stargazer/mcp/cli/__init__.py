"""The `stargazer` command: finds the verb, imports its module, runs it, and turns errors into exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

__all__ = ["VERBS", "main", "module_of", "serve_or_main", "verb_function"]

FAILED, MISUSED = 1, 2  # exit statuses; 128 + n after signal n

VERBS = {
    "demo": "simulate a family, call its variants, compare with the truth: start here",
    "notebook": "explore in marimo: the gallery of notebooks, copied to a folder of yours",
    "add": "register files (or a URL) with what they are",
    "samplesheet": "make a sample sheet of a folder of FASTQ files or counts",
    "query": "list registered files",
    "get": "copy files out, under names people read",
    "amend": "correct what is said of a registered file",
    "rm": "take a registration back",
    "why": "how a file came to be, back to what was imported",
    "diff": "where the ways of two files part, and how they differ",
    "stale": "what was computed from a file, with a tool or by a task",
    "claims": "check statements about files against the files",
    "supersede": "use one file instead of another from now on",
    "run": "run a workflow; without a name, list them",
    "runs": "list what was run; watch, cancel, resume or remove a run",
    "promote-task": "move a task from a notebook into the package, with a test",
    "push": "send files to Pinata, with their provenance",
    "pull": "bring files from Pinata, with their provenance",
    "verify": "read files in full and compare them with their CIDs",
    "fsck": "check the store, repair what can be repaired",
    "gc": "remove bytes that no record refers to",
    "evict": "drop bytes that can be had again, keep their records",
    "replay": "compute a capsule again from its imports, and compare",
    "bundle": "files that travel together: make, list, show, fetch, verify",
    "config": "every setting, where it comes from, and what follows from it",
    "install": "bring the files of a tool that are downloaded at first use",
    "doctor": "check this installation",
    "completion": "have bash, zsh or fish complete what you write",
    "serve": "serve MCP over stdio or HTTP, for agents",
    "mcp": "what makes an agent's client start the server",
}
"""Every verb, whose module and function have its name, an underscore for a hyphen, and its line in the help.

Where it fails, it returns 1."""

QUIET = ("completion", "demo", "doctor", "fsck", "install", "mcp", "notebook", "runs", "serve")
"""Verbs that say what is wrong with the index in their own way, or answer nothing from a store."""

EXAMPLE = """\
for example:
  stargazer demo
  stargazer add GRCh38.fa build=GRCh38
  stargazer add reads_R1.fq.gz reads_R2.fq.gz sample=NA12878 lane=L001
  stargazer run germline_short_variant_discovery samples=NA12878 build=GRCh38 --outdir results
  stargazer run germline_short_variant_discovery --samplesheet samples.csv build=GRCh38 --outdir results

`stargazer VERB --help` says more; `stargazer completion` has your shell complete what you write.

exit status: 0 done; 1 an error, or something is not well; 2 a wrong command line; 128 + n ended by signal n"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; errors are one text on stderr, never a traceback."""
    try:
        import signal

        from stargazer.mcp.cli.console import explain, fail, forget_stdout, plain_warnings, settle_streams
    except KeyboardInterrupt:  # while the first modules are imported
        return 130
    settle_streams()
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        with plain_warnings():
            status = _call(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        fail("interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        forget_stdout()
        return 128 + signal.SIGPIPE
    except Exception as error:
        explain(error)
        return FAILED
    finally:
        signal.signal(signal.SIGTERM, previous)


def serve_or_main() -> int:
    """The command `stargazer-mcp`: without words it serves a client's pipes; else it is `stargazer`."""
    alone = len(sys.argv) == 1 and sys.stdin is not None and not sys.stdin.isatty()
    return main(["serve"] if alone else None)


def _call(argv: list[str]) -> int:
    if argv[:1] == ["help"] and argv[1:]:
        argv = [argv[1], "--help"]
    if not argv or argv[0] in ("-h", "--help", "help"):
        lines = "".join(f"  {name:12} {line}\n" for name, line in VERBS.items())
        title = "usage: stargazer VERB ...\n\nReads in, variants out: typed, verified, traceable."
        sys.stdout.write(f"{title}\n\n{lines}\n{EXAMPLE}\n")
        return 0
    if argv[0] in ("-V", "--version"):
        from importlib.metadata import version

        sys.stdout.write(f"stargazer {version('stargazer-mcp')}\n")
        return 0
    name, *rest = argv
    if name not in VERBS:
        import difflib

        from stargazer.mcp.cli.console import fail

        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(VERBS)}"
        fail(f"unknown verb {name!r}; {hint}")
        return MISUSED
    status = verb_function(name)(rest)
    if name not in QUIET and "--detach" not in rest:  # of a run that goes on, its process says it
        _say_doubt()
    return status or 0


def module_of(verb: str) -> str:
    """The name of the module that has a verb."""
    return f"stargazer.mcp.cli.{verb.replace('-', '_')}"


def verb_function(verb: str) -> Callable[[Sequence[str]], int | None]:
    """The function of a verb, which takes its words and gives an exit status."""
    import importlib

    module = module_of(verb)
    function: Callable[[Sequence[str]], int | None] = getattr(
        importlib.import_module(module), module.rpartition(".")[2]
    )
    return function


def _say_doubt() -> None:
    """Say what is wrong with the index to those whose verb did not ask it: opening it says so already."""
    from stargazer.assets import StargazerError
    from stargazer.mcp.cli.console import note
    from stargazer.storage import get_client

    try:
        store = get_client().store
        if not store.is_open and (said := store.doubt()) and not store.is_open:
            note(f"stargazer: warning: {said}")
    except StargazerError:  # of the settings
        pass


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
