"""Loading checkpoints: every architecture loads right, and whatever is wrong is a `LoadError`."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from gemma_structured.decoding import placement
from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.decoding.loader import from_transformers, load_model, set_experts
from gemma_structured.decoding.quiet import quiet_transformers
from gemma_structured.exceptions import InputError, LoadError
from gemma_structured.testing import tiny_models
from gemma_structured.testing.tiny_models import TINY_ARCHITECTURES

IDS = [list(range(110, 180))]  # no control token of any family
FLOAT32 = LoadOptions(device="cpu", precision="float32")


def logits(model, ids=IDS):
    """Logits after every position: [batch, position, vocab]."""
    with torch.inference_mode():
        return model(torch.tensor(ids)).logits


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path):
    """Gives a copy of a tiny checkpoint that a test may change."""

    def copy(architecture):
        return shutil.copytree(tiny_checkpoint(architecture), tmp_path / architecture)

    return copy


def edit_weights(folder, change):
    """Rewrite a checkpoint's tensors."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def edit_json(path, **changes):
    """Set keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_a_checkpoint_loads_as_it_was_saved(architecture, tiny_checkpoint, capfd):
    """Logits equal those of the model in memory, and the terminal stays empty."""
    model, tokenizer = tiny_models.build(architecture)
    loaded = load_model(tiny_checkpoint(architecture), FLOAT32)
    assert torch.equal(logits(loaded.model), logits(model))
    assert loaded.tokenizer.chat_template == tokenizer.chat_template
    text = "Some text, {with} <b>marks</b>\n"
    assert loaded.tokenizer(text).input_ids == tokenizer(text).input_ids
    assert loaded.context_length == tiny_models.CONTEXT_LENGTH
    assert loaded.dtype == torch.float32
    assert loaded.device == torch.device("cpu")
    assert not loaded.model.training
    assert set(loaded.end_ids) == set(model.generation_config.eos_token_id)
    assert loaded.end_ids[0] == tokenizer.eos_token_id
    assert capfd.readouterr() == ("", "")


def test_multimodal_gemma4_loads_its_text_model_alone(tiny_checkpoint):
    """No weight of the vision tower is read, and the logits are those of the whole."""
    whole, _ = tiny_models.build("gemma4_multimodal")
    loaded = load_model(tiny_checkpoint("gemma4_multimodal"), FLOAT32)
    assert loaded.architecture == "Gemma4ForCausalLM"
    assert loaded.model_type == "gemma4_text"
    assert not any("vision" in name for name, _ in loaded.model.named_parameters())
    assert sum(p.numel() for p in loaded.model.parameters()) < sum(
        p.numel() for p in whole.parameters()
    )


@pytest.mark.parametrize("layout", ["new", "old"])
def test_multimodal_gemma3_loads_its_text_model_alone(layout, tiny_checkpoint, tmp_path):
    """Both layouts of published Gemma 3 checkpoints give the logits of the text model."""
    text = shutil.copytree(tiny_checkpoint("gemma3"), tmp_path / "whole")
    new = {
        "model.": "model.language_model.",
        "vision": "model.vision_tower.vision_model.post_layernorm.weight",
    }
    old = {
        "model.": "language_model.model.",
        "vision": "vision_tower.vision_model.post_layernorm.weight",
    }
    names = new if layout == "new" else old

    def wrap(tensors):
        for name in list(tensors):
            tensors[name.replace("model.", names["model."], 1)] = tensors.pop(name)
        tensors[names["vision"]] = torch.ones(8)

    edit_weights(text, wrap)
    config = json.loads((text / "config.json").read_text())
    whole = {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": config,
        "eos_token_id": config["eos_token_id"],
    }
    (text / "config.json").write_text(json.dumps(whole))
    loaded = load_model(text, FLOAT32)
    assert loaded.architecture == "Gemma3ForCausalLM"
    assert torch.equal(logits(loaded.model), logits(tiny_models.build("gemma3")[0]))


@pytest.mark.parametrize("architecture", ["gemma4", "gemma4_multimodal", "mixtral"])
def test_a_missing_tensor_is_an_error(architecture, checkpoint):
    """A weight that would stay random is named."""
    folder = checkpoint(architecture)
    gone = []

    def drop(tensors):
        gone.append(next(name for name in tensors if "layers.1.self_attn.q_proj" in name))
        del tensors[gone[0]]

    edit_weights(folder, drop)
    with pytest.raises(LoadError, match=r"1 missing \(.*layers\.1\.self_attn\.q_proj\.weight\)"):
        load_model(folder, FLOAT32)


@pytest.mark.parametrize("architecture", ["gemma4", "gemma4_multimodal", "deepseek_v3"])
def test_an_unexpected_tensor_is_an_error(architecture, checkpoint):
    """A weight that no layer takes is named."""
    folder = checkpoint(architecture)
    edit_weights(folder, lambda tensors: tensors.update({"model.extra.weight": torch.ones(3)}))
    with pytest.raises(LoadError, match=r"1 unexpected \(model\.extra\.weight\)"):
        load_model(folder, FLOAT32)


def test_a_tensor_of_another_shape_is_an_error(checkpoint):
    """Both shapes are told."""
    folder = checkpoint("mixtral")
    edit_weights(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(63)}))
    with pytest.raises(LoadError, match=r"model\.norm\.weight: \(63,\) on disk, \(64,\) expected"):
        load_model(folder, FLOAT32)


def test_text_weights_under_other_names_are_an_error(checkpoint):
    """What the naive way of loading Gemma 4 passes over in silence: every weight random."""
    folder = checkpoint("gemma4_multimodal")

    def rename(tensors):
        for name in list(tensors):
            if "language_model" in name:
                tensors[name.replace("language_model", "text_model")] = tensors.pop(name)

    edit_weights(folder, rename)
    with pytest.raises(LoadError, match=r"missing .* and \d+ more\)"):
        load_model(folder, FLOAT32)


def test_naive_loading_of_gemma4_still_fails_in_silence(tiny_checkpoint):
    """The trap that this loader is for: should transformers close it, this test says so."""
    import transformers

    with quiet_transformers():
        _, info = transformers.Gemma4ForCausalLM.from_pretrained(
            tiny_checkpoint("gemma4_multimodal"), output_loading_info=True
        )
    assert "model.layers.0.self_attn.q_proj.weight" in info["missing_keys"]


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_cut_file_is_an_error(keep, checkpoint):
    """A download that broke off is told from its header, before anything is loaded."""
    path = checkpoint("mixtral") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LoadError, match=r"model\.safetensors is cut off"):
        load_model(path.parent, FLOAT32)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        b"\x02" + b"\0" * 7 + b"[]",
        b"\x08" + b"\0" * 7 + b'{"a": 1}',
        b"<html>404</html>",
    ],
)
def test_what_is_no_safetensors_file_is_an_error(content, checkpoint):
    """Garbage where the weights should be is told as such."""
    folder = checkpoint("mixtral")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(LoadError, match="no safetensors file"):
        load_model(folder, FLOAT32)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00"])
def test_a_broken_json_file_is_an_error(file, content, checkpoint):
    """Whatever transformers raises on a damaged file arrives as a `LoadError`."""
    folder = checkpoint("mixtral")
    (folder / file).write_bytes(content)
    with pytest.raises(LoadError):
        load_model(folder, FLOAT32)


def test_a_folder_without_weights_is_an_error(checkpoint):
    """The message names what is missing."""
    folder = checkpoint("mixtral")
    (folder / "model.safetensors").unlink()
    with pytest.raises(LoadError, match=r"model\.safetensors"):
        load_model(folder, FLOAT32)


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        ("BertConfig", "BertForMaskedLM"),
        ("T5Config", "T5ForConditionalGeneration"),
        ("CLIPConfig", "CLIPModel"),
        ("MixtralConfig", "MixtralForSequenceClassification"),
    ],
)
def test_a_model_that_writes_no_text_is_an_error(config, architecture, checkpoint):
    """An encoder, an encoder-decoder, an image model or a classifier is refused by its kind."""
    import transformers

    folder = checkpoint("mixtral")
    made = getattr(transformers, config)()
    made.architectures = [architecture]
    (folder / "config.json").write_text(made.to_json_string())
    with pytest.raises(LoadError, match=rf"'{made.model_type}' model.*, which does not generate"):
        load_model(folder, FLOAT32)


def test_a_slow_tokenizer_is_an_error(checkpoint):
    """A tokenizer without a tokenizer.json has no vocabulary that a grammar could mask."""
    import transformers

    folder = checkpoint("mixtral")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    transformers.ByT5Tokenizer().save_pretrained(folder)
    with pytest.raises(LoadError, match=r"comes without a tokenizer\.json"):
        load_model(folder, FLOAT32)


def test_a_slow_tokenizer_object_is_an_error(tiny_model):
    """The same for one that the user brings."""
    import transformers

    with pytest.raises(LoadError, match=r"ByT5Tokenizer, which has no tokenizer\.json"):
        from_transformers(tiny_model("mixtral").model, transformers.ByT5Tokenizer())


def test_a_missing_tokenizer_is_an_error(checkpoint):
    """A folder of weights alone cannot be used."""
    folder = checkpoint("mixtral")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(LoadError):
        load_model(folder, FLOAT32)


def test_a_missing_chat_template_is_fine(checkpoint):
    """Base models have none: they are prompted with text to continue."""
    folder = checkpoint("mixtral")
    (folder / "chat_template.jinja").unlink()
    assert load_model(folder, FLOAT32).tokenizer.chat_template is None


def test_end_ids_are_gathered_from_every_place(checkpoint):
    """The tokenizer's end comes first, then those of the generation and model configurations."""
    folder = checkpoint("mixtral")
    edit_json(folder / "generation_config.json", eos_token_id=[7, 2])
    edit_json(folder / "config.json", eos_token_id=9)
    assert load_model(folder, FLOAT32).end_ids == (2, 7, 9)


def test_ids_beyond_the_vocabulary_end_nothing(checkpoint):
    """An end that the model has no logit for is left out."""
    folder = checkpoint("mixtral")
    edit_json(folder / "generation_config.json", eos_token_id=[2, 99_999, -1])
    assert load_model(folder, FLOAT32).end_ids == (2,)


def test_a_model_without_an_end_is_an_error(checkpoint):
    """Without a token that ends a turn, an answer could never be told from an unfinished one."""
    folder = checkpoint("mixtral")
    edit_json(folder / "generation_config.json", eos_token_id=None)
    edit_json(folder / "config.json", eos_token_id=None)
    edit_json(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(LoadError, match="ends a turn"):
        load_model(folder, FLOAT32)


def test_a_foreign_tokenizer_is_an_error(tiny_model):
    """More tokens than logits: the two do not belong together."""
    gemma, mixtral = tiny_model("gemma3"), tiny_model("mixtral")
    with pytest.raises(LoadError, match="512 tokens and the model 320 rows"):
        from_transformers(mixtral.model, gemma.tokenizer)


def test_from_transformers_takes_what_the_user_has():
    """A model in training mode is put into evaluation mode, and keeps its name and device."""
    model, tokenizer = tiny_models.build("mixtral")
    model.train()
    loaded = from_transformers(model, tokenizer)
    assert loaded.model is model
    assert not model.training
    assert loaded.name == "MixtralForCausalLM"
    assert from_transformers(model, tokenizer, name="mine").name == "mine"


def test_from_transformers_refuses_what_cannot_generate(tiny_model):
    """The bare model below the head has no logits."""
    loaded = tiny_model("mixtral")
    with pytest.raises(LoadError, match="not a causal language model"):
        from_transformers(loaded.model.model, loaded.tokenizer)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_what_the_user_asks_for(dtype, tiny_checkpoint):
    """The weights arrive in the type that was named."""
    loaded = load_model(tiny_checkpoint("gemma3"), LoadOptions(device="cpu", precision=dtype))
    assert loaded.dtype == getattr(torch, dtype)
    assert logits(loaded.model).isfinite().all()


def test_auto_takes_float32_for_a_small_model_on_a_cpu(tiny_checkpoint):
    """The type in which logits do not depend on the batch."""
    loaded = load_model(tiny_checkpoint("gemma3"), LoadOptions(device="cpu"))
    assert loaded.dtype == torch.float32


def test_auto_takes_bfloat16_where_float32_does_not_fit(tiny_checkpoint, monkeypatch):
    """A model of which only the half-width weights fit is loaded in those."""
    monkeypatch.setattr(placement, "free_memory", lambda _: 700_000)  # 219k numbers
    assert load_model(tiny_checkpoint("gemma3"), LoadOptions(device="cpu")).dtype == torch.bfloat16


def test_a_model_that_does_not_fit_is_an_error(tiny_checkpoint, monkeypatch):
    """The message holds both numbers and what to change; nothing is loaded."""
    monkeypatch.setattr(placement, "free_memory", lambda _: 1_000)
    with pytest.raises(
        LoadError, match=r"needs 0\.0 GiB on 'cpu' in bfloat16, and 0\.0 GiB are free"
    ):
        load_model(tiny_checkpoint("gemma3"), LoadOptions(device="cpu"))
    with pytest.raises(LoadError, match="device_map"):
        load_model(tiny_checkpoint("gemma3"), FLOAT32)


def test_free_memory_is_what_the_machine_has():
    """Between a megabyte and the machine's whole memory."""
    import psutil

    free = placement.free_memory(torch.device("cpu"))
    assert 1 << 20 < free <= psutil.virtual_memory().total


def test_free_memory_heeds_the_containers_limit(tmp_path, monkeypatch):
    """In a control group the limit counts, less what is used, plus page cache that can go."""
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    monkeypatch.setattr(placement, "_CGROUP", tmp_path)
    assert placement.free_memory(torch.device("cpu")) == 500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert placement.free_memory(torch.device("cpu")) > 1_000_000


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "xpu", "cpu:x"])
def test_a_device_that_is_not_there_is_an_error(device, tiny_checkpoint):
    """PyTorch's reason is passed on."""
    with pytest.raises(LoadError, match=f"device '{device}' cannot be used here"):
        load_model(tiny_checkpoint("gemma3"), LoadOptions(device=device))


def test_a_device_map_places_the_layers(tiny_checkpoint):
    """The map goes to accelerate, which puts all of it onto the CPU here."""
    loaded = load_model(
        tiny_checkpoint("mixtral"), LoadOptions(device_map={"": "cpu"}, precision="float32")
    )
    assert loaded.device == torch.device("cpu")
    assert torch.equal(logits(loaded.model), logits(tiny_models.build("mixtral")[0]))


def test_a_wrong_device_map_is_an_error(tiny_checkpoint):
    """What accelerate says of it arrives as a `LoadError`."""
    with pytest.raises(LoadError):
        load_model(tiny_checkpoint("mixtral"), LoadOptions(device_map="nowhere"))


def test_quantisation_settings_are_passed_on(tiny_checkpoint):
    """They reach transformers: a method that is not installed here is its error, told as ours."""
    settings = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    with pytest.raises(LoadError, match="bitsandbytes"):
        load_model(tiny_checkpoint("mixtral"), LoadOptions(quantization_config=settings))


def test_attention_and_model_settings_are_passed_on(tiny_checkpoint):
    """`attn_implementation` and further arguments of `from_pretrained` reach the model."""
    options = LoadOptions(
        device="cpu",
        precision="float32",
        attn_implementation="eager",
        experts_implementation="eager",
    )
    loaded = load_model(tiny_checkpoint("mixtral"), options)
    assert loaded.model.config._attn_implementation == "eager"
    assert loaded.model.get_experts_implementation()[""] == "eager"
    assert torch.allclose(
        logits(loaded.model), logits(tiny_models.build("mixtral")[0]), atol=1e-4, rtol=1e-4
    )
    with pytest.raises(LoadError):
        load_model(
            tiny_checkpoint("mixtral"), LoadOptions(model_kwargs={"attn_implementation": "nope"})
        )


@pytest.mark.parametrize(
    "architecture", ["gemma4", "mixtral", "afmoe", "minimax_m2", "deepseek_v3"]
)
def test_experts_are_computed_as_chosen(architecture):
    """Every way gives the same logits, and the earlier one is given back to be restored."""
    model, _ = tiny_models.build(architecture)
    expected = logits(model)
    assert set_experts(model, "batched_mm") == {"": "grouped_mm"}
    assert torch.allclose(logits(model), expected, atol=1e-3, rtol=1e-3)
    before = set_experts(model, "grouped_mm")
    assert before == {"": "batched_mm"}
    assert set_experts(model, before) == {"": "grouped_mm"}


def test_a_model_without_experts_is_left_alone(tiny_model):
    """There is nothing to choose in a dense model."""
    model = tiny_model("gemma3").model
    before = model.get_experts_implementation()
    set_experts(model, "batched_mm")
    assert model.get_experts_implementation() == before


@pytest.mark.parametrize(
    "source",
    [
        "/no/such/folder",
        "./no",
        "~/no/such",
        "a/b/c",
        "a b",
        "x" * 5_000,
        "nul\0",
        "\ud800",
        "..",
        "-x-",
        "é/ü",
    ],
)
def test_what_is_neither_folder_nor_hub_id_is_an_error(source):
    """Hostile names are told, at once and without a look at the network."""
    with pytest.raises(LoadError, match="folder"):
        load_model(source, LoadOptions(local_files_only=True))


def test_a_path_is_never_taken_for_a_hub_id(tmp_path):
    """A `Path` that does not exist is a missing folder, whatever it looks like."""
    with pytest.raises(LoadError, match="no folder 'google/gemma'"):
        load_model(tmp_path.__class__("google/gemma"), LoadOptions())


def test_an_unknown_hub_id_offline_is_an_error():
    """Offline, a model that was never downloaded is told within a moment."""
    start = time.monotonic()
    with pytest.raises(LoadError, match="neither a folder nor in the hub's cache"):
        load_model("nobody/nothing", LoadOptions(local_files_only=True))
    assert time.monotonic() - start < 5


def test_a_local_load_asks_no_server(tiny_checkpoint, monkeypatch):
    """A folder is loaded without one connection."""

    def refuse(*args, **kwargs):
        pytest.fail("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_model(tiny_checkpoint("gemma4"), FLOAT32)


def test_a_large_vocabulary_asks_no_server(embedded_checkpoint, monkeypatch):
    """Nor with 262,144 tokens, where transformers looks for a fix of Mistral's tokenizers."""

    def refuse(*args, **kwargs):
        pytest.fail("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    loaded = load_model(embedded_checkpoint, LoadOptions(device="cpu", precision="float32"))
    assert len(loaded.tokenizer) == 262_144


@pytest.mark.parametrize("module", ["transformers", "torch", "huggingface_hub", "psutil"])
def test_a_missing_module_names_the_extra(module, tiny_checkpoint, monkeypatch):
    """Where a module is not installed, the error says how to install it."""
    source = "nobody/nothing" if module == "huggingface_hub" else tiny_checkpoint("gemma3")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LoadError, match=r"pip install 'gemma-structured\[local\]'"):
        load_model(source, LoadOptions(device="cpu"))


def test_a_device_map_needs_accelerate(tiny_checkpoint, monkeypatch):
    """Without it a device map is a missing extra, not a puzzle."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LoadError, match=r"'accelerate' is not installed"):
        load_model(tiny_checkpoint("gemma3"), LoadOptions(device_map={"": "cpu"}))


def test_the_token_is_in_no_repr():
    """Options may be logged."""
    assert "hf_secret" not in repr(LoadOptions(token="hf_secret"))


def test_the_token_is_in_no_error(monkeypatch):
    """Not even where the hub's client quotes it: then the cause is cut off too."""

    def quote(*args, token, **kwargs):
        raise OSError(f"bad header: Bearer {token}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", quote)
    with pytest.raises(LoadError, match=r"bad header: Bearer \*\*\*") as caught:
        load_model("nobody/nothing", LoadOptions(token="hf_secret"))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "hf_secret" not in str(caught.value)


def test_errors_carry_the_models_name(tiny_checkpoint, monkeypatch):
    """A fallback's report can say which model failed."""
    with pytest.raises(LoadError) as caught:
        load_model("nobody/nothing", LoadOptions(local_files_only=True))
    assert caught.value.model_name == "nobody/nothing"


def test_running_out_of_memory_is_an_error(tiny_checkpoint, monkeypatch):
    """Memory that ends in the middle of a load is told with what to do."""

    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(LoadError, match=r"ran out of memory.*device_map"):
        load_model(tiny_checkpoint("mixtral"), FLOAT32)


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "int4"},
        {"precision": ""},
        {"device": ""},
        {"experts_implementation": "magic"},
        {"device": "cpu", "device_map": "auto"},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    """A wrong choice is an input error, when it is made."""
    with pytest.raises(InputError):
        LoadOptions(**wrong)


def test_options_are_values():
    """They compare by content and do not change with the mapping they were made from."""
    settings = {"a": 1}
    options = LoadOptions(model_kwargs=settings)
    settings["a"] = 2
    assert options.model_kwargs["a"] == 1
    assert options == LoadOptions(model_kwargs={"a": 1})
    with pytest.raises(TypeError):
        options.model_kwargs["a"] = 3


def default_handler():
    """The handler with which transformers writes to stderr."""
    from transformers.utils import logging as hf_logging

    assert hf_logging._default_handler in logging.getLogger("transformers").handlers
    return hf_logging._default_handler


def nest_and_fail(own):
    """Load inside a load, and let an error pass through the outer one."""
    library = logging.getLogger("transformers")
    with quiet_transformers():
        with quiet_transformers():
            assert own not in library.handlers
        assert own not in library.handlers
        raise KeyError


def test_quiet_puts_everything_back():
    """Handlers, level and the bars' hook are as before, also after an error and when nested."""
    from transformers.utils import logging as hf_logging

    library = logging.getLogger("transformers")
    before = set(library.handlers), library.level, hf_logging.is_progress_bar_enabled()
    own = default_handler()
    with pytest.raises(KeyError):
        nest_and_fail(own)
    after = set(library.handlers), library.level, hf_logging.is_progress_bar_enabled()
    assert after == before
    assert hf_logging.set_tqdm_hook(None) is None


def test_quiet_holds_while_any_thread_loads():
    """The first load to end does not make the other one loud."""
    library = logging.getLogger("transformers")
    before = set(library.handlers)
    own = default_handler()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with quiet_transformers():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with quiet_transformers():
        thread.start()
        assert inside.wait(10)
    assert own not in library.handlers
    leave.set()
    thread.join()
    assert set(library.handlers) == before


def test_quiet_hands_messages_to_our_logger(caplog):
    """What transformers says is not lost: it is a detail of `gemma_structured.loading`."""
    with caplog.at_level(logging.DEBUG, logger="gemma_structured.loading"), quiet_transformers():
        logging.getLogger("transformers.something").warning("odd %s", "thing")
    assert "transformers.something: odd thing" in caplog.text


def test_quiet_leaves_the_users_handlers_and_hooks(capfd):
    """A handler or a bar of the user's own goes on working."""
    from transformers.utils import logging as hf_logging

    records = []
    handler = logging.Handler()
    handler.emit = records.append
    library = logging.getLogger("transformers")
    library.addHandler(handler)
    mine = lambda factory, args, kwargs: factory(*args, **{**kwargs, "disable": True})  # noqa: E731
    hf_logging.set_tqdm_hook(mine)
    try:
        with quiet_transformers():
            library.warning("for the user")
        assert [record.getMessage() for record in records] == ["for the user"]
    finally:
        library.removeHandler(handler)
        assert hf_logging.set_tqdm_hook(None) is mine
    assert capfd.readouterr().err == ""
