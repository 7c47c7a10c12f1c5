"""Write a Gemma 3 GGUF file as a checkpoint of transformers.

Tensors are unpacked to float32, the type they run in on a CPU: loading then maps the file into
memory and copies nothing. They are written one slice after another, so that memory stays low here.
"""

from __future__ import annotations

import json
import re
from math import prod
from typing import TYPE_CHECKING, cast

from gemma_structured.decoding.gemma3_tokenizer import write_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gemma_structured.decoding.gguf_file import GgufFile, GgufTensor

__all__ = ["weight_bytes", "write_checkpoint"]

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
    write_tokenizer(source, folder)


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
        "vocab_size": len(cast("list[str]", source.metadata["tokenizer.ggml.tokens"])),
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
