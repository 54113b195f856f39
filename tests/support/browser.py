"""A headless Chromium of the system's, driven through a pipe by its own protocol (CDP).

One process serves a whole run. Nothing is waited for by time: each command has an answer, and a
page is there when its `load` event is.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BINARY = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

_OPTIONS = [
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
]

# What the browser reads is its descriptor 3, what it writes 4.
_PIPES = 'exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec "$0" "$@"'


class Node(NamedTuple):
    """What a screen reader has of an element."""

    role: str
    name: str
    level: int | None
    depth: int


@dataclass
class Browser:
    """A running Chromium; `open` gives a page in it."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    count: int = 0
    rest: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Start it with a profile of its own, and end it."""
        assert BINARY
        # As root its sandbox cannot be set up; it only ever opens pages of ours.
        options = [*_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = ["sh", "-c", _PIPES, BINARY, *options, f"--user-data-dir={profile}"]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as process:
                assert process.stdin
                assert process.stdout
                made = cls(process, process.stdin, process.stdout)
                try:
                    yield made
                finally:
                    made.send("Browser.close")
                    process.wait(timeout=20)

    def send(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """Give a command and return its answer; events that come before it are kept."""
        self.count += 1
        number = self.count
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self.stdin.write(json.dumps(message).encode() + b"\0")
        self.stdin.flush()
        while (said := self.read()).get("id") != number:
            self.events.append(said)
        assert "error" not in said, said
        answer: dict[str, Any] = said["result"]
        return answer

    def read(self) -> dict[str, Any]:
        """Block until the next message."""
        while b"\0" not in self.rest:
            more = os.read(self.stdout.fileno(), 1 << 16)
            assert more, "the browser ended"
            self.rest += more
        said, self.rest = self.rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(said)
        return message

    def open(self, path: Path, *, width: int = 1200, dark: bool = False) -> Page:
        """Open a file in a new tab, as wide as that many pixels."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, attached["sessionId"], target)
        for domain in ("Page", "Network", "Runtime", "Log", "Accessibility", "DOM"):
            page.send(f"{domain}.enable")
        page.show(width=width, dark=dark)
        page.go(path)
        return page


@dataclass
class Page:
    """A tab."""

    browser: Browser
    session: str
    target: str

    def send(self, method: str, **params: object) -> dict[str, Any]:
        """Give the tab a command."""
        return self.browser.send(method, self.session, **params)

    def show(self, *, width: int, dark: bool = False, height: int = 740, media: str = "") -> None:
        """Make the window another one, or the medium (`print`)."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)

    def go(self, path: Path) -> None:
        """Open a file, and block until all of it has been loaded."""
        self.send("Page.navigate", url=path.as_uri())
        events = self.browser.events
        while not any(each["method"] == "Page.loadEventFired" for each in self.events()):
            events.append(self.browser.read())

    def events(self) -> list[dict[str, Any]]:
        """What has happened in it."""
        return [each for each in self.browser.events if each.get("sessionId") == self.session]

    def happened(self, method: str) -> list[dict[str, Any]]:
        """The parameters of its events of one kind."""
        return [each["params"] for each in self.events() if each["method"] == method]

    def evaluate(self, script: str) -> Any:  # noqa: ANN401  what JSON has
        """What a script of the test gives, by value; a promise's is waited for."""
        said = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def tree(self) -> list[Node]:
        """The accessibility tree in reading order, without what screen readers are not told."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        by_id = {node["nodeId"]: node for node in nodes}
        found: list[Node] = []

        def walk(node: dict[str, Any], depth: int) -> None:
            role = node.get("role", {}).get("value", "")
            shown = not node["ignored"] and role not in ("InlineTextBox", "none", "generic")
            if shown:
                level = [p["value"]["value"] for p in node["properties"] if p["name"] == "level"]
                name = node.get("name", {}).get("value", "")
                found.append(Node(role, name, level[0] if level else None, depth))
            for child in node.get("childIds", []):
                if child in by_id:
                    walk(by_id[child], depth + shown)

        walk(nodes[0], 0)
        return found

    def tables(self) -> dict[str, list[list[str]]]:
        """What a screen reader reads of each table, by its caption: the head, then the rows."""
        found: dict[str, list[list[str]]] = {}
        rows: list[list[str]] = []
        for node in self.tree():
            if node.role == "table":
                rows = found.setdefault(node.name, [])
            elif node.role == "row":
                rows.append([])
            elif node.role in ("columnheader", "rowheader", "cell"):
                rows[-1].append(node.name)
        return found

    def picture(self, path: Path) -> bytes:
        """A PNG of the whole page, also written to a file."""
        height = self.evaluate("document.documentElement.scrollHeight")
        width = self.evaluate("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 8000), "scale": 1}
        said = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        data = base64.b64decode(said["data"])
        path.write_bytes(data)
        return data

    def close(self) -> None:
        """Close the tab."""
        self.browser.send("Target.closeTarget", targetId=self.target)
