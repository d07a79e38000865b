"""Private files of an account as a source of bytes: every attempt gets a signed link of its own, which nobody sees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stargazer.storage.download.http import Body, SourceError, open_url, same_site
from stargazer.storage.pinata.api import Refused, Unavailable

if TYPE_CHECKING:
    from stargazer.storage.pinata.api import PinataApi

__all__ = ["PrivateLink"]


class PrivateLink:
    """The private network of an account, through the account's own gateway.

    Args:
        api: the account.
        gateway: host or URL of the gateway; the service is asked for the account's own if it is empty.
    """

    name = "Pinata (private)"

    def __init__(self, api: PinataApi, gateway: str = ""):
        self._api = api
        self._gateway = gateway

    @contextlib.contextmanager
    def open(self, cid: str, offset: int) -> Iterator[Body]:
        """The file's bytes from `offset` on, or from 0.

        Raises:
            SourceError: the service signs no link, or the link gives no bytes.
        """
        failure: SourceError
        try:
            self._gateway = self._gateway or self._api.gateway()
            base = self._gateway if "://" in self._gateway else f"https://{self._gateway}"
            link = self._api.private_link(f"{base.rstrip('/')}/files/{cid}")
        except Unavailable as error:
            failure = SourceError(str(error), passing=True)
        except Refused as error:
            failure = SourceError(str(error))
        else:
            if urlsplit(link).hostname != urlsplit(base).hostname:
                raise SourceError("signed a link to another host than the account's gateway")
            with open_url(link, offset=offset, follow=same_site) as body:
                yield body
            return
        raise failure
