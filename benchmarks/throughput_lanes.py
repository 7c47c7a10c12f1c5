"""The ways of extracting that the throughput benchmark compares, on the same weights and prompts."""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from throughput_work import KINDS
from torch import nn

import gemma_structured as gs
from gemma_structured.decoding.embedded_package import read_package
from gemma_structured.grammar.llguidance import LLGuidanceBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel
    from throughput_work import Kind

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.grammar.backend import CompiledGrammar, GrammarMatcher
    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["Lane", "our_lanes", "ours", "quantize", "rivals", "with_screen"]

MAX_TOKENS = 200


@dataclass(slots=True)
class Lane:
    """One way of extracting, and what it took for each portion of documents."""

    name: str
    extract: Callable[[str, Sequence[str]], list[str]]
    precision: str = "float32"
    is_ours: bool = False
    is_batch: bool = False
    seconds: list[float] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


class OneTokenAtATime:
    """A matcher that never says what is forced: masks alone, as a logits processor has them."""

    def __init__(self, matcher: GrammarMatcher) -> None:
        self._matcher = matcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._matcher, name)

    def forced_tokens(self) -> list[int]:
        """Nothing."""
        return []

    def fork(self) -> OneTokenAtATime:
        """A second one at the same place."""
        return OneTokenAtATime(self._matcher.fork())


class MasksOnly:
    """llguidance without fast-forward."""

    def __init__(self) -> None:
        self._backend = LLGuidanceBackend()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def compile(self, grammar: Grammar, vocabulary: Vocabulary) -> Any:
        """Compile; the matchers are wrapped."""
        return _Compiled(self._backend.compile(grammar, vocabulary))


class _Compiled:
    def __init__(self, compiled: CompiledGrammar) -> None:
        self._compiled = compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def matcher(self) -> OneTokenAtATime:
        return OneTokenAtATime(self._compiled.matcher())


def with_whole_head(model: gs.LocalModel) -> gs.LocalModel:
    """Compute all logits for every choice."""
    head = model.runtime().session._head
    head.is_wide = lambda _: True  # type: ignore[method-assign]
    head._reads_before_screen = 0
    return model


def with_screen(model: gs.LocalModel) -> gs.LocalModel:
    """Make the screen with the first document, which is not counted."""
    model.runtime().session._head._reads_before_screen = 1
    return model


def ours(name: str, model: gs.LocalModel, *, batch: bool = False) -> Lane:
    """A lane of this package."""
    generators = {
        kind.name: model.compile(
            kind.output_type,
            instruction=kind.instruction,
            examples=kind.examples,
            max_tokens=MAX_TOKENS,
            max_attempts=1,
        )
        for kind in KINDS
    }

    def extract(kind: str, texts: Sequence[str]) -> list[str]:
        generator = generators[kind]
        if batch:
            return [result.text for result in generator.batch(list(texts))]
        return [generator(text).text for text in texts]

    precision = model.runtime().loaded.precision
    return Lane(name, extract, precision=precision, is_ours=True, is_batch=batch)


def our_lanes(model: gs.LocalModel) -> list[Lane]:
    """Each lever added to those before it, on a model's weights."""
    loaded = model.runtime().loaded

    def with_options(**options: Any) -> gs.LocalModel:
        return gs.LocalModel.from_transformers(loaded.model, loaded.tokenizer, **options)

    bare: dict[str, Any] = {"prefix_cache_bytes": 0, "drafts": "off"}
    return [
        ours("masks only", with_whole_head(with_options(grammar_backend=MasksOnly(), **bare))),
        ours("+ fast-forward", with_whole_head(with_options(**bare))),
        ours("+ prefix", with_whole_head(with_options(drafts="off"))),
        ours("+ head", with_screen(with_options(drafts="off"))),
        ours("+ drafts", with_screen(model)),
        ours("+ batch of 8", model, batch=True),
    ]


def rivals(model: gs.LocalModel, quantized: LoadedModel) -> list[Lane]:
    """outlines, transformers with other libraries' processors, and of the rest what is installed.

    Not outlines' default backend: it takes minutes to compile these schemas for this vocabulary.
    """
    loaded = model.runtime().loaded
    prompts = {
        kind.name: model.compile(
            kind.output_type, instruction=kind.instruction, examples=kind.examples
        )
        for kind in KINDS
    }

    def prompt(kind: str, text: str) -> str:
        """The same prompt; each library's tokenizer call adds the first token itself."""
        return prompts[kind].prompt(text).removeprefix(loaded.tokenizer.bos_token or "")

    lanes = [
        _outlines("outlines (xgrammar)", loaded, prompt, "xgrammar"),
        _outlines("outlines (llguidance)", loaded, prompt, "llguidance"),
        _outlines("outlines (llguidance), batch of 8", loaded, prompt, "llguidance", batch=True),
        _outlines("outlines (llguidance)", quantized, prompt, "llguidance"),
        _outlines("outlines (llguidance), batch of 8", quantized, prompt, "llguidance", batch=True),
        _generate("generate + xgrammar", loaded, prompt, _xgrammar(loaded)),
        _generate("generate + llguidance", loaded, prompt, _llguidance(loaded)),
    ]
    optional: dict[str, Callable[[], list[Lane]]] = {
        "lm-format-enforcer": lambda: [
            _generate("generate + lm-format-enforcer", loaded, prompt, _format_enforcer(loaded))
        ],
        "guidance": lambda: [_guidance(loaded, prompt)],
        "llama-cpp-python": lambda: _llama_cpp(prompt),
    }
    for package, make in optional.items():
        try:
            lanes += make()
        except ImportError:
            print(f"{package} is not installed: left out (pip install {package})")
    return lanes


def _outlines(name: str, loaded: Any, prompt: Any, backend: str, *, batch: bool = False) -> Lane:
    from outlines import Generator, from_transformers

    model = from_transformers(loaded.model, loaded.tokenizer)
    generators = {kind.name: Generator(model, kind.output_type, backend) for kind in KINDS}

    def extract(kind: str, texts: Sequence[str]) -> list[str]:
        generator = generators[kind]
        wanted = [prompt(kind, text) for text in texts]
        if batch:
            return list(generator.batch(wanted, max_new_tokens=MAX_TOKENS, do_sample=False))
        return [generator(text, max_new_tokens=MAX_TOKENS, do_sample=False) for text in wanted]

    return Lane(name, extract, precision=loaded.precision, is_batch=batch)


def _llama_cpp(prompt: Any) -> list[Lane]:
    """llama.cpp on the packaged file, whose weights have 4 to 6 bits: free, and with its grammar.

    Free, it ends where the next document of the prompt would begin. It keeps the KV cache of what
    a prompt has in common with the one before.
    """
    from llama_cpp import Llama, LlamaGrammar

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(read_package())
        file.flush()
        threads = torch.get_num_threads()
        llama = Llama(
            file.name, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False
        )
    grammars = {
        kind.name: LlamaGrammar.from_json_schema(
            json.dumps(kind.output_type.model_json_schema()), verbose=False
        )
        for kind in KINDS
    }

    def lane(name: str, options: Callable[[str], dict[str, Any]]) -> Lane:
        def extract(kind: str, texts: Sequence[str]) -> list[str]:
            return [
                llama(prompt(kind, text), max_tokens=MAX_TOKENS, temperature=0.0, **options(kind))[
                    "choices"
                ][0]["text"]
                for text in texts
            ]

        return Lane(name, extract, precision="Q4_K_M")

    return [
        lane("llama.cpp, no grammar", lambda _: {"stop": ["\n\n"]}),
        lane("llama.cpp", lambda kind: {"grammar": grammars[kind]}),
    ]


def quantize(loaded: LoadedModel) -> LoadedModel:
    """The model as PyTorch quantizes it: all layers and the head, dynamically, to 8 bits."""
    model = copy.deepcopy(loaded.model)
    torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8, inplace=True)
    return replace(loaded, model=model, precision="quantize_dynamic")


def _generate(name: str, loaded: Any, prompt: Any, processor_for: Callable[[str], Any]) -> Lane:
    """Transformers' own loop with a logits processor."""

    def extract(kind: str, texts: Sequence[str]) -> list[str]:
        written = []
        for text in texts:
            inputs = loaded.tokenizer(prompt(kind, text), return_tensors="pt")
            ids = loaded.model.generate(
                **inputs,
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                logits_processor=[processor_for(kind)],
            )
            answer = ids[0, inputs["input_ids"].shape[1] :]
            written.append(loaded.tokenizer.decode(answer, skip_special_tokens=True))
        return written

    return Lane(name, extract)


def _schemas() -> dict[str, type[BaseModel]]:
    kinds: Sequence[Kind] = KINDS
    return {kind.name: kind.output_type for kind in kinds}


def _xgrammar(loaded: Any) -> Callable[[str], Any]:
    import xgrammar
    from xgrammar.contrib.hf import LogitsProcessor

    size = loaded.model.config.get_text_config(decoder=True).vocab_size
    info = xgrammar.TokenizerInfo.from_huggingface(
        loaded.tokenizer, vocab_size=size, stop_token_ids=list(loaded.end_ids)
    )
    compiler = xgrammar.GrammarCompiler(info)
    compiled = {
        name: compiler.compile_json_schema(schema, any_whitespace=False)
        for name, schema in _schemas().items()
    }
    return lambda kind: LogitsProcessor(compiled[kind])


def _llguidance(loaded: Any) -> Callable[[str], Any]:
    import llguidance
    import llguidance.hf
    import llguidance.torch as masks

    size = loaded.model.config.get_text_config(decoder=True).vocab_size
    tokenizer = llguidance.hf.from_tokenizer(loaded.tokenizer, n_vocab=size)
    grammars = {
        name: llguidance.LLMatcher.grammar_from_json_schema(
            schema.model_json_schema(), defaults={"whitespace_flexible": False}
        )
        for name, schema in _schemas().items()
    }

    class Processor:
        def __init__(self, grammar: str) -> None:
            self.matcher = llguidance.LLMatcher(tokenizer, grammar)
            self.bitmask = masks.allocate_token_bitmask(1, size)
            self.length: int | None = None

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if self.length is not None:
                self.matcher.consume_tokens(input_ids[0, self.length :].tolist())
            self.length = input_ids.shape[1]
            masks.fill_next_token_bitmask(self.matcher, self.bitmask)
            masks.apply_token_bitmask_inplace(scores, self.bitmask)
            return scores

    return lambda kind: Processor(grammars[kind])


def _format_enforcer(loaded: Any) -> Callable[[str], Any]:
    from transformers import PrefixConstrainedLogitsProcessor, tokenization_utils_base

    # Where lm-format-enforcer 0.11 looks for a class that is in the other module since transformers 5.
    sys.modules.setdefault("transformers.tokenization_utils", tokenization_utils_base)
    from lmformatenforcer import JsonSchemaParser
    from lmformatenforcer.integrations import transformers as enforcer

    tokens = enforcer.build_token_enforcer_tokenizer_data(loaded.tokenizer)
    schemas = {name: schema.model_json_schema() for name, schema in _schemas().items()}

    def processor_for(kind: str) -> Any:
        parser = JsonSchemaParser(schemas[kind])
        allowed = enforcer.build_transformers_prefix_allowed_tokens_fn(tokens, parser)
        return PrefixConstrainedLogitsProcessor(allowed, num_beams=1)

    return processor_for


def _guidance(loaded: Any, prompt: Any) -> Lane:
    import guidance
    from guidance import models
    from transformers import DynamicCache

    class Cache(DynamicCache):
        """One that guidance 0.3 can rewind: it says what shall stay, as in transformers 4."""

        def crop(self, length: int) -> None:
            super().crop(length - self.get_seq_length())

    model = models.Transformers(loaded.model, loaded.tokenizer, echo=False)
    model._interpreter.engine._past_key_values = Cache()

    def extract(kind: str, texts: Sequence[str]) -> list[str]:
        schema = _schemas()[kind].model_json_schema()
        answer = guidance.json(name="answer", schema=schema, max_tokens=MAX_TOKENS)
        return [(model + prompt(kind, text) + answer)["answer"] for text in texts]

    return Lane("guidance", extract)
