"""Tiny models: real classes, seeded weights, faithful tokenizers and chat templates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError

from gemma_structured.exceptions import InputError
from gemma_structured.testing import tiny_models
from gemma_structured.testing.tiny_models import TINY_ARCHITECTURES, build, save
from gemma_structured.testing.tiny_tokenizers import build_tokenizer, family_tokens

CLASSES = {
    "gemma4": "Gemma4ForCausalLM",
    "gemma4_multimodal": "Gemma4ForConditionalGeneration",
    "gemma3": "Gemma3ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "afmoe": "AfmoeForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
}
FAMILIES = sorted(family_tokens())
CHAT = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "yo"},
    {"role": "user", "content": "so?"},
]
PROMPTS = {
    "gemma4": (
        "<bos><|turn>user\nhi<turn|>\n<|turn>model\nyo<turn|>\n<|turn>user\nso?<turn|>\n"
        "<|turn>model\n<|channel>thought\n<channel|>"
    ),
    "gemma3": (
        "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\nyo<end_of_turn>\n"
        "<start_of_turn>user\nso?<end_of_turn>\n<start_of_turn>model\n"
    ),
    "functiongemma": (
        "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\nyo<end_of_turn>\n"
        "<start_of_turn>user\nso?<end_of_turn>\n<start_of_turn>model\n"
    ),
    "mixtral": "<s>[INST] hi [/INST] yo</s>[INST] so? [/INST]",
    "afmoe": (
        "<|begin_of_text|><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"
        "<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n"
    ),
    "minimax_m2": (
        "]~!b[]~b]system\nYou are a helpful assistant.[e~[\n]~b]user\nhi[e~[\n]~b]ai\nyo[e~[\n"
        "]~b]user\nso?[e~[\n]~b]ai\n<think>\n"
    ),
    "deepseek_v3": (
        "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜>yo<｜end▁of▁sentence｜><｜User｜>so?<｜Assistant｜>"
    ),
}


def logits(model, ids: list[int]) -> torch.Tensor:
    """Logits after every position: [position, vocab]."""
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_builds_the_class_that_full_models_have(architecture):
    """Each name gives its own class of transformers, small, with room for long prompts."""
    model, _ = build(architecture)
    assert type(model).__name__ == CLASSES[architecture]
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    assert model.config.get_text_config().max_position_embeddings >= 16_384
    assert not model.training


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_weights_follow_from_the_seed(architecture):
    """The same seed gives the same weights whatever the global generator did; another does not."""
    torch.manual_seed(1)
    one = build(architecture)[0].state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = build(architecture)[0].state_dict()
    other = build(architecture, seed=1)[0].state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_logits_say_something(architecture):
    """Logits spread, prefer no token for ever, and depend on the context and its distant start."""
    model, tokenizer = build(architecture)
    first = max(family_tokens()[architecture.removesuffix("_multimodal")].names) + 200
    ids = [first % len(tokenizer), *(40 + i % 57 for i in range(3 * tiny_models.SLIDING_WINDOW))]
    out = logits(model, ids)
    spread = out.std(-1)
    likeliest = out.softmax(-1).amax(-1)
    assert (spread > 1.0).all()
    assert (spread < 5.0).all()
    assert likeliest.mean() < 0.8
    assert len(set(out.argmax(-1).tolist())) > 10
    assert (
        logits(model, [(first + 1) % len(tokenizer), *ids[1:]])[-1] - out[-1]
    ).abs().max() > 1e-4


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_generation_ends_with_every_end_of_turn(architecture):
    """The configuration names all ends of a turn, and rows of logits beyond the tokenizer exist."""
    model, tokenizer = build(architecture)
    family = family_tokens()[architecture.removesuffix("_multimodal")]
    expected = [tokenizer.convert_tokens_to_ids(end) for end in family.ends]
    assert model.generation_config.eos_token_id == expected
    assert model.config.get_text_config().vocab_size >= len(tokenizer)


def test_gemma4_control_tokens_have_their_published_ids():
    """The ids that the real checkpoints use hold in the byte vocabulary too."""
    tokenizer = build_tokenizer("gemma4")
    tokens = ["<|tool_call>", "<|tool_response>", '<|"|>', "<|channel>", "<|turn>", "<turn|>"]
    assert tokenizer.convert_tokens_to_ids(tokens) == [48, 50, 52, 100, 105, 106]
    assert tokenizer.eos_token_id == 1
    assert tokenizer.bos_token_id == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_control_tokens_are_added_tokens(family):
    """Each is one id in text, and is flagged special exactly where its family flags it."""
    tokenizer = build_tokenizer(family)
    tokens = family_tokens()[family]
    added = tokenizer.added_tokens_decoder
    for i, token in tokens.names.items():
        assert tokenizer(f"a{token}b", add_special_tokens=False).input_ids[1:-1] == [i]
        assert added[i].special == (token in tokens.special)


@pytest.mark.parametrize("family", FAMILIES)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=50, deadline=None)
def test_byte_vocabulary_writes_any_text(family, text):
    """Encoding is one token a byte, and decoding gives the text back."""
    tokenizer = TOKENIZERS[family]
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    if not any(token in text for token in family_tokens()[family].names.values()):
        assert len(ids) == len(text.encode())


TOKENIZERS = {family: build_tokenizer(family) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_chat_template_writes_the_family_format(family):
    """A conversation renders as the family writes it, with the prompt of the next answer."""
    tokenizer = TOKENIZERS[family]
    prompt = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert prompt == PROMPTS[family]


def test_gemma4_system_turn_holds_thinking_and_tools():
    """The system turn opens with `<|think|>`, then the text, then each tool's declaration."""
    tool = {
        "type": "function",
        "function": {
            "name": "f",
            "description": "d",
            "parameters": {"type": "object", "properties": {"b": {"type": "STRING"}, "A": {}}},
        },
    }
    prompt = TOKENIZERS["gemma4"].apply_chat_template(
        [{"role": "system", "content": "S"}, CHAT[0]],
        tools=[tool],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=True,
    )
    assert prompt == (
        '<bos><|turn>system\n<|think|>\nS<|tool>declaration:f{description:<|"|>d<|"|>,parameters:'
        '{properties:{A:{},b:{type:<|"|>STRING<|"|>}},type:<|"|>object<|"|>}}<tool|><turn|>\n'
        "<|turn>user\nhi<turn|>\n<|turn>model\n"
    )


def test_gemma4_goes_on_in_the_turn_of_its_tool_calls():
    """A call, its result and the answer share one model turn, values in the family's syntax."""
    call = {"type": "function", "function": {"name": "f", "arguments": {"b": None, "A": [1, True]}}}
    chat = [
        CHAT[0],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "f", "content": "r"},
    ]
    prompt = TOKENIZERS["gemma4"].apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    )
    assert prompt.endswith(
        "<|turn>model\n<|tool_call>call:f{A:[1,true],b:null}<tool_call|>"
        '<|tool_response>response:f{value:<|"|>r<|"|>}<tool_response|>'
    )


def test_mixtral_has_no_system_role():
    """As in the real template, a system message is an error."""
    with pytest.raises(TemplateError, match="alternate"):
        TOKENIZERS["mixtral"].apply_chat_template(
            [{"role": "system", "content": "S"}, CHAT[0]], tokenize=False
        )


@pytest.mark.parametrize("family", ["gemma3", "afmoe", "minimax_m2", "deepseek_v3"])
def test_other_families_render_a_system_message(family):
    """Its text comes before the user's."""
    prompt = TOKENIZERS[family].apply_chat_template(
        [{"role": "system", "content": "SYSTEM"}, CHAT[0]], tokenize=False
    )
    assert 0 < prompt.index("SYSTEM") < prompt.index("hi")


@pytest.mark.parametrize("family", ["afmoe", "minimax_m2", "deepseek_v3"])
def test_native_tool_calls_render(family):
    """A call in the history is written between the family's own marks."""
    # DeepSeek's template takes the arguments as JSON text, the others as an object.
    arguments = '{"k": "v"}' if family == "deepseek_v3" else {"k": "v"}
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    marks = {
        "afmoe": '<tool_call>\n{"name": "f", "arguments": {"k": "v"}}\n</tool_call>',
        "minimax_m2": '<minimax:tool_call>\n<invoke name="f">\n<parameter name="k">v</parameter>\n</invoke>\n</minimax:tool_call>',
        "deepseek_v3": '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{"k": "v"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>',
    }
    chat = [CHAT[0], {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert marks[family] in TOKENIZERS[family].apply_chat_template(chat, tokenize=False)


def test_saving_writes_a_checkpoint(tmp_path, capfd):
    """What a hub holds is there, and nothing is printed."""
    folder = save("mixtral", tmp_path / "new")
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", ["", "gemma5", "Gemma4", "../gemma4"])
def test_unknown_names_are_refused(wrong):
    """An unknown architecture, family or vocabulary is an input error that names the choices."""
    with pytest.raises(InputError, match="mixtral"):
        build(wrong)
    with pytest.raises(InputError, match="mixtral"):
        build_tokenizer(wrong)
    with pytest.raises(InputError, match="over"):
        build_tokenizer("gemma4", wrong)


def test_gemma_vocabulary_carries_any_family(embedded_checkpoint):
    """Control tokens stand in for unused ones of the real vocabulary, the rest stays."""
    real = build_tokenizer("gemma4", "gemma")
    assert len(real) == 262_144
    assert real.convert_tokens_to_ids(["<|turn>", "<turn|>", "<|tool_response>"]) == [105, 106, 50]
    assert real("Hello world", add_special_tokens=False).input_ids == [9259, 1902]
    deepseek = build_tokenizer("deepseek_v3", "gemma")
    ids = deepseek("<｜User｜>Hello", add_special_tokens=False).input_ids
    assert deepseek.convert_ids_to_tokens(ids) == ["<｜User｜>", "Hello"]
    assert deepseek.decode(deepseek("  a\n\n<b>").input_ids) == "  a\n\n<b>"


def test_gemma_vocabulary_makes_a_model(embedded_checkpoint):
    """A tiny model over the real vocabulary has a row of logits for each token."""
    model, tokenizer = build("gemma4", vocab="gemma")
    ids = tokenizer("Hello world").input_ids
    assert logits(model, ids).shape == (len(ids), 262_144)
