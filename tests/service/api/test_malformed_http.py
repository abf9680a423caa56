"""What is not HTTP is refused with a problem, beneath the application."""

from __future__ import annotations

import asyncio
import json
import socket

import uvicorn

from service.api.malformed_http import ProblemProtocol


async def test_bytes_that_are_not_http_are_answered_with_a_problem():
    async def application(scope, receive, send):
        raise AssertionError("nothing reaches the application")

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_config=None, http=ProblemProtocol, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve(sockets=[listener]))  # signals are pytest's
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        writer.write(b"GET /Jane Doe HTTP/9\r\n\r\n")
        async with asyncio.timeout(20):
            reply = await reader.read()
    finally:
        writer.close()
        server.should_exit = True
        await serving
    head, _, body = reply.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert problem["code"] == "malformed-http"
    assert problem["request_id"].encode() in head
    assert b"Jane" not in reply
