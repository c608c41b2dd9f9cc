"""A hub of models on this machine that speaks the protocol of the real one, as far as downloads use it, and misbehaves when told to.

Large files (weights) are answered as the real hub answers them: a redirect that states checksum (sha256) and size, to another host that
sends the bytes and knows ranges. Small files come at once, with git's SHA-1 as their ETag.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin")


@dataclass(frozen=True)
class Asked:
    """One request: `start` of its Range (None: no Range), the status it got and how many bytes of content were sent."""

    method: str
    path: str
    start: int | None
    authorized: bool
    status: int
    sent: int


@dataclass
class FakeHub:
    """Repositories by name, their files by commit, and what goes wrong.

    refs      branches and tags of every repository
    cut       bytes after which the next answers with the content of a large file are cut off; used up in order
    ranges    whether the host of large files knows ranges
    sends     what is sent in place of a file's content, which the stated checksum and size do not know of
    answers   status and headers for every path that holds the text
    """

    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    sends: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def add(self, repo: str, files: dict[str, bytes], commit: str = COMMIT) -> None:
        self.repos.setdefault(repo, {})[commit] = files

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def contents(self) -> list[Asked]:
        """The requests for contents of large files."""
        return [asked for asked in self.asked if asked.path.startswith("/storage/")]

    def content_of(self, checksum: str) -> tuple[str, bytes]:
        """Name and content of the file with this sha256."""
        files = (item for commits in self.repos.values() for files in commits.values() for item in files.items())
        return next((name, content) for name, content in files if hashlib.sha256(content).hexdigest() == checksum)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: FakeHub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.start = int(value[6:].split("-")[0]) if (value := self.headers.get("Range")) else None
        told = next((told for text, told in self.hub.answers.items() if text in path), None)
        if told is not None:
            self.reply(told[0], b"", told[1])
        elif path.startswith("/storage/"):
            self.large(path.removeprefix("/storage/"))
        elif path.startswith("/api/models/"):
            self.listing(*path.removeprefix("/api/models/").partition("/revision/")[::2])
        else:
            repo, _, rest = path.removeprefix("/").partition("/resolve/")
            self.file(repo, *rest.partition("/")[::2])

    def commit(self, repo: str, revision: str) -> str | None:
        """The commit that was asked for; None after an answer that there is none."""
        if repo not in self.hub.repos:
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        commit = self.hub.refs.get(revision or "main", revision)
        if commit not in self.hub.repos[repo]:
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {revision}"})
            return None
        return commit

    def listing(self, repo: str, revision: str) -> None:
        if commit := self.commit(repo, revision):
            info = {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in self.hub.repos[repo][commit]]}
            self.reply(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def file(self, repo: str, revision: str, name: str) -> None:
        commit = self.commit(repo, revision)
        if commit is None:
            return
        content = self.hub.repos[repo][commit].get(name)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found", **headers})
        elif name.endswith(LARGE):
            checksum = hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-Etag": f'"{checksum}"', "X-Linked-Size": str(len(content)), "ETag": f'"{git_sha1(content)}"'}
            self.reply(302, b"", {"Location": f"http://localhost:{self.hub.port}/storage/{checksum}", **linked, **headers})
        else:
            headers["ETag"] = f'"{git_sha1(content)}"'
            self.reply(200, self.hub.sends.get(name, content) if self.command == "GET" else content, headers)

    def large(self, checksum: str) -> None:
        name, content = self.hub.content_of(checksum)
        content = self.hub.sends.get(name, content)
        if self.start is None or not self.hub.ranges:
            self.reply(200, content, {}, self.next_cut())
        elif self.start >= len(content):
            self.reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            where = {"Content-Range": f"bytes {self.start}-{len(content) - 1}/{len(content)}"}
            self.reply(206, content[self.start :], where, self.next_cut())

    def next_cut(self) -> int | None:
        return self.hub.cut.pop(0) if self.hub.cut else None

    def reply(self, status: int, content: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        sent = content[:cut] if self.command == "GET" else b""
        authorized = "Authorization" in self.headers
        self.hub.asked.append(Asked(self.command, unquote(self.path.partition("?")[0]), self.start, authorized, status, len(sent)))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = cut is not None

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Answers at `hub.endpoint` until the block ends."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
