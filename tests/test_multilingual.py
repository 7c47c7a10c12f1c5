"""Many scripts and emoji sequences: masks that can be finished, lengths in code points, exact text.

The vocabulary is Gemma's real one, whose tokens are whole words of many scripts, single characters,
and single bytes for what has no token.
"""

from __future__ import annotations

import enum
import random
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

import gemma_structured as gs
from gemma_structured.exceptions import TokenRejectedError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing import tiny_models

if TYPE_CHECKING:
    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.grammar.backend import GrammarMatcher

SAMPLES = {
    "arabic": "مرحبًا بالعالم",
    "arabic, marked": "\u202bقيمة: ١٢٣\u202c",
    "chinese": "机器学习与数据",
    "chinese, beyond the basic plane": "𠮷野家𪚥",
    "hindi": "नमस्ते क्षत्रिय",
    "japanese": "データベースを作る",
    "japanese, half width": "ﾃﾞｰﾀ",
    "korean": "안녕하세요 세계",
    "korean, in parts": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "russian": "Привет, мир",
    "thai": "สวัสดีชาวโลก น้ำ",
    "family": "👨‍👩‍👧‍👦",
    "skin tone and profession": "👩🏽‍🚀👍🏿",
    "flags": "🇩🇪🇯🇵🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "keycap and heart": "1️⃣❤️‍🔥",
    "combined": "e\u0301a\u0308 z\u0351\u036b\u0343",
    "rare": "𓀀\U0001f6df\U00010330ꦗ",
}
TEXTS = pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
ARCHITECTURES = ["gemma4", "mixtral"]


@cache
def model_of(architecture: str) -> gs.LocalModel:
    """A tiny model over the real vocabulary: its tokenizer is made ready once."""
    model, tokenizer = tiny_models.build(architecture, vocab="gemma")  # type: ignore[arg-type]
    return gs.LocalModel.from_transformers(model, tokenizer, name=architecture)


@pytest.fixture(scope="module")
def gemma4(embedded_checkpoint) -> gs.LocalModel:
    """The tiny Gemma 4 over the real vocabulary."""
    return model_of("gemma4")


@pytest.fixture(scope="module")
def runtime(gemma4) -> Runtime:
    """Its vocabulary and grammars."""
    return gemma4.runtime()


def matcher_of(runtime: Runtime, spec: Any) -> GrammarMatcher:
    """At the start of an output type's grammar."""
    grammar, _ = Grammar.for_output_type(OutputType.of(spec), None)
    return runtime.compiler.compile(grammar).matcher()


def allowed(runtime: Runtime, matcher: GrammarMatcher) -> list[int]:
    """What may come next, the end among it."""
    mask = bitmask.allocate(1, runtime.vocabulary.size)[0]
    matcher.fill_bitmask(mask)
    return [int(i) for i in bitmask.allowed_ids(mask, runtime.vocabulary.size)]


def accepts(runtime: Runtime, matcher: GrammarMatcher, text: str) -> bool:
    """Whether a whole text is allowed, as the tokenizer writes it."""
    one = matcher.fork()
    try:
        one.accept(runtime.vocabulary.encode(text))
    except TokenRejectedError:
        return False
    return one.is_accepting


@TEXTS
def test_text_is_encoded_exactly(runtime, text):
    """Ids of a text decode to the same code points, together and piece by piece, never to U+FFFD."""
    vocabulary = runtime.vocabulary
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    decoder = vocabulary.decoder()
    pieces = [decoder.feed([i]) for i in ids] + [decoder.flush()]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)


@TEXTS
def test_lengths_are_counted_in_code_points(runtime, text):
    """A string of n code points fits maxLength n and minLength n, and not n - 1 and n + 1."""
    written = f'"{text}"'
    n = len(text)
    exactly = Annotated[str, Field(min_length=n, max_length=n)]
    assert accepts(runtime, matcher_of(runtime, exactly), written)
    shorter = Annotated[str, Field(max_length=n - 1)]
    longer = Annotated[str, Field(min_length=n + 1)]
    assert not accepts(runtime, matcher_of(runtime, shorter), written)
    assert not accepts(runtime, matcher_of(runtime, longer), written)
    assert OutputType.of(exactly).dump(text) == written
    assert accepts(runtime, matcher_of(runtime, gs.Regex(f"(?:.|\\n){{{n}}}")), text)
    assert not accepts(runtime, matcher_of(runtime, gs.Regex(f"(?:.|\\n){{{n + 1}}}")), text)


@TEXTS
def test_masks_never_split_what_cannot_be_finished(runtime, text):
    """Whatever token a mask allows inside a choice, a way on to its end is left."""
    others = [text + "!", text[: len(text) // 2] + "🙂", text]
    for spec in (gs.Choice(others), Literal[tuple(others)]):
        matcher = matcher_of(runtime, spec)
        pending, states = [matcher], 0
        while pending and states < 60:
            here = pending.pop()
            states += 1
            ids = allowed(runtime, here)
            assert ids
            for token_id in random.Random(states).sample(ids, min(len(ids), 12)):
                if token_id in runtime.vocabulary.end_ids:
                    assert here.is_accepting
                    continue
                following = here.fork()
                following.accept([token_id])
                assert following.is_finished or allowed(runtime, following)
                pending.append(following)


@TEXTS
def test_a_bound_leaves_room_to_finish_a_character(runtime, text):
    """At the last code point of a bound, no token is allowed that begins another one."""
    n = len(text)
    matcher = matcher_of(runtime, Annotated[str, Field(max_length=n)])
    tokens = runtime.vocabulary.tokens
    ids = runtime.vocabulary.encode(f'"{text}')
    if matcher.count_valid(ids) < len(ids):
        pytest.fail("the text itself is not allowed")
    matcher.accept(ids)
    assert {tokens[i] for i in allowed(runtime, matcher)} == {b'"'}


@TEXTS
def test_any_script_may_be_a_key_an_enum_and_a_pattern(gemma4, text):
    """As a property, an option, a key of a map, a pattern and a choice, text comes back as it was."""
    aliased = create_model(
        "Aliased", __config__=ConfigDict(extra="forbid"), field=(bool, Field(alias=text))
    )
    options = {"temperature": 1.0, "seed": 1, "max_tokens": 400}
    assert list(gemma4.generate(text, aliased, **options).output.model_dump(by_alias=True)) == [
        text
    ]
    member = enum.Enum("Member", {"ONLY": text, "OTHER": f"{text}{text}"})
    assert gemma4.generate(text, member, **options).output in member
    mapped = gemma4.generate(text, dict[Literal[text, "z"], int], **options).output
    assert set(mapped) <= {text, "z"}
    assert gemma4.generate(text, gs.Choice([text]), **options).output == text
    letters = "".join(sorted(set(text) - set("\\]^-")))
    pattern = gs.Regex(f"[{letters}]{{2,5}}")
    found = gemma4.generate(text, Annotated[str, pattern], **options).output
    assert set(found) <= set(letters)
    assert 2 <= len(found) <= 5
    assert gemma4.generate(text, pattern, **options).finish_reason == "stop"


@TEXTS
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_documents_reach_the_model_as_they_are(embedded_checkpoint, architecture, text):
    """The prompt holds the document, the instruction and the example, code point by code point."""
    model = model_of(architecture)
    task = model.compile(
        Literal["a"], instruction=f"1 {text}", examples=[gs.Example(f"2 {text}", "a")]
    )
    prompt = task.prompt(f"3 {text}\n{text}")
    for expected in (f"1 {text}", f"2 {text}", f"3 {text}\n{text}"):
        assert expected in prompt
    runtime = model.runtime()
    assert runtime.vocabulary.decode(runtime.vocabulary.encode(prompt)) == prompt


class Note(BaseModel):
    """A note in any script."""

    title: Annotated[str, Field(min_length=1, max_length=12)]
    kana: Annotated[str, gs.Regex(r"[ぁ-んァ-ヶ]{1,4}")]
    hangul: Annotated[str, Field(pattern=r"^[가-힣]+$", max_length=5)]
    devanagari: Annotated[str, gs.Regex(r"\p{Script=Devanagari}{1,6}")]
    place: Literal["東京 🗼", "München", "القاهرة", "กรุงเทพ"]
    tags: Annotated[list[Annotated[str, Field(max_length=4)]], Field(max_length=2)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_random_models_write_whole_characters(embedded_checkpoint, architecture):
    """At high temperature every answer and every streamed piece validates, and no character breaks."""
    model = model_of(architecture)
    scripts: set[str] = set()
    for seed in range(12):
        options = {"temperature": 2.0, "seed": seed, "max_tokens": 400, "max_attempts": 1}
        with model.stream("東京", Note, **options) as stream:
            pieces = [piece for piece in stream if isinstance(piece, gs.Partial)]
            result = stream.result()
        assert "".join(piece.delta for piece in pieces) == result.text
        assert "\ufffd" not in result.text.replace("\\ufffd", "")
        assert result.text.encode().decode() == result.text
        scripts |= set(result.output.title)
    assert any(ord(character) > 0x2000 for character in scripts)


@gs.tool
def remember(
    text: Annotated[str, Field(max_length=60)],
    where: Literal["東京 🗼", "Москва", "กรุงเทพ"],
    labels: dict[str, Annotated[str, Field(max_length=60)]],
) -> None:
    """Remember something. メモ、مذكرة、메모."""


@TEXTS
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_arguments_of_calls_are_exact(embedded_checkpoint, architecture, text):
    """A call with any script in its keys and values is allowed, token by token, and parses back."""
    from gemma_structured.families.registry import family_for
    from gemma_structured.families.turn import turn_grammar

    runtime = model_of(architecture).runtime()
    form = family_for(architecture, has_chat_template=True).call_format(runtime.tokenizer)
    offer = gs.ToolOffer.of([remember], choice="required")
    arguments = {"text": text, "where": "東京 🗼", "labels": {text: text[::-1], "z": ""}}
    written = form.write([gs.ToolCall("remember", arguments)], offer.tools)
    (parsed,) = form.parse(written, offer.tools).calls
    assert parsed.written == arguments
    rules = form.rules(runtime.vocabulary, offer, None)
    grammar = turn_grammar(runtime.vocabulary, calls=rules, must_call=True)
    matcher = runtime.compiler.compile(grammar).matcher()
    ids = runtime.vocabulary.encode_template(written)
    assert matcher.count_valid(ids) == len(ids)
    matcher.accept(ids)
    assert matcher.is_accepting
    assert runtime.vocabulary.decode(ids, show_control=True) == written


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_random_calls_hold_whole_characters(embedded_checkpoint, architecture):
    """Calls of a random model over the real vocabulary validate, whatever script it takes to."""
    for seed in range(6):
        (call,) = model_of(architecture).call_tools(
            "メモ", [remember], parallel=(1, 1), temperature=1.5, seed=seed, max_tokens=900,
            max_attempts=1, bounds=gs.Bounds(properties=2, key_length=8, string_length=16),
        )  # fmt: skip
        assert call.arguments["where"] in {"東京 🗼", "Москва", "กรุงเทพ"}
        assert "\ufffd" not in call.arguments["text"]
        assert len(call.arguments["text"]) <= 60


class Answer(BaseModel):
    """What the embedded model is asked for."""

    language: Literal["العربية", "中文", "हिन्दी", "日本語", "한국어", "русский", "ไทย", "🙂🇩🇪"]
    quote: Annotated[str, Field(min_length=2, max_length=8)]


@TEXTS
def test_the_embedded_model_in_any_script(local_model, text):
    """A real model answers documents of any script with whole characters and typed values."""
    result = local_model.generate(f"{text}\n{text}", Answer, max_tokens=120)
    assert result.output.language in Answer.model_fields["language"].annotation.__args__
    assert 2 <= len(result.output.quote) <= 8
    assert "\ufffd" not in result.text
    copied = local_model.generate(text, gs.Choice([text, "?"]), max_tokens=120)
    assert copied.output in {text, "?"}
