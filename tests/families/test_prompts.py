"""Prompts of documents: as the template writes them, and no text in them is ever a control token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.decoding.chat_tokenizer import TransformersChatTokenizer
from gemma_structured.exceptions import InputError
from gemma_structured.families.base import Family
from gemma_structured.families.completion import Completion
from gemma_structured.families.registry import FAMILIES, family_for
from gemma_structured.grammar.vocabulary import Vocabulary
from gemma_structured.messages import AssistantMessage, SystemMessage, UserMessage
from gemma_structured.testing.byte_tokenizer import ByteTokenizer
from gemma_structured.testing.tiny_tokenizers import build_tokenizer

if TYPE_CHECKING:
    from gemma_structured.decoding.loaded_model import LoadedModel

NAMES = ("gemma4", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3")


def render(setting, *messages, **options):
    return setting.family.render(messages, setting.tokenizer, **options)


def controls_of(vocabulary: Vocabulary, ids) -> list[int]:
    return [i for i in ids if i in vocabulary.control_ids]


def test_every_control_token_stays_text(setting):
    """Alone, doubled, cut by others and inside words, in every role, and the text round-trips."""
    names = [
        setting.vocabulary.decode([i], show_control=True)
        for i in sorted(setting.vocabulary.control_ids)
    ]
    harmless = render(
        setting, SystemMessage("s"), UserMessage("u"), AssistantMessage("a"), UserMessage("d")
    )
    expected = controls_of(setting.vocabulary, harmless.token_ids)
    for name in names:
        for evil in (name, name + name, f"x{name}y", f"{name[:2]}{name}{name[2:]}"):
            ids = setting.tokenizer.encode(evil)
            assert not controls_of(setting.vocabulary, ids)
            assert setting.vocabulary.decode(ids) == evil
        texts = [f"{role} {name}" for role in "suad"]
        rendered = render(
            setting,
            SystemMessage(texts[0]),
            UserMessage(texts[1]),
            AssistantMessage(texts[2]),
            UserMessage(texts[3]),
        )
        assert controls_of(setting.vocabulary, rendered.token_ids) == expected
        assert setting.vocabulary.decode(rendered.token_ids, show_control=True) == rendered.text


@pytest.mark.embedded
def test_every_control_token_of_the_real_gemma_stays_text(embedded_model: LoadedModel):
    """All of them, some 6,000, each on its own and all in one document."""
    backend = embedded_model.tokenizer.backend_tokenizer
    vocabulary = Vocabulary.from_tokenizer(
        backend, end_ids=embedded_model.end_ids, size=embedded_model.model.config.vocab_size
    )
    names = [backend.id_to_token(i) for i in sorted(vocabulary.control_ids)]
    assert len(names) > 6000
    for name in names:
        ids = vocabulary.encode(f"a {name} b")
        assert not controls_of(vocabulary, ids)
        assert vocabulary.decode(ids) == f"a {name} b"
    document = "\n".join(names)
    rendered = Completion().render(
        [UserMessage(document)], TransformersChatTokenizer(embedded_model.tokenizer, vocabulary)
    )
    assert controls_of(vocabulary, rendered.token_ids) == [embedded_model.tokenizer.bos_token_id]
    assert document in vocabulary.decode(rendered.token_ids)


TURNS = {
    "one turn": [UserMessage("Hello, world.")],
    "a system message": [SystemMessage("Be brief."), UserMessage("Hello")],
    "examples": [
        SystemMessage("Be brief."),
        UserMessage("one"),
        AssistantMessage('{"a":1}'),
        UserMessage("two"),
        AssistantMessage('{"a":2}'),
        UserMessage("three"),
    ],
    "white space": [
        UserMessage("\n  one\t\n"),
        AssistantMessage("  two "),
        UserMessage("\n\nthree  "),
    ],
    "several texts": [UserMessage("first\n", "  second", "third")],
    "no text": [UserMessage("")],
    "only white space": [UserMessage(" \n ")],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("messages", TURNS.values(), ids=TURNS.keys())
def test_the_prompt_is_what_the_template_writes(name, messages, settings_by_name):
    """Placeholders leave no trace: the text, white space and all, is the template's own."""
    setting = settings_by_name[name]
    tokenizer = build_tokenizer(name)
    given = [
        {"role": type(m).__name__.removesuffix("Message").lower(), "content": m.text}
        for m in messages
    ]
    if name == "mixtral" and given[0]["role"] == "system":
        system = given.pop(0)["content"]
        given[0]["content"] = f"{system}\n\n{given[0]['content']}"
    own = tokenizer.apply_chat_template(
        given, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    if name == "minimax_m2":
        own += "\n</think>\n\n"
    rendered = render(setting, *messages)
    assert rendered.text == own
    assert setting.vocabulary.decode(rendered.token_ids, show_control=True) == own


DOCUMENTS = st.text(st.sampled_from(" \n\ta<b>é|"), max_size=12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(NAMES), DOCUMENTS, DOCUMENTS)
def test_two_documents_share_exactly_the_fixed_part(settings_by_name, name, one, other):
    """Whatever white space they begin with, the fixed part is as long and has the same ids."""
    setting = settings_by_name[name]
    before = [SystemMessage("s"), UserMessage("q"), AssistantMessage("a")]
    prompts = [render(setting, *before, UserMessage(text)) for text in (one, other)]
    _check_fixed(prompts)


def _check_fixed(prompts):
    first, second = prompts
    assert first.fixed_length == second.fixed_length > 0
    assert first.token_ids[: first.fixed_length] == second.token_ids[: first.fixed_length]
    assert first.fixed_length <= len(first.token_ids)


class Spaced(Family):
    """A template that keeps white space, as some do."""

    def layout(self, messages, tokenizer, **_):
        return "".join(f"<start_of_turn>{m['content']}<end_of_turn>" for m in messages)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from([Spaced(), Completion()]), DOCUMENTS, DOCUMENTS)
def test_white_space_that_is_kept_belongs_to_its_text(byte_chat, family, one, other):
    """Where a template does not trim, the fixed part still ends before the document's own space."""
    before = [SystemMessage("s\n"), UserMessage(" q"), AssistantMessage("a ")]
    prompts = [family.render([*before, UserMessage(text)], byte_chat) for text in (one, other)]
    _check_fixed(prompts)
    for text, prompt in zip((one, other), prompts, strict=True):
        assert prompt.text.count(text) or not text
        start = len(byte_chat.encode_template(prompt.text)) - prompt.fixed_length
        assert start > 0


@pytest.fixture(scope="session")
def byte_chat():
    """A byte tokenizer with a small chat template."""
    tokens = ByteTokenizer()
    return TransformersChatTokenizer(tokens.transformers(), tokens.vocabulary())


def test_a_repeated_document_is_not_in_the_fixed_part(byte_chat):
    """Where a template writes the last message twice, the fixed part ends before the first."""

    class Twice(Family):
        def layout(self, messages, tokenizer, **_):
            return "".join(f"{m['content']}|{m['content']}|" for m in messages)

    prompts = [
        Twice().render([SystemMessage("s"), UserMessage(t)], byte_chat) for t in ("ab", "cd")
    ]
    assert [prompt.text for prompt in prompts] == ["s|s|ab|ab|", "s|s|cd|cd|"]
    assert [prompt.fixed_length for prompt in prompts] == [4, 4]


def test_without_a_system_role_its_text_opens_the_first_user_turn(settings_by_name):
    """Once, whatever is said afterwards."""
    text = render(
        settings_by_name["mixtral"],
        SystemMessage("Be brief."),
        UserMessage("one"),
        AssistantMessage("two"),
        UserMessage("three"),
    ).text
    assert text == "<s>[INST] Be brief.\n\none [/INST] two</s>[INST] three [/INST]"


def test_feedback_follows_the_document(setting):
    """The texts of one message are joined by a blank line; what comes first is encoded alike."""
    plain = render(setting, UserMessage("the document"))
    asked_again = render(setting, UserMessage("the document", "It was wrong."))
    assert "the document\n\nIt was wrong." in asked_again.text
    shared = plain.fixed_length + len(setting.tokenizer.encode("the document"))
    assert plain.token_ids[:shared] == asked_again.token_ids[:shared]


def test_a_thought_that_the_template_opens_is_closed(settings_by_name):
    """MiniMax M2's prompt ends where the answer begins."""
    text = render(settings_by_name["minimax_m2"], UserMessage("hi")).text
    assert text.endswith("<think>\n\n</think>\n\n")
    assert text.count("<think>") == 1


def test_a_base_model_is_shown_inputs_and_outputs(byte_chat):
    """The layout of its docstring, ending where the answer begins."""
    messages = [
        SystemMessage("Extract the invoice."),
        UserMessage("twelve euros"),
        AssistantMessage('{"total":12}'),
        UserMessage("five euros"),
    ]
    assert Completion().render(messages, byte_chat).text == (
        "<bos>Extract the invoice.\n\n"
        'Input:\ntwelve euros\nOutput:\n{"total":12}\n\n'
        "Input:\nfive euros\nOutput:\n"
    )


def test_a_template_that_drops_a_message_is_an_error(byte_chat):
    """Nothing that was said is lost without a word."""

    class LastOnly(Family):
        def layout(self, messages, tokenizer, **_):
            return messages[-1]["content"]

    with pytest.raises(InputError, match="leaves out a part"):
        LastOnly().render([SystemMessage("s"), UserMessage("u")], byte_chat)
    assert LastOnly().render([UserMessage("u")], byte_chat).text == "u"


def test_what_the_template_refuses_is_an_input_error(settings_by_name):
    """With the template's own words, and what to do."""
    with pytest.raises(
        InputError, match=r"refuses the conversation: Conversation roles must.*order"
    ):
        render(settings_by_name["mixtral"], UserMessage("a"), UserMessage("b"))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_an_input_error(setting, text):
    """It has no bytes, so no token."""
    with pytest.raises(InputError, match="surrogate"):
        render(setting, UserMessage(text))


def test_nul_and_other_control_characters_are_text(setting):
    """They are encoded as any other character."""
    rendered = render(setting, UserMessage("a\x00b\x1b\u202ec\ufeff."))
    assert "a\x00b\x1b\u202ec\ufeff." in setting.vocabulary.decode(rendered.token_ids)


def test_a_family_is_told_by_the_model_type():
    """One without a template is a base model; an unknown one does as its template says."""
    types = [model_type for family in FAMILIES for model_type in family.model_types]
    assert len(types) == len(set(types))
    for family in FAMILIES:
        for model_type in family.model_types:
            assert type(family_for(model_type, has_chat_template=True)) is family
            assert type(family_for(model_type, has_chat_template=False)) is Completion
    assert type(family_for("llama", has_chat_template=True)) is Family
