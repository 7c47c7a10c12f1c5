"""Small tokenizers built the way that the families' big ones are."""

from __future__ import annotations

import json
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers


def sentencepiece(
    kind: Literal["gemma", "llama_legacy", "llama", "metaspace_decoder"],
) -> Tokenizer:
    """BPE over characters with `▁` for a space and byte fallback: Gemma's, and Mixtral's in three ways."""
    characters = [chr(c) for c in range(0x21, 0x7F)] + ["▁", "é", "\n"]
    merges = [("▁", "a"), ("a", "b"), ("▁", "▁"), ("▁a", "b"), ("t", "h"), ("th", "e")]
    names = ["<unk>", "<s>", "</s>", "<think>", "<h1>"]
    names += [f"<0x{byte:02X}>" for byte in range(256)]
    names += characters + [a + b for a, b in merges]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={name: i for i, name in enumerate(names)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    space = normalizers.Replace(" ", "▁")
    fallback = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if kind == "gemma":
        tokenizer.normalizer = space
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        tokenizer.decoder = decoders.Sequence(fallback)
    elif kind == "llama_legacy":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), space])
        tokenizer.decoder = decoders.Sequence([*fallback, decoders.Strip(" ", 1, 0)])
    elif kind == "llama":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        tokenizer.decoder = decoders.Sequence([*fallback, decoders.Strip(" ", 1, 0)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=False)]
        )
        tokenizer.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace("▁"), decoders.Fuse()]
        )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(
        [AddedToken("<think>", normalized=False), AddedToken("<h1>", normalized=False)]
    )
    return tokenizer


def wordpiece() -> Tokenizer:
    """A tokenizer that does not keep white space."""
    tokenizer = Tokenizer(models.WordPiece(vocab={"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def without_bytes() -> Tokenizer:
    """A byte-level tokenizer that has only some bytes."""
    tokenizer = Tokenizer(models.BPE(vocab={"<eos>": 0, "a": 1, "b": 2, "Ġ": 3}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<eos>"])
    return tokenizer


def normalizing() -> Tokenizer:
    """A byte-level tokenizer that composes what it reads (NFC)."""
    from gemma_structured.testing.byte_tokenizer import ByteTokenizer

    tokenizer = ByteTokenizer().tokenizer()
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def control_by_merges() -> Tokenizer:
    """A tokenizer whose merges spell a control token out of ordinary ones."""
    definition = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": 3,
                "content": "ab",
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ],
        "model": {
            "type": "BPE",
            "vocab": {"<eos>": 0, "a": 1, "b": 2, "ab": 3},
            "merges": [["a", "b"]],
        },
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
    }
    return Tokenizer.from_str(json.dumps(definition))
