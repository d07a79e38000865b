"""Who may use a notebook app: those who know its token, each with sessions that nobody else may use."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit

from stargazer.mcp.notebook_index import page
from stargazer.mcp.token_text import digest
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEALTH", "Guard", "Tickets", "with_headers"]

HEALTH = "/health"
"""The address that needs no token."""
PARAMETER = "access_token"
FORM = "application/x-www-form-urlencoded"
LONGEST = 4096  # bytes of a form with a token
MOST = 10_000  # visitors, and of each the sessions and their files of which it is known whose they are
LONGEST_NAME = 200  # characters of the name of one
SESSION_HEADER, SESSION_PARAMETER = "marimo-session-id", "session_id"
FILES, EMPTY = "/@file/", "0-"
OTHER_SITE = (
    "A page of another site may not ask for this. Where a proxy stands before this server, have it pass the header "
    "Host on as the browser sends it."
)
POLICY, UNFRAMED = "Content-Security-Policy", "frame-ancestors 'self'"
HEADERS = {
    "Cache-Control": "no-store",
    POLICY: "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def with_headers(html: str, status: int = 200) -> Response:
    """An answer with a page of ours, which no cache keeps and no other site frames."""
    return HTMLResponse(html, status, headers=HEADERS)


class Tickets:
    """What lets somebody in: the token, and what this machine's browser is given in its place, which works once.

    A browser is started with the address that it opens, and everybody on the machine can see such a command.
    """

    def __init__(self, token: str):
        self._token, self._once = digest(token), ""

    def make_once(self) -> str:
        """Another one, which works once; one that was made before does not work any more."""
        self._once = secrets.token_urlsafe(16)
        return self._once

    def is_good(self, given: str, *, is_address: bool = False) -> bool:
        """Whether what somebody brings lets them in."""
        if is_address and self._once and hmac.compare_digest(digest(given), digest(self._once)):
            self._once = ""
            return True
        return hmac.compare_digest(digest(given), self._token)


class Guard:
    """Lets requests in that have the token, and each visitor to sessions of their own alone.

    The token comes once, in the address or by the form that who has none sees. The browser then has a cookie instead,
    which holds for this process. Programs send it as `Authorization: Bearer`. What a page of another site sends is
    refused. A session of marimo belongs to the visitor who opened it, and so do the files that marimo keeps for it.

    Args:
        app: what is guarded.
        tickets: what lets somebody in.
        port: where the server listens: servers of one machine share cookies otherwise.
    """

    def __init__(self, app: ASGIApp, tickets: Tickets, port: int):
        self._app, self._tickets, self._key = app, tickets, secrets.token_bytes(32)
        self._cookie = f"stargazer_notebook_{port}"
        self._owners: dict[str, str] = {}
        self._names: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == HEALTH:
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if not scope["path"].isprintable():  # of which servers make what they like
            await _refuse(scope, receive, send, _refusal("There is no such address.", 404))
        elif not _is_of_this_site(asked.headers):
            await _refuse(scope, receive, send, _refusal(OTHER_SITE, 403))
        elif (visitor := self._visitor(asked)) is None:
            await self._let_in(scope, receive, send)
        elif PARAMETER in asked.query_params and scope["type"] == "http":
            await self._to_address(scope)(scope, receive, send)
        elif not self._may_use(asked, visitor):
            await _refuse(scope, receive, send, _refusal("This is of somebody else's session.", 403))
        else:
            await self._app(scope, receive, _unframed(send))

    def _visitor(self, asked: HTTPConnection) -> str | None:
        """Who asks, by their cookie; programs with the token are one visitor. None of who is not known."""
        name, _, mac = asked.cookies.get(self._cookie, "").partition(".")
        if name and hmac.compare_digest(mac.encode("utf-8", "surrogateescape"), self._mac(name).encode()):
            return name
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        return "" if scheme.lower() == "bearer" and self._tickets.is_good(given.strip()) else None

    def _mac(self, name: str) -> str:
        return hmac.new(self._key, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a cookie to who brings the token; ask others for it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        if scope["path"].endswith("/manifest.json"):  # which browsers ask for without their cookies
            await JSONResponse({"name": "Stargazer"})(scope, receive, send)
            return
        given = request.query_params.get(PARAMETER)
        is_address = given is not None
        if request.method == "POST" and request.headers.get("content-type", "").startswith(FORM):
            given, is_address = await _from_form(request), False
        if given is not None and self._tickets.is_good(given, is_address=is_address):
            answer = self._to_address(scope)
            name = secrets.token_urlsafe(16)
            answer.set_cookie(
                self._cookie, f"{name}.{self._mac(name)}", httponly=True, samesite="lax",
                secure=scope["scheme"] == "https",
            )  # fmt: skip
        else:
            answer = _refusal("This is not its token." if given else "", 401)
        await answer(scope, receive, send)

    def _to_address(self, scope: Scope) -> Response:
        """To the same address without the token."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        left = urlencode([(name, value) for name, value in query if name != PARAMETER])
        path = "/" + (scope.get("raw_path") or b"/").decode("latin-1").partition("?")[0].lstrip("/\\")
        return RedirectResponse(path + (f"?{left}" if left else ""), 303, headers=HEADERS)

    def _may_use(self, asked: HTTPConnection, visitor: str) -> bool:
        """Whether what is named of a session is the visitor's; what is not known becomes theirs.

        The page of a session is the first to ask for its files: their names are random, and nobody else is told them.
        """
        file = asked.scope["path"].partition(FILES)[2].rstrip("/")
        # all sessions share the empty file; marimo looks others up by what follows the length, however that is written
        file = "" if file.startswith(EMPTY) else file.partition("-")[2]
        named = (asked.headers.get(SESSION_HEADER), asked.query_params.get(SESSION_PARAMETER), file)
        for name in filter(None, named):
            if len(name) > LONGEST_NAME or self._owners.setdefault(name, visitor) != visitor:
                return False
            names = self._names.setdefault(visitor, OrderedDict())
            self._names.move_to_end(visitor)
            names[name] = None
            names.move_to_end(name)
            if len(names) > MOST:
                del self._owners[names.popitem(last=False)[0]]
            if len(self._names) > MOST:
                for left in self._names.popitem(last=False)[1]:
                    del self._owners[left]
        return True


def _unframed(send: Send) -> Send:
    """Sends answers of marimo's that no page of another address may have in a frame."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault(POLICY, UNFRAMED)
        await send(message)

    return sent


def _is_of_this_site(headers: Headers) -> bool:
    """Whether a request is no page's, or one's from the address that is asked."""
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


async def _from_form(request: Request) -> str | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST:
            return ""
    return dict(parse_qsl(bytes(body).decode("latin-1"))).get(PARAMETER, "")


def _refusal(problem: str, status: int) -> Response:
    """A page that says why, and asks for the token where that is what lacks."""
    body = "<h1>Stargazer</h1>" + (f"<p class=problem>{escape(problem)}</p>" if problem else "")
    if status == 401:
        body += (
            "<p>This server asks for its token. Whoever started it has it.</p>"
            f'<form method=post><input type=password name={PARAMETER} aria-label="Token" autofocus required> '
            "<button>Open</button></form>"
        )
    return with_headers(page("Stargazer", body), status)


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await answer(scope, receive, send)
