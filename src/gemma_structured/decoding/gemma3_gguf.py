"""Write a Gemma 3 GGUF file as a checkpoint of transformers: weights, configuration, tokenizer.

Tensors are unpacked to float32, in which every value of a quantised block is exact to the rounding of
one multiplication, and are written one slice after another, so that memory stays low.
"""

from __future__ import annotations

import json
import re
from math import prod
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gemma_structured.decoding.gguf_file import GgufFile, GgufTensor

__all__ = ["weight_bytes", "write_checkpoint"]

_CONTROL, _USER_DEFINED = 3, 4
"""llama.cpp's `tokenizer.ggml.token_type` of what is never and what may be written as text."""

_MISFLAGGED = frozenset({"[multimodal]", "<start_of_image>", "<end_of_image>"})
"""Control tokens that the file flags as user-defined, so that they could be written as text."""

_FLOAT32_BYTES = 4

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""llama.cpp's tensor names → those of `Gemma3ForCausalLM`."""


def write_checkpoint(source: GgufFile, folder: Path, advance: Callable[[int], object]) -> None:
    """Write `model.safetensors`, `config.json`, `generation_config.json` and the tokenizer.

    Args:
        source: The GGUF file.
        folder: An empty folder.
        advance: Is told how many bytes of weights were just written.

    Raises:
        ValueError: The file is no Gemma 3 model.
    """
    if source.metadata.get("general.architecture") != "gemma3":
        msg = "The GGUF file is not a Gemma 3 model."
        raise ValueError(msg)
    _write_weights(source, folder / "model.safetensors", advance)
    ids = _special_ids(source)
    _write_json(folder / "config.json", {**_config(source), **ids})
    _write_json(folder / "generation_config.json", {**ids, "do_sample": False})
    _write_tokenizer(source, folder)


def weight_bytes(source: GgufFile) -> int:
    """How many bytes of weights `write_checkpoint` writes."""
    return sum(_FLOAT32_BYTES * prod(tensor.shape) for tensor in source.tensors)


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _number(source: GgufFile, key: str) -> int:
    return int(cast("int", source.metadata[key]))


def _config(source: GgufFile) -> dict[str, object]:
    """The configuration of `Gemma3ForCausalLM` (https://ai.google.dev/gemma/docs/core)."""
    layers = _number(source, "gemma3.block_count")
    head_dim = _number(source, "gemma3.attention.key_length")
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "dtype": "float32",
        "vocab_size": len(_tokens(source)),
        "hidden_size": _number(source, "gemma3.embedding_length"),
        "intermediate_size": _number(source, "gemma3.feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": _number(source, "gemma3.attention.head_count"),
        "num_key_value_heads": _number(source, "gemma3.attention.head_count_kv"),
        "head_dim": head_dim,
        "query_pre_attn_scalar": head_dim,
        "max_position_embeddings": _number(source, "gemma3.context_length"),
        "sliding_window": _number(source, "gemma3.attention.sliding_window"),
        "layer_types": [
            "full_attention" if (layer + 1) % 6 == 0 else "sliding_attention"
            for layer in range(layers)
        ],
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "full_attention": {
                "rope_type": "default",
                "rope_theta": source.metadata["gemma3.rope.freq_base"],
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        "tie_word_embeddings": True,
    }


def _special_ids(source: GgufFile) -> dict[str, object]:
    return {
        "bos_token_id": _number(source, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _number(source, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _number(source, "tokenizer.ggml.padding_token_id"),
    }


def _name(tensor: GgufTensor) -> str:
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", tensor.name)
    if match is None or match[2] not in _NAMES:
        msg = f"The GGUF file holds a tensor {tensor.name!r}, which Gemma 3 has not."
        raise ValueError(msg)
    layer = "" if match[1] is None else f"model.layers.{match[1]}."
    return f"{layer}{_NAMES[match[2]]}.weight"


def _write_weights(source: GgufFile, path: Path, advance: Callable[[int], object]) -> None:
    """Write a safetensors file (https://huggingface.co/docs/safetensors/index#format)."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in source.tensors:
        start, end = end, end + _FLOAT32_BYTES * prod(tensor.shape)
        header[_name(tensor)] = {
            "dtype": "F32",
            "shape": tensor.shape,
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as stream:
        stream.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in source.tensors:
            # llama.cpp stores Gemma's norms as the factor 1 + w, transformers as w.
            shift = 1.0 if "norm" in tensor.name else 0.0
            for rows in source.rows(tensor):
                written = stream.write((rows - shift if shift else rows).astype("<f4").data)
                advance(written)


def _tokens(source: GgufFile) -> list[str]:
    return cast("list[str]", source.metadata["tokenizer.ggml.tokens"])


def _write_tokenizer(source: GgufFile, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`.

    Gemma's tokenizer is a BPE with byte fallback in which spaces are written as U+2581. The file
    spells its tokens of several spaces with real ones, so those are respelled.
    """
    tokens = [
        "\u2581" * len(token) if token.isspace() and set(token) == {" "} else token
        for token in _tokens(source)
    ]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    types = cast("list[int]", source.metadata["tokenizer.ggml.token_type"])
    added = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == _CONTROL or token in _MISFLAGGED,
        }
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == _CONTROL or (kind == _USER_DEFINED and not token.startswith("\u2581"))
    ]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": space,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": _open_with_bos(vocabulary["<bos>"]),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": _merges(vocabulary),
        },
    }
    _write_json(folder / "tokenizer.json", definition)
    named = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk", "mask")}
    _write_json(
        folder / "tokenizer_config.json",
        {
            **named,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "padding_side": "left",
            "model_max_length": _number(source, "gemma3.context_length"),
        },
    )


def _open_with_bos(bos: int) -> dict[str, object]:
    opening = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    first = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [opening, first],
        "pair": [opening, first, {"SpecialToken": {"id": "<bos>", "type_id": 1}}, second],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [bos], "tokens": ["<bos>"]}},
    }


def _merges(vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges that a vocabulary implies: every way to build a token of two, earlier tokens first.

    The file lists none, and the scores in it do not follow Gemma's order; the ids do.
    """
    merges: list[tuple[str, str]] = []
    for token in vocabulary:
        for split in range(len(token) - 1, 0, -1):
            left, right = token[:split], token[split:]
            if left in vocabulary and right in vocabulary:
                merges.append((left, right))
    return merges
