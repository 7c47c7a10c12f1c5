"""`Image`: what is one, when it is read, where it goes, and where it never shows."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import os
import pickle
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.images import MAX_IMAGE_BYTES
from gemma_structured.models.local import LocalModel
from gemma_structured.testing import FakeOpenRouter, ScriptedModel
from gemma_structured.testing.openrouter_answers import answer_from
from gemma_structured.testing.openrouter_replies import Answer, Failure

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + b"x" * 20,
    "image/gif": b"GIF89a" + b"x" * 20,
    "image/webp": b"RIFF\x10\x00\x00\x00WEBPVP8 " + b"x" * 20,
}
URL = "https://example.org/scans/jane-doe.png?signature=0123456789abcdef"


class Invoice(BaseModel):
    number: str
    total: float


GOOD = '{"number":"A1","total":2.5}'
A1 = Invoice(number="A1", total=2.5)


@pytest.fixture
def fake():
    with FakeOpenRouter(answer=GOOD) as one:
        yield one


@pytest.fixture
def make(fake):
    """Makes models of the fake server, and closes them."""
    models = []

    def of(**options):
        models.append(
            gs.OpenRouterModel("a/b", api_key=fake.key, base_url=fake.base_url, **options)
        )
        return models[-1]

    yield of
    for model in models:
        model.close()


@pytest.mark.parametrize(("kind", "content"), PICTURES.items())
def test_the_type_is_that_of_the_content(tmp_path, kind, content) -> None:
    """Whatever the file is called; bytes and files come to the same."""
    path = tmp_path / "picture.txt"
    path.write_bytes(content)
    url = gs.Image(content).url
    assert url == f"data:{kind};base64,{base64.b64encode(content).decode()}"
    assert gs.Image(path).url == url
    assert gs.Image.from_data_url(url) == gs.Image(content)


@pytest.mark.parametrize(
    "source",
    [b"", b"%PDF-1.7", b"<svg/>", b"RIFF\x10\x00\x00\x00WAVE", "scan.png", "file:///etc/passwd",
     "data:image/png;base64,xx", "ftp://x/y.png", "https://x/ y.png", "https://x/\n", "https://" + "x" * 9000,
     None, 5, bytearray(PNG), [PNG]],
)  # fmt: skip
def test_what_is_no_picture_is_refused_at_once(source) -> None:
    """By type, by first bytes, by scheme; the error does not show it."""
    with pytest.raises(gs.InputError) as caught:
        gs.Image(source)
    assert "passwd" not in str(caught.value)
    assert "PDF-1.7" not in str(caught.value)


@given(content=st.binary(max_size=40))
def test_any_bytes_are_a_picture_or_refused(content) -> None:
    """Nothing else is raised, and what is accepted comes back equal."""
    try:
        image = gs.Image(content)
    except gs.InputError:
        return
    assert gs.Image.from_data_url(image.url) == image


def test_too_large_a_picture_is_refused(tmp_path) -> None:
    """By its real size, a file's before all of it is read."""
    with pytest.raises(gs.InputError, match="20 MiB"):
        gs.Image(PNG + b"x" * MAX_IMAGE_BYTES)
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(100 * MAX_IMAGE_BYTES)
    with pytest.raises(gs.InputError, match="20 MiB"):
        _ = gs.Image(path).url


def test_a_file_is_read_when_it_is_sent(tmp_path) -> None:
    """Not by making, comparing, showing, copying or putting into a message."""
    image = gs.Image(tmp_path / "jane-doe.png")
    message = gs.UserMessage("Look:", image)
    for shown in (repr(image), str(image), repr(message), f"{image}", repr(copy.copy(image))):
        assert "Image(file)" in shown
        assert "jane" not in shown
    assert message == gs.UserMessage("Look:", gs.Image(tmp_path / "jane-doe.png"))
    assert hash(image) == hash(pickle.loads(pickle.dumps(image)))
    with pytest.raises(gs.InputError, match="No such file") as caught:
        _ = image.url
    assert "jane" not in str(caught.value)
    (tmp_path / "jane-doe.png").write_bytes(PNG)
    assert image.url.startswith("data:image/png")


def test_reprs_show_where_it_comes_from_only() -> None:
    """No content, no address."""
    assert repr(gs.Image(PNG)) == f"Image(bytes, {len(PNG)} bytes)"
    assert repr(gs.Image(URL)) == "Image(url)"


def test_what_is_no_file_is_refused(tmp_path) -> None:
    """Folders, pipes without a writer and devices without an end do not hang."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(gs.InputError):
            _ = gs.Image(path).url


@pytest.mark.parametrize("way", ["sync", "async", "stream"])
def test_images_are_sent_where_they_stand(fake, make, tmp_path, way) -> None:
    """Texts and images in the message's order; a URL as it is."""
    path = tmp_path / "scan.png"
    path.write_bytes(PNG)
    message = gs.UserMessage("First:", gs.Image(path), "Second:", gs.Image(URL))
    model = make()
    if way == "sync":
        result = model.generate([message], Invoice)
    elif way == "async":
        result = asyncio.run(model.agenerate([message], Invoice))
    else:
        with model.stream([message], Invoice) as stream:
            result = stream.result()
    assert result.output == A1
    assert fake.requests[0].body["messages"][-1] == {
        "role": "user",
        "content": [
            {"type": "text", "text": "First:"},
            {"type": "image_url", "image_url": {"url": gs.Image(PNG).url}},
            {"type": "text", "text": "Second:"},
            {"type": "image_url", "image_url": {"url": URL}},
        ],
    }


def test_an_image_stays_on_a_re_ask(fake, make) -> None:
    """With what was wrong after it."""
    fake.script(Answer(text="no idea"))
    make().generate([gs.UserMessage(gs.Image(PNG))], Invoice)
    image, feedback = fake.requests[1].body["messages"][-1]["content"]
    assert image["type"] == "image_url"
    assert "previous answer" in feedback["text"]


def test_a_file_that_cannot_be_read_fails_its_own_document(fake, make, tmp_path) -> None:
    """The others of a batch are answered."""
    documents = [[gs.UserMessage(gs.Image(tmp_path / "none.png"))], "text"]
    first, second = make().batch(documents, Invoice, errors="return")
    assert isinstance(first, gs.InputError)
    assert second.output == A1
    assert len(fake.chat_requests) == 1


def test_local_models_refuse_images(tiny_model) -> None:
    """Before anything is decoded; a `FallbackModel` goes on if it is told to."""
    model = LocalModel("tiny")
    model._load = lambda: tiny_model("gemma3")
    document = [gs.UserMessage("x", gs.Image(PNG))]
    with pytest.raises(gs.InputError, match="text only"):
        model.generate(document, bool)
    other = ScriptedModel(["true"])
    assert (
        gs.FallbackModel(model, other, on=[gs.InputError]).generate(document, bool).output is True
    )
    model.unload()


def test_a_model_that_takes_no_images_is_told_apart(fake, make) -> None:
    """It is no reason to try another way of telling the form, nor to remember one as refused."""
    fake.script(Failure(status=404, message="No endpoints found that support image input"))
    model = make(structured="auto")
    with pytest.raises(gs.APIStatusError, match="gemma-structured models"):
        model.generate([gs.UserMessage(gs.Image(PNG))], Invoice)
    assert len(fake.requests) == 1
    model.generate("text", Invoice)
    assert fake.requests[1].body["response_format"]["type"] == "json_schema"


def test_a_redaction_hook_for_texts_alone_sends_no_image(fake, make) -> None:
    """Images pass only a hook of their own."""
    document = [gs.UserMessage("Jane", gs.Image(PNG))]
    with pytest.raises(gs.InputError, match="redact_image"):
        make(redact=str.upper).generate(document, Invoice)
    with pytest.raises(gs.InputError, match="redact_image"):
        gs.FallbackModel(make(), redact=str.upper).generate(document, Invoice)
    assert fake.requests == []
    other = gs.Image(PICTURES["image/gif"])
    make(redact=str.upper, redact_image=lambda _: other).generate(document, Invoice)
    make(redact_image=lambda _: other).generate(document, Invoice)
    for request, said in zip(fake.requests, ("JANE", "Jane"), strict=True):
        text, image = request.body["messages"][-1]["content"]
        assert text["text"] == said
        assert image["image_url"]["url"] == other.url


def test_a_budget_reckons_with_images(fake, make) -> None:
    """Tokens from above, and the price of an image itself."""
    price = gs.Pricing(prompt=Decimal("0.000001"), image=Decimal("0.01"))
    document = [gs.UserMessage(gs.Image(PNG), gs.Image(PNG))]
    for limit, passes in (("0.05", False), ("0.06", True)):
        model = make(price=price, budget=gs.Budget(max_cost=limit))
        if passes:
            model.generate(document, Invoice)
        else:
            with pytest.raises(gs.BudgetExceededError):
                model.generate(document, Invoice)
    assert len(fake.requests) == 1
    assert make().compile(Invoice).count_tokens(document) > 2 * 16_384


def test_no_image_shows_anywhere(fake, make, caplog) -> None:
    """Neither content nor address: in errors, whatever the server quotes, the log and the prompt."""
    caplog.set_level(logging.DEBUG)
    data = gs.Image(PNG).url
    document = [gs.UserMessage("Look:", gs.Image(PNG), gs.Image(URL))]
    fake.script(
        Failure(status=400, message=f"cannot load {URL}"),
        Failure(status=400, message=f"cannot decode {data}"),
    )
    model = make()
    for _ in range(2):
        with pytest.raises(gs.APIStatusError) as caught:
            model.generate(document, Invoice)
        told = str(caught.value) + repr(caught.value) + caplog.text
        assert "cannot" in told
        for secret in ("jane", "0123456789abcdef", data[30:60]):
            assert secret not in told
    assert (
        model.compile(Invoice)
        .prompt(document)
        .endswith(f"[user]\nLook:\n\nImage(bytes, {len(PNG)} bytes)\n\nImage(url)")
    )


@pytest.mark.parametrize("part", [None, 5, b"x", ["x"]])
def test_a_part_that_is_neither_text_nor_image_is_refused(fake, make, part) -> None:
    """As an `InputError`, before anything is sent."""
    with pytest.raises(gs.InputError, match="part of a user's message"):
        make().generate([gs.UserMessage("x", part)], Invoice)
    assert fake.requests == []


def test_a_conversation_keeps_its_images(tmp_path) -> None:
    """Saved as JSON with their content, never as a path, which would be read wherever it is loaded."""
    path = tmp_path / "scan.png"
    path.write_bytes(PNG)
    said = gs.Conversation().user("Look:", gs.Image(path), gs.Image(PNG), gs.Image(URL))
    again = gs.Conversation.from_json(said.to_json())
    assert again == gs.Conversation().user("Look:", gs.Image(PNG), gs.Image(PNG), gs.Image(URL))
    assert str(tmp_path) not in said.to_json()
    written = json.loads(said.to_json())
    for wrong in ({"image": "/etc/passwd"}, {"image": "data:image/png;base64,!"}, {"image": 5}, {}):
        written["messages"][0]["texts"] = [wrong]
        with pytest.raises(gs.InputError):
            gs.Conversation.from_json(json.dumps(written))


def test_the_fake_server_reads_past_images() -> None:
    """A model of this package behind it sees the texts."""
    model = ScriptedModel(lambda request: request.input[-1].text)
    with (
        FakeOpenRouter(answer=answer_from(model)) as server,
        gs.OpenRouterModel("a/b", api_key=server.key, base_url=server.base_url) as remote,
    ):
        said = remote.generate([gs.UserMessage("yes", gs.Image(PNG))], gs.Choice(["yes", "no"]))
    assert said.output == "yes"
