"""A line to a server that can be cut or go silent, as a network does, while the server keeps what it has."""

import signal
import socket
import subprocess
import sys

from service.processes import end, spawn

_FORWARD = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def joined(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pump(reader, back), pump(there, writer))

async def main():
    async with await asyncio.start_server(joined, "127.0.0.1", int(sys.argv[1])) as server:
        print("up", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


class Line:
    """A process that forwards a port of its own to a server of this machine; its connections live and die with it."""

    def __init__(self, server_url: str) -> None:
        self._there = server_url.rpartition(":")[2]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._here = str(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._here}"
        self.join()

    def join(self) -> None:
        """Lay the line, or lay it again."""
        command = [sys.executable, "-c", _FORWARD, self._here, self._there]
        self._process = spawn(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n"

    def cut(self) -> None:
        """Break every connection; new ones are refused."""
        self._process.kill()
        self._process.wait()
        self._close()

    def silence(self) -> None:
        """Let nothing through; connections are taken and stay."""
        self._process.send_signal(signal.SIGSTOP)

    def speak(self) -> None:
        """Let through what has waited."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Take the line away."""
        if self._process.poll() is None:
            self.speak()
            end(self._process, 10)
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
