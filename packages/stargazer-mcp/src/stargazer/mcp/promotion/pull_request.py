"""A pull request for a promotion: its branch is pushed to `origin`, and GitHub is asked through its API.

The token comes from GITHUB_TOKEN or GH_TOKEN, and goes into a header of requests to the API alone: git pushes with what
it is configured with.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
from stargazer.assets import ConfigurationError, StorageError, ToolError
from stargazer.mcp.promotion.branch import run_git

if TYPE_CHECKING:
    import requests

__all__ = ["PullRequest", "Repository", "find_repository", "open_pull_request", "push_branch"]

TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
API = "https://api.github.com"
API_VARIABLE = "GITHUB_API_URL"
TIMEOUT = (20.0, 60.0)  # seconds: to connect, and without a byte
ADDRESS = re.compile(r"(?:[a-z+]+://(?:[^/@]*@)?(?P<host>[^/:]+)(?::\d+)?/|(?:[^/@]+@)?(?P<ssh>[^/:]+):/?)"
                     r"(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(?:\.git)?/?")  # fmt: skip
"""`https://host/owner/name.git`, `ssh://git@host/owner/name`, `git@host:owner/name.git`."""


@attrs.frozen
class Repository:
    """A repository on GitHub, and how it is spoken to.

    Attributes:
        page: its address for people.
        api: the address of the API.
    """

    owner: str
    name: str
    page: str
    api: str
    token: str = attrs.field(repr=False)


@attrs.frozen
class PullRequest:
    """A pull request.

    Attributes:
        url: its address for people.
        is_new: it was opened now; otherwise the branch had one already.
    """

    url: str
    is_new: bool


def find_repository(root: Path) -> Repository:
    """The repository that a checkout's `origin` is, if a pull request can be asked of it: nothing is sent yet.

    Raises:
        ConfigurationError: there is no token, no `origin`, or the address of one of them is not usable.
    """
    variable = next((name for name in TOKENS if os.environ.get(name, "").strip()), "")
    if not variable:
        raise ConfigurationError(
            f"--pull-request needs a token: set {TOKENS[0]} (or {TOKENS[1]}) to one that may write pull requests of "
            "the repository; nothing was changed"
        )
    token = os.environ[variable].strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise ConfigurationError(f"{variable} is no token: it has blanks, or letters that no token has")
    try:
        address = run_git(root, "remote", "get-url", "origin").strip()
    except ToolError:
        raise ConfigurationError(
            f"{str(root)!r} has no remote `origin` to push to: git remote add origin https://github.com/OWNER/NAME.git"
        ) from None
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigurationError(
            f"the remote `origin` is {_hidden(address)!r}, which names no owner and repository; expected an address "
            "such as https://github.com/OWNER/NAME.git"
        )
    host = found["host"] or found["ssh"]
    if host.lower() != "github.com" and not os.environ.get(API_VARIABLE):
        raise ConfigurationError(
            f"the remote `origin` is on {host}: set {API_VARIABLE} to the address of its API, such as "
            f"https://{host}/api/v3"
        )
    page = f"https://{host}/{found['owner']}/{found['name']}"
    return Repository(found["owner"], found["name"], page, _api_address(), token)


def push_branch(root: Path, repository: Repository, name: str) -> None:
    """Push a branch to `origin`.

    Raises:
        StorageError: it was refused, or `origin` cannot be reached; the branch stays here.
    """
    try:
        run_git(root, "push", "--quiet", "--set-upstream", "origin", f"refs/heads/{name}:refs/heads/{name}")
    except ToolError as error:
        text = _hidden(str(error)).replace(repository.token, "***")
        raise StorageError(
            f"{text}\nthe branch {name!r} and its commit stay here: once `git push -u origin {name}` works, open the "
            f"pull request at {repository.page}/pull/new/{name}"
        ) from None


def open_pull_request(repository: Repository, name: str, title: str, body: str) -> PullRequest:
    """Open a draft pull request of a branch that was pushed, into the default branch.

    Raises:
        StorageError: GitHub refuses, or cannot be reached; the branch stays.
    """
    path = f"/repos/{repository.owner}/{repository.name}"
    try:
        base = _answer(repository, "GET", path).get("default_branch")
        asked = {"title": title, "body": body, "head": name, "base": base, "draft": True}
        return PullRequest(_page_of(_answer(repository, "POST", f"{path}/pulls", json=asked)), is_new=True)
    except _Refused as error:
        if error.exists:
            head = {"head": f"{repository.owner}:{name}", "state": "open"}
            try:
                found = _answer(repository, "GET", f"{path}/pulls", params=head).get("items") or [{}]
                return PullRequest(_page_of(found[0]), is_new=False)
            except _Refused as second:
                error = second
        raise StorageError(
            f"no pull request was opened: {error}. The branch {name!r} is pushed: open it at "
            f"{repository.page}/pull/new/{name}"
        ) from None


class _Refused(Exception):
    """What was asked of the API was not done: the text says why, and has no secret.

    Attributes:
        exists: there is a pull request of this branch already.
    """

    def __init__(self, text: str, *, exists: bool = False) -> None:
        super().__init__(text)
        self.exists = exists


def _answer(repository: Repository, method: str, path: str, **options: Any) -> dict[str, Any]:
    """What the API answers; a list as `items`."""
    import requests

    def signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {repository.token}"  # and no password of ~/.netrc
        return request

    host = urlsplit(repository.api).hostname or ""
    headers = {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        "User-Agent": "stargazer",
    }
    try:
        with requests.Session() as session:
            session.trust_env = not _is_loopback(host)  # what is on this machine needs no proxy
            response = session.request(
                method,
                repository.api + path,
                headers=headers,
                auth=signed,
                timeout=TIMEOUT,
                allow_redirects=False,
                **options,
            )
            status, found = response.status_code, _json_of(response)
    except requests.exceptions.SSLError:
        raise _Refused(f"{host} has no valid TLS certificate") from None
    except requests.exceptions.Timeout:
        raise _Refused(f"{host} does not answer") from None
    except requests.exceptions.RequestException:
        raise _Refused(f"{host} cannot be reached: no network, or a proxy refuses") from None
    if 200 <= status < 300:
        if found is None:
            raise _Refused(f"{host} answers what is no JSON")
        return found
    raise _refusal(repository, status, found or {})


def _json_of(response: requests.Response) -> dict[str, Any] | None:
    try:
        found = response.json()
    except ValueError:
        return None
    if isinstance(found, list):
        return {"items": found}
    return found if isinstance(found, dict) else None


def _refusal(repository: Repository, status: int, answer: Mapping[str, Any]) -> _Refused:
    """What a status of the API means, with what it says itself."""
    several = answer.get("errors")
    errors = [error for error in several if isinstance(error, dict)] if isinstance(several, list) else []
    texts = [str(answer.get("message") or ""), *(str(error.get("message") or "") for error in errors)]
    said = "; ".join(filter(None, texts))[:500].replace(repository.token, "***")
    title = f"{repository.owner}/{repository.name}"
    meaning = {
        401: f"GitHub does not take the token: set {TOKENS[0]} to one that is valid",
        403: f"the token may not write pull requests of {title}, or asks too often",
        404: f"GitHub has no repository {title}, or the token may not see it",
        422: "GitHub refuses it",
    }.get(status, "GitHub has moved it" if 300 <= status < 400 else "GitHub fails")
    text = f"{meaning} (HTTP {status}{': ' if said else ''}{_hidden(said)})"
    return _Refused(text, exists=status == 422 and "already exists" in said)


def _page_of(answer: Mapping[str, Any]) -> str:
    page = str(answer.get("html_url") or "")
    if not re.fullmatch(r"https?://[!-~]+", page):
        raise _Refused("GitHub does not say where the pull request is")
    return page


def _api_address() -> str:
    """The address of the API, which a token may be sent to.

    Raises:
        ConfigurationError: it is not encrypted, or no address.
    """
    address = (os.environ.get(API_VARIABLE) or API).rstrip("/")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", -1
    if not host or port == -1 or "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(f"{API_VARIABLE} is no address of an API: expected one such as {API}")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ConfigurationError(
            f"{API_VARIABLE} is {address!r}: a token is sent by https alone; give an address that begins with https://"
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hidden(text: str) -> str:
    """A text without the users and passwords of its URLs."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
