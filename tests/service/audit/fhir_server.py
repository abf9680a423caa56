"""A FHIR server that takes AuditEvents, or does not."""

import asyncio
import json
from contextlib import asynccontextmanager


@asynccontextmanager
async def fhir_server(*statuses, answers=None):
    """A server that answers with these statuses, the last one again and again.

    0 stands for closing the connection in place of an answer. Yields its address, and what came:
    path, headers, body, status. ``answers`` is a list of statuses that may be changed meanwhile.
    """
    answers, taken = list(statuses) if answers is None else answers, []

    async def answer(reader, writer):
        while line := await reader.readline():
            length, headers = 0, {}
            while (header := await reader.readline()) != b"\r\n":
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            length = int(headers.get("content-length", 0))
            body = json.loads(await reader.readexactly(length))
            status = answers.pop(0) if len(answers) > 1 else answers[0]
            taken.append((line.split()[1].decode(), headers, body, status))
            if not status:
                break
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/r4", taken
