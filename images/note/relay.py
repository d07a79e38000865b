"""Pass connections on: `python relay.py FROM TO`, each a port of 127.0.0.1 or the path of a Unix socket.

A container without any network is reached so: one relay in it, one outside, and a socket in a folder of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what is read until it ends."""
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def relay(source: str, target: str) -> None:
    """Listen until the process is ended."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if target.isdigit():
                there, back = await asyncio.open_connection("127.0.0.1", int(target))
            else:
                there, back = await asyncio.open_unix_connection(target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, back), copy(there, writer))

    if source.isdigit():
        server = await asyncio.start_server(connect, "127.0.0.1", int(source))
    else:
        os.umask(0)  # who listens in a container is somebody else than who connects
        server = await asyncio.start_unix_server(connect, source)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(FileNotFoundError):  # of a container before this one
        if not sys.argv[1].isdigit():
            os.unlink(sys.argv[1])
    asyncio.run(relay(*sys.argv[1:]))
