"""`stargazer serve`: serves MCP over standard input and output, or over HTTP."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.mcp.cli.console import Parser, Words, note, option

if TYPE_CHECKING:
    from fastmcp import FastMCP
    from fastmcp.server.auth import TokenVerifier
    from stargazer.mcp.access import Access

__all__ = ["serve"]

HOST, PORT = "127.0.0.1", 8765
SETTLED = 5.0  # seconds; until then the first answers have been given, which import too
ANYWHERE = {"0.0.0.0", "::", "[::]"}  # names of no machine
TOKENS = "STARGAZER_SERVE_TOKENS"
HTTP_ONLY = (
    "host",
    "port",
    "allow_host",
    "token_file",
    "jwt_key",
    "jwt_issuer",
    "jwt_audience",
    "jwt_algorithm",
)


def serve(argv: Sequence[str]) -> int:
    """Serve until the client hangs up or a signal comes, and what was asked for is answered."""
    parser = Parser(
        "serve",
        "[--root DIR ...] [--read-only]\n"
        "       [--http] [--host H] [--port P] [--allow-host NAME ...] [--allow-urls] [--allow-loopback]\n"
        "       [--token-file F] [--jwt-key FILE|URL --jwt-issuer I --jwt-audience A [--jwt-algorithm NAME]]",
        "Serve MCP: over stdio for agents, which start this command themselves, or over HTTP.\n"
        "Over HTTP at this machine's own addresses; at others with tokens alone. A line of the file of tokens is\n"
        f"`TOKEN read` or `TOKEN write`; the variable {TOKENS} may hold the same.",
        "  claude mcp add stargazer -- stargazer serve\n"
        "  stargazer serve --root /data/reads --read-only\n"
        "  stargazer serve --http --port 8765\n"
        "  stargazer serve --http --host 0.0.0.0 --allow-host lab.example.org --token-file /run/secrets/tokens",
        {
            "--root": option(
                "DIR",
                "a folder whose files clients may read, and write to; may be given again (default: "
                "the current folder); the store they read anyway",
                action="append",
                default=[],
            ),
            "--read-only": "no tool that registers, changes, removes or runs anything",
            "--http": f"serve over HTTP, at http://{HOST}:{PORT}/mcp",
            "--host": option("H", f"the address to listen at (default: {HOST})"),
            "--port": option("P", f"its port (default: {PORT}; 0: any that is free)"),
            "--allow-host": option(
                "NAME",
                "a name by which clients call this machine; may be given again",
                action="append",
                default=[],
            ),
            "--allow-urls": "files may be fetched from https addresses also where HTTP is served",
            "--allow-loopback": "files may be fetched from addresses of this machine: for tests",
            "--token-file": option("F", "tokens and what each may do"),
            "--jwt-key": option(
                "FILE|URL", "of an issuer of signed tokens: its public key, or the https URL of its key set"
            ),
            "--jwt-issuer": option("I", "what `iss` is in these tokens"),
            "--jwt-audience": option("A", "what `aud` is in these tokens: a name of this server"),
            "--jwt-algorithm": option("NAME", "how they are signed (default: RS256)"),
        },
    )
    words = parser.sort(argv)
    parser.no_words(words, "serve takes no words")
    access = _access(parser, words)
    if words.options.http:
        return _over_http(parser, words, access)
    for name in HTTP_ONLY:
        if getattr(words.options, name):
            parser.error(f"--{name.replace('_', '-')} needs --http")
    if sys.stdin is None or sys.stdout is None:
        parser.error("serve needs standard input and output: an agent's client gives it pipes")
    import asyncio

    from stargazer.mcp.wire import guarded_stdio

    with guarded_stdio():
        asyncio.run(_over_stdio(access))
    return 0


def _access(parser: Parser, words: Words) -> Access:
    from stargazer.mcp.access import Access

    roots = [Path(root) for root in words.options.root]
    for root in roots:
        if not root.is_dir():
            parser.error(f"--root {str(root)!r} is no folder")
    return Access(
        roots=tuple(root.resolve() for root in roots or [Path.cwd()]),
        read_only=words.options.read_only,
        urls=not words.options.http or words.options.allow_urls or words.options.allow_loopback,
        loopback=words.options.allow_loopback,
    )


async def _over_stdio(access: Access) -> None:
    """Serve; signals end it between two steps of the event loop, where no task takes them for errors of its own."""
    import asyncio

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, sys.exit, 128 + signal.SIGTERM)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGINT, signal.default_int_handler, signal.SIGINT, None)
    server = _made(access)
    loop.call_later(SETTLED, _collect)
    await server.run_async("stdio", show_banner=False, log_level=_log_level())


def _made(access: Access) -> FastMCP:
    """The server. What is imported for it stays: looking for garbage among that would take a fifth of the start."""
    import gc

    gc.disable()
    from stargazer.mcp.server import make_server

    return make_server(access)


def _collect() -> None:
    """Look for garbage from now on, among what comes."""
    import gc

    gc.freeze()
    gc.enable()


def _over_http(parser: Parser, words: Words, access: Access) -> int:
    import asyncio

    server = _made(access)
    from stargazer.mcp.http import PATH, serve_http
    from stargazer.mcp.listener import bound, is_loopback

    _collect()

    options = words.options
    host, port = options.host or HOST, options.port or str(PORT)
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        parser.error(f"--port: expected a number below 65536, got {port!r}")
    tokens = _tokens(parser, words, access)
    if tokens is None and not is_loopback(host):
        parser.error(
            f"--host {host} lets others than this machine in: give --token-file, {TOKENS} or --jwt-key too, "
            f"or listen at {HOST}"
        )
    if tokens is not None:
        from stargazer.mcp.tokens import guard

        guard(server, tokens)
    _log_level()
    listener = bound(host, int(port))
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    note(f"serving MCP at http://{shown}:{listener.getsockname()[1]}{PATH}")
    number = asyncio.run(serve_http(server, listener, hosts=[*({host} - ANYWHERE), *options.allow_host]))
    return 128 + number if number else 0


def _tokens(parser: Parser, words: Words, access: Access) -> TokenVerifier | None:
    """Who may call; None where whoever reaches the address may."""
    options = words.options
    text = os.environ.pop(TOKENS, "")  # tools that runs start have no use for it
    given = [bool(text), bool(options.token_file), bool(options.jwt_key)]
    if sum(given) > 1:
        parser.error(f"give one of --token-file, --jwt-key and {TOKENS}")
    jwt = (options.jwt_issuer, options.jwt_audience)
    if options.jwt_key and not all(jwt):
        parser.error("--jwt-key needs --jwt-issuer and --jwt-audience: else tokens for others would do here")
    if not options.jwt_key and (any(jwt) or options.jwt_algorithm):
        parser.error("--jwt-issuer, --jwt-audience and --jwt-algorithm need --jwt-key")
    if not any(given):
        return None
    from stargazer.assets import InvalidAssetError
    from stargazer.mcp.tokens import read_tokens, signed_tokens

    if options.jwt_key:
        return signed_tokens(
            options.jwt_key, issuer=jwt[0], audience=jwt[1], algorithm=options.jwt_algorithm or "RS256"
        )
    if options.token_file:
        file = Path(options.token_file).resolve()
        with contextlib.suppress(InvalidAssetError):
            access.inside(file)
            parser.error(f"--token-file {str(file)!r} is where clients may read: move it elsewhere")
        text = file.read_text(errors="replace")
        if file.stat().st_mode & 0o077:
            note(f"stargazer: warning: others of this machine may read {str(file)!r}: chmod 600")
    return read_tokens(text, repr(str(options.token_file or TOKENS)))


def _log_level() -> str:
    """Errors are answers: they are not told on stderr too."""
    level = "WARNING" if os.environ.get("STARGAZER_DEBUG") else "CRITICAL"
    for name in ("mcp", "fastmcp", "uvicorn"):
        logging.getLogger(name).setLevel(level)
    return level
