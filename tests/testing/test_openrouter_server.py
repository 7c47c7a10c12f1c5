"""The fake server: the shapes of the API, as the official SDKs read them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import httpx
import pytest

from gemma_structured.testing.openrouter_replies import Answer, Failure
from gemma_structured.testing.openrouter_server import FakeOpenRouter

SDK_PYTHON = os.environ.get("OPENROUTER_SDK_PYTHON", "")
"""An interpreter whose environment has `openrouter` and `openai`, which are no dependencies here."""


def post(server, client, **body):
    headers = {"Authorization": f"Bearer {server.key}"}
    url = f"{server.base_url}/chat/completions"
    return client.post(url, json={"model": "m", "messages": [], **body}, headers=headers)


def test_it_answers_from_a_script_and_then_from_a_function():
    """Replies in order; what was asked is kept."""
    with FakeOpenRouter(
        Failure(status=503), answer=lambda received: received.body["model"]
    ) as server:
        with httpx.Client() as client:
            assert post(server, client).status_code == 503
            choice = post(server, client).json()["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == ("m", "stop")
            lines = post(server, client, stream=True).text.split("\n\n")
        assert lines[0] == ": OPENROUTER PROCESSING"
        assert lines[-2] == "data: [DONE]"
        assert [received.path for received in server.requests] == ["/chat/completions"] * 3
        assert server.requests[2].body["stream"] is True


def test_it_wants_its_key_and_knows_its_paths():
    """Anything else is an error as the API has them."""
    server = FakeOpenRouter(pricing={"a/b": {"prompt": "1", "completion": "2"}})
    server.script()
    with server, httpx.Client() as client:
        client.base_url = server.base_url
        assert client.get("/models").status_code == 401
        client.headers["Authorization"] = f"Bearer {server.key}"
        assert client.get("/models").json()["data"][0]["id"] == "a/b"
        endpoints = client.get("/models/a/b/endpoints").json()["data"]["endpoints"]
        assert endpoints == [{"pricing": {"prompt": "1", "completion": "2"}}]
        for path in ("/models/c/d/endpoints", "/nowhere"):
            assert client.get(path).json()["error"]["code"] == 404
        assert client.post("/nowhere", json={}).status_code == 404
        assert post(server, client).status_code == 418


def test_a_cut_answer_is_cut():
    """The connection closes before what was promised."""
    with FakeOpenRouter(*[Answer(text="x" * 50, cut=20)] * 2) as server, httpx.Client() as client:
        for stream in (False, True):
            with pytest.raises(httpx.RemoteProtocolError):
                post(server, client, stream=stream)


@pytest.mark.skipif(
    not SDK_PYTHON, reason="needs OPENROUTER_SDK_PYTHON, with openrouter and openai"
)
def test_the_official_sdks_can_use_it():
    """Chat and stream, with OpenRouter's SDK and with OpenAI's."""
    script = Path(__file__).parent / "official_sdks.py"
    with FakeOpenRouter(answer=Answer(text="Hello, world", reasoning="hm")) as server:
        run = subprocess.run(
            [SDK_PYTHON, str(script), server.base_url, server.key],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.stdout.splitlines() == ["Hello, world"] * 4, run.stderr
