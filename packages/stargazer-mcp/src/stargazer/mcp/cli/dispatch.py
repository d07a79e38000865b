"""From the command line to the verb, and from whatever goes wrong to one line and an exit status."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from stargazer.assets import StargazerError
from stargazer.assets.addresses import hidden
from stargazer.mcp.cli.output import fail, note, plain_warnings, settle_streams

__all__ = ["VERBS", "dispatch", "kept_traceback"]

FAILED, MISUSED = 1, 2  # exit statuses; 128 + n after signal n

VERBS = {
    "demo": ("demo", "simulate a family, call its variants, compare with the truth: start here"),
    "add": ("adding", "register files (or a URL) with what they are"),
    "query": ("finding", "list registered files"),
    "get": ("finding", "copy files out, under names people read"),
    "amend": ("amend", "correct what is said of a registered file"),
    "rm": ("finding", "take a registration back"),
    "why": ("lineage", "how a file came to be, back to what was imported"),
    "diff": ("lineage", "where the ways of two files part, and how they differ"),
    "stale": ("staleness", "what was computed from a file, with a tool or by a task"),
    "supersede": ("staleness", "use one file instead of another from now on"),
    "run": ("running", "run a workflow; without a name, list them"),
    "push": ("transferring", "send files to Pinata, with their provenance"),
    "pull": ("transferring", "bring files from Pinata, with their provenance"),
    "verify": ("upkeep", "read files in full and compare them with their CIDs"),
    "fsck": ("upkeep", "check the store, repair what can be repaired"),
    "gc": ("upkeep", "remove bytes that no record refers to"),
    "evict": ("upkeep", "drop bytes that can be had again, keep their records"),
    "replay": ("reproducing", "compute a capsule again from its imports, and compare"),
    "bundle": ("bundling", "files that travel together: make, list, show, fetch, verify"),
    "config": ("configuring", "every setting, where it comes from, and what follows from it"),
    "doctor": ("doctor", "check this installation"),
    "serve": ("serving", "serve MCP over stdio, for agents"),
}
"""Verb to the module that holds it and its line in the help."""

QUIET = ("demo", "doctor", "fsck", "serve")
"""Verbs that say what is wrong with the index in their own way, or answer nothing from a store."""

EXAMPLE = """\
for example:
  stargazer demo
  stargazer add GRCh38.fa build=GRCh38
  stargazer add reads_R1.fq.gz reads_R2.fq.gz sample=NA12878 lane=L001
  stargazer run germline_short_variant_discovery samples=NA12878 build=GRCh38 --outdir results

`stargazer VERB --help` says more."""


def dispatch(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; errors are one text on stderr, never a traceback."""
    settle_streams()
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        with plain_warnings():
            status = _dispatch(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
            return status
    except StargazerError as error:
        if os.environ.get("STARGAZER_DEBUG"):
            raise
        fail(error.explain())
        return FAILED
    except KeyboardInterrupt:
        fail("interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _forget_stdout()
        return 128 + signal.SIGPIPE
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and _in_output(error):
            _forget_stdout()
            fail(f"the answer cannot be written: {error.strerror}")
            return FAILED
        if os.environ.get("STARGAZER_DEBUG"):
            raise
        if isinstance(error, OSError):
            fail(_refused(error))
            return FAILED
        fail(f"unexpected {type(error).__name__}: {error}{kept_traceback()}")
        return FAILED
    finally:
        signal.signal(signal.SIGTERM, previous)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0
    if argv[0] in ("-V", "--version"):
        from importlib.metadata import version

        sys.stdout.write(f"stargazer {version('stargazer-mcp')}\n")
        return 0
    name, *rest = argv
    if name not in VERBS:
        import difflib

        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(VERBS)}"
        fail(f"unknown verb {name!r}; {hint}")
        return MISUSED
    module: Any = importlib.import_module(f"stargazer.mcp.cli.{VERBS[name][0]}")
    status: int | None = getattr(module, name)(rest)
    if name not in QUIET:
        _say_doubt()
    return status or 0


def _say_doubt() -> None:
    """Say what is wrong with the index to those whose verb did not ask it: opening it says so already."""
    from stargazer.storage import get_client

    try:
        store = get_client().store
        if not store.is_open and (said := store.doubt()) and not store.is_open:
            note(f"stargazer: warning: {said}")
    except StargazerError:  # of the settings
        pass


def _help() -> str:
    lines = [f"  {name:9} {line}" for name, (_, line) in VERBS.items()]
    return "\n".join(
        [
            "usage: stargazer VERB ...",
            "",
            "Reads in, variants out: typed, verified, traceable.",
            "",
            *lines,
            "",
            EXAMPLE,
            "",
        ]
    )


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _forget_stdout() -> None:
    """Nobody reads any more: keep the interpreter's last flush from complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _in_output(error: OSError) -> bool:
    """Whether it was stdout that could not be written: nothing else is, by these modules themselves."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    name = last.tb_frame.f_globals.get("__name__", "") if last is not None else ""
    return name in ("argparse", "stargazer.mcp.wire") or name.startswith("stargazer.mcp.cli.")


def _refused(error: OSError) -> str:
    """What the file system refuses, in the user's words."""
    from stargazer.storage import Settings, refused

    try:
        place = str(Settings.load().home)
    except (OSError, StargazerError):
        place = "."
    return str(refused(error, place))


def kept_traceback() -> str:
    """Keep the traceback of the current exception, and say where."""
    import time
    import traceback

    from stargazer.storage import Settings

    try:
        folder = Settings.load().home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-traceback.txt"
        path.write_text(hidden(traceback.format_exc()), errors="backslashreplace")
    except (OSError, StargazerError):
        return " (STARGAZER_DEBUG=1 shows the traceback)"
    return f" (traceback: {path})"
