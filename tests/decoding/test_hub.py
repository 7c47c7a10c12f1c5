"""Downloading from a hub: a server on a real socket, asked by processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COMMIT = "c" * 40
SECRET = "hf_0123456789secret"


class Hub(ThreadingHTTPServer):
    """Serves one checkpoint folder under any name, as the hub does; some names are refused."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self, name: str) -> int:
        """How often a whole file was fetched."""
        return sum(
            method == "GET" and path.endswith(f"/{COMMIT}/{name}")
            for method, path, _ in self.requests
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.split("?")[0]
        self.server.requests.append((self.command, path, self.headers.get("Authorization")))
        if "gated" in path:
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif "hidden" in path:
            self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "plain401" in path:
            self.send(401, b"{}")
        elif "broken" in path:
            self.send(500, b"<html>oops</html>")
        elif "nonsense" in path:
            self.send(200, b"<html>a captive portal</html>")
        elif "/revision/other" in path:
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif "/tree/" in path:
            self.send(200, json.dumps([self.entry(file) for file in self.files()]).encode())
        elif path.startswith("/api/models/"):
            siblings = [{"rfilename": file.name} for file in self.files()]
            body = {"id": "owner/name", "sha": COMMIT, "siblings": siblings}
            self.send(200, json.dumps(body).encode())
        elif "/resolve/" in path and (self.server.folder / path.rsplit("/", 1)[1]).is_file():
            self.send_file(self.server.folder / path.rsplit("/", 1)[1])
        else:
            self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def files(self) -> list[Path]:
        return sorted(self.server.folder.iterdir())

    def entry(self, file: Path) -> dict[str, object]:
        oid = hashlib.sha1(file.read_bytes()).hexdigest()
        return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": oid}

    def send_file(self, file: Path) -> None:
        body = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        wanted = self.headers.get("Range")
        if wanted is None:
            self.send(200, body, headers)
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        part = body[int(first) : int(last) + 1 if last else None]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
        self.send(206, part, headers)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(tiny_checkpoint) -> Iterator[Hub]:
    """A hub that holds the multimodal Gemma 4 under every name."""
    server = Hub(tiny_checkpoint("gemma4_multimodal"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


SCRIPT = """
import json, sys
from gemma_structured.decoding import placement
from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.decoding.loader import load_model
from gemma_structured.exceptions import LoadError

answers = []
for request in json.loads(sys.argv[1]):
    free = request.pop("free", None)
    if free is not None:
        placement.free_memory = lambda device: free
    source = request.pop("source")
    try:
        loaded = load_model(source, LoadOptions(device="cpu", **request))
    except LoadError as error:
        answers.append(["error", str(error), repr(error.__cause__)])
    else:
        answers.append(["loaded", loaded.name, loaded.architecture])
print(json.dumps(answers))
"""


@pytest.fixture
def load(hub, tmp_path) -> Callable[..., list[list[str]]]:
    """Gives a function that loads models one after another in one process with its own cache."""

    def run(*requests: dict[str, object], endpoint: str | None = None) -> list[list[str]]:
        environment = {
            **os.environ,
            "HF_ENDPOINT": endpoint or hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        environment.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, json.dumps(requests)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


def test_a_hub_id_is_downloaded_once(hub, load):
    """The second load and the one without a server find the files in the cache."""
    answers = load(
        {"source": "owner/name", "token": SECRET},
        {"source": "owner/name"},
        {"source": "owner/name", "local_files_only": True},
    )
    assert answers == [["loaded", "owner/name", "Gemma4ForCausalLM"]] * 3
    assert hub.downloads("model.safetensors") == 1
    assert hub.downloads("tokenizer.json") == 1
    assert ("GET", f"/owner/name/resolve/{COMMIT}/config.json", f"Bearer {SECRET}") in hub.requests
    assert load({"source": "owner/name"}, endpoint="http://127.0.0.1:9") == answers[:1]


def test_a_model_that_does_not_fit_is_not_downloaded(hub, load):
    """Its size is read from the server, and the weights stay there."""
    [[kind, message, _]] = load({"source": "owner/name", "free": 1000})
    assert kind == "error"
    assert "are free" in message
    assert hub.downloads("config.json") == 1
    assert hub.downloads("model.safetensors") == 0


def test_refusals_say_what_to_do(load):
    """Gated, hidden, unknown and broken repositories, each in words of its own; no token in any."""
    names = ["owner/gated", "owner/hidden", "owner/plain401", "owner/broken", "owner/nonsense"]
    requests = [{"source": name, "token": SECRET} for name in names]
    answers = load(*requests, {"source": "owner/name", "revision": "other", "token": SECRET})
    assert [kind for kind, _, _ in answers] == ["error"] * 6
    gated, hidden, plain, broken, nonsense, revision = [message for _, message, _ in answers]
    assert "'owner/gated' is gated" in gated
    assert "Accept the model's terms" in gated
    assert "no repository 'owner/hidden'" in hidden
    assert "token=" in hidden
    assert "token=" in plain
    assert "owner/broken" in broken
    assert "owner/nonsense" in nonsense
    assert "no such revision" in revision
    assert SECRET not in json.dumps(answers)


def test_a_server_that_is_not_there_is_told_at_once(load):
    """Without a network, a model that is not in the cache is an error within seconds."""
    [[kind, message, _]] = load({"source": "owner/name"}, endpoint="http://127.0.0.1:9")
    assert kind == "error"
    assert "neither a folder nor in the hub's cache" in message


def test_a_repository_without_weights_is_an_error(hub, load, tiny_checkpoint, tmp_path):
    """One that holds only another format is refused, and told what is wanted."""
    hub.folder = tmp_path / "gguf"
    hub.folder.mkdir()
    config = tiny_checkpoint("mixtral") / "config.json"
    (hub.folder / "config.json").write_bytes(config.read_bytes())
    (hub.folder / "model.gguf").write_bytes(b"GGUF")
    [[kind, message, _]] = load({"source": "owner/name"})
    assert kind == "error"
    assert "no weights of 'owner/name' in the repository" in message
