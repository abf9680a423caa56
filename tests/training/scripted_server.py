"""An HTTP server that answers chat completions by a script, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]]


def completion(text: str, finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50},
    }


@dataclass
class ScriptedServer:
    """Answers with what its script says of each request, and remembers the requests."""

    script: Script = field(default=lambda request: (200, {}, completion("seen")))
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def running_server() -> Iterator[ScriptedServer]:
    """A scripted server on a free port."""
    scripted = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            is_json = self.headers["Content-Type"] == "application/json"
            self._answer(json.loads(sent) if is_json else {"form": sent})

        def _answer(self, body: dict[str, Any]) -> None:
            body = body | {"path": self.path}
            scripted.requests.append(body)
            scripted.headers.append(dict(self.headers))
            status, headers, content = scripted.script(body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:  # else it promises more than comes
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    scripted.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield scripted
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
