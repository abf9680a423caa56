"""What is not HTTP is refused before the application sees it: with a problem all the same."""

from __future__ import annotations

import json
import uuid

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from service.api import metrics
from service.api.problems import MEDIA_TYPE, document, malformed_http


class ProblemProtocol(AutoHTTPProtocol):  # type: ignore[valid-type, misc]  # uvicorn's choice of two
    """Uvicorn's HTTP protocol, whose own answer to what it cannot parse is a line of plain text."""

    def send_400_response(self, msg: str) -> None:
        """Answer and hang up; what was wrong is not told, as it may be the caller's text."""
        problem = malformed_http()
        metrics.PROBLEMS.labels(code=problem.code).inc()
        request_id = uuid.uuid4().hex
        body = json.dumps(document(problem, request_id)).encode()
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
            "x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
