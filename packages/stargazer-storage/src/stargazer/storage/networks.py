"""Who can read the bytes of a record, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.store import Store

__all__ = ["visibility"]


def visibility(store: Store, record: IpFile) -> str:
    """Who can read a file, in a sentence that begins with `public` or `private`."""
    there, wanted = store.outbox.networks(record.id), store.outbox.networks(record.id, wanted=True)
    if record.public or True in there:
        return "public: anybody who knows its CID can read it on IPFS, for ever"
    if True in wanted:
        return (
            "private until it is sent: it waits to go to the public IPFS network, for everybody and for ever"
        )
    if False in there:
        return "private: on this machine, and in your account at Pinata, which shows it to nobody else"
    if False in wanted:
        return "private: only on this machine; it waits to be sent to your account at Pinata"
    return "private: only on this machine"
