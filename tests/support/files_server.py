"""A real HTTP server of files in memory, with Range, that can misbehave on request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FilesServer:
    """What it serves, by path, and what it was asked for.

    `break_after` cuts each answer off after so many bytes, while `breaks` lasts.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    break_after: int | None = None
    breaks: int = 0
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def files_server() -> Iterator[FilesServer]:
    served = FilesServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(served: FilesServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            served.requests.append((self.path, asked))
            content = served.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            partial = bool(asked) and served.ranges
            body = content[start:] if partial else content
            self.send_response(206 if partial else 200)
            self.send_header("Content-Type", served.types.get(self.path, "text/html"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if served.breaks and served.break_after is not None:
                served.breaks -= 1
                self.wfile.write(body[: served.break_after])
                self.close_connection = True
                return
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    return Handler
