"""The service: notes over HTTP, until SIGTERM."""

import json
import os
import signal
import sys
import threading
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from database import connect, describe, prefixed

NAME = os.environ.get("ENTRYPOINT_SERVICE", "demo-notes-service")

Answer = tuple[HTTPStatus, dict[str, Any]]


def health() -> Answer:
    """Report whether the database answers."""
    try:
        with connect() as connection:
            connection.execute("select 1")
    except psycopg.Error as error:
        log(f"health: {describe(error)}")
        return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable"}
    return HTTPStatus.OK, {"status": "ok"}


def notes(query: str) -> Answer:
    """List the notes of `?tenant=UUID`."""
    try:
        tenant = uuid.UUID(parse_qs(query)["tenant"][0])
    except (KeyError, ValueError):
        return HTTPStatus.BAD_REQUEST, {"error": "tenant must be a UUID"}
    with connect() as connection:
        rows = connection.execute(
            prefixed(
                "select a.name, n.title, n.body from {notes} n join {authors} a"
                " on a.id = n.author_id where n.tenant_id = %s order by a.name, n.title"
            ),
            [tenant],
        ).fetchall()
    listed = [{"author": author, "title": title, "body": body} for author, title, body in rows]
    return HTTPStatus.OK, {"notes": listed}


def answer(target: str) -> Answer:
    """Route one GET request."""
    url = urlsplit(target)
    try:
        if url.path == "/v1/health":
            return health()
        if url.path == "/v1/notes":
            return notes(url.query)
    except psycopg.Error as error:
        log(f"GET {url.path}: {describe(error)}")
        return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"}
    return HTTPStatus.NOT_FOUND, {"error": "not found"}


class Handler(BaseHTTPRequestHandler):
    """One request, with a database connection of its own; a busier service would use a pool."""

    timeout = 5  # a client that sends nothing must not hold up a stop

    def do_GET(self) -> None:
        """Answer with JSON."""
        status, body = answer(self.path)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent: the proxy in front of the service logs requests."""


class Server(ThreadingTCPServer):
    """A thread per request; http.server's own class asks the DNS for the host's name at start."""

    allow_reuse_address = True
    request_queue_size = 64


def log(line: str) -> None:
    """Write one line for people."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Serve until SIGTERM or SIGINT, then let the running requests end."""
    if not os.environ.get("DATABASE_URL"):
        sys.exit("server: DATABASE_URL is not set")
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    # All interfaces: in a container, only the published ports are reachable.
    address = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "4010"))  # noqa: S104
    try:
        server = Server(address, Handler)
    except OSError as error:
        sys.exit(f"server: cannot listen on port {address[1]}: {error.strerror}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    host, port = server.socket.getsockname()
    print(f"{NAME} listening on {host}:{port} (pid {os.getpid()})", flush=True)
    stop.wait()
    print(f"{NAME} stopping", flush=True)
    server.shutdown()
    server.server_close()
    thread.join()


if __name__ == "__main__":
    main()
