"""An outlines model whose generators run on our decode loop.

```python
model = LocalTransformers(gs.LocalModel("google/gemma-4-26B-A4B-it"))
generator = outlines.Generator(model, processor=model.processor(Invoice))
generator("Extract the invoice: …")   # a str, as outlines gives it
model("Extract the invoice: …", Invoice)  # the same
```

So outlines' interface comes with our grammars, fast-forward, batching, streaming and prefix reuse.
`outlines.Generator(model, Invoice)` works too: outlines then compiles the type itself, and its own
masks (from its backends `outlines_core` and `llguidance`) drive our loop.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.decoding.sampler import Sampler
from gemma_structured.decoding.sequence import TokenSequence
from gemma_structured.exceptions import (
    ContextLengthError,
    IncompleteOutputError,
    InputError,
    LoadError,
)
from gemma_structured.grammar.spec import Grammar
from gemma_structured.integrations.outlines_options import DecodeOptions
from gemma_structured.integrations.outlines_processor import GrammarProcessor, matcher_for
from gemma_structured.integrations.outlines_prompt import prompt_ids
from gemma_structured.schema.bounds import DEFAULT_BOUNDS, check_bounds
from gemma_structured.schema.output_type import OutputType

try:
    from outlines.generator import Generator
    from outlines.models import Transformers
    from outlines.types import JsonSchema as OutlinesJsonSchema
    from outlines.types.dsl import python_types_to_terms
except ImportError as error:
    raise LoadError(
        "outlines is not installed.", hint="pip install 'gemma-structured[local]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.integrations.outlines_prompt import Prompt
    from gemma_structured.models.local import LocalModel
    from gemma_structured.schema.bounds import Bounds

__all__ = ["GrammarProcessor", "LocalTransformers"]

_MAX_THREADS: Final = 64


class LocalTransformers(Transformers):  # type: ignore[misc]
    """A `LocalModel` as outlines' generators see it; it is loaded now.

    A prompt is text: names of control tokens in it are spelled, and the chat template's own are
    not. An answer that its token budget cuts short raises `IncompleteOutputError`, where it is held
    to a grammar.

    Args:
        model: What answers. Its batch size and its caches are those of our loop.
        bounds: Bounds for numbers, strings and arrays without their own; `None` for none.

    Raises:
        InputError: The bounds are neither `Bounds` nor `None`.
        LoadError: The model cannot be loaded.
    """

    def __init__(self, model: LocalModel, *, bounds: Bounds | None = DEFAULT_BOUNDS) -> None:
        check_bounds(bounds)
        self._local = model
        self._bounds = bounds
        loaded = model.runtime().loaded
        tokenizer: Any = loaded.tokenizer
        super().__init__(loaded.model, tokenizer)

    def processor(self, output_type: object) -> GrammarProcessor:
        """One of our grammars, as `outlines.Generator(model, processor=...)` takes it.

        Args:
            output_type: What outlines or this package takes as an output type. As outlines has it,
                `Literal`, `Enum` and scalars are written as text, not as JSON.

        Raises:
            SchemaError: The output type cannot be used.
            GrammarError: It makes no grammar.
        """
        grammar, _ = Grammar.for_output_type(_output_type(output_type), self._bounds)
        return GrammarProcessor(grammar)

    def __call__(
        self,
        model_input: Any,
        output_type: object = None,
        backend: str | None = None,
        **options: Any,
    ) -> Any:
        """Answer one prompt; without a `backend`, with our grammars."""
        return self._generator(output_type, backend)(model_input, **options)

    def batch(
        self,
        model_input: list[Any],
        output_type: object = None,
        backend: str | None = None,
        **options: Any,
    ) -> list[Any]:
        """Answer several prompts together; without a `backend`, with our grammars."""
        answers: list[Any] = self._generator(output_type, backend).batch(model_input, **options)
        return answers

    def stream(
        self,
        model_input: Any,
        output_type: object = None,
        backend: str | None = None,
        **options: Any,
    ) -> Iterator[str]:
        """Answer one prompt piece by piece; without a `backend`, with our grammars."""
        pieces: Iterator[str] = self._generator(output_type, backend).stream(model_input, **options)
        return pieces

    def generate(
        self, model_input: Prompt, output_type: object = None, **options: Any
    ) -> str | list[str]:
        """Answer one prompt; outlines' generators call this.

        Args:
            model_input: A text, or a `Chat` of texts.
            output_type: A logits processor: ours, or what outlines has compiled.
            **options: `max_new_tokens`, `do_sample`, `temperature`, `top_k`, `top_p`, `min_p`,
                `seed`, `num_return_sequences`.

        Raises:
            InputError: An option is not known, or the input is no text.
            IncompleteOutputError: The token budget ended inside the answer.
            GemmaStructuredError: What else went wrong.
        """
        return self.generate_batch([model_input], output_type, **options)[0]

    def generate_batch(
        self, model_input: Sequence[Prompt], output_type: object = None, **options: Any
    ) -> list[str | list[str]]:
        """Answer several prompts, decoded together; see `generate`."""
        decode = DecodeOptions.from_outlines(options)
        runtime = self._local.runtime()
        copies = range(decode.sequences)
        begun = [
            self._begin(runtime, prompt, output_type, decode.of_sequence(copy))
            for prompt in model_input
            for copy in copies
        ]
        if not begun:
            return []
        with ThreadPoolExecutor(min(len(begun), _MAX_THREADS)) as pool:
            finish = partial(self._finish, runtime, processor=output_type)
            texts = list(pool.map(finish, begun))
        if decode.sequences == 1:
            return list(texts)
        return [texts[i : i + len(copies)] for i in range(0, len(texts), len(copies))]

    def generate_stream(
        self, model_input: Prompt, output_type: object = None, **options: Any
    ) -> Iterator[str]:
        """Answer one prompt piece by piece; see `generate`."""
        decode = DecodeOptions.from_outlines(options)
        if decode.sequences != 1:
            raise InputError("A stream has one answer: num_return_sequences must be 1.")
        runtime = self._local.runtime()
        sequence = self._begin(runtime, model_input, output_type, decode)
        return self._pieces(runtime, sequence, output_type)

    def _generator(self, output_type: object, backend: str | None) -> Any:
        if output_type is None or backend is not None:
            return Generator(self, output_type, backend)
        return Generator(self, processor=self.processor(output_type))

    def _begin(
        self, runtime: Runtime, prompt: Prompt, processor: object, options: DecodeOptions
    ) -> TokenSequence:
        token_ids = prompt_ids(runtime, prompt)
        room = runtime.session.context_length - len(token_ids)
        if room < 1:
            raise ContextLengthError(
                prompt_tokens=len(token_ids),
                context_length=runtime.session.context_length,
                model_name=self._local.name,
            )
        return TokenSequence(
            token_ids,
            matcher_for(processor, runtime, self._bounds),
            runtime.vocabulary,
            Sampler(options.sampling),
            max_tokens=min(options.max_tokens, room),
        )

    def _finish(self, runtime: Runtime, sequence: TokenSequence, processor: object) -> str:
        return "".join(self._pieces(runtime, sequence, processor))

    def _pieces(
        self, runtime: Runtime, sequence: TokenSequence, processor: object
    ) -> Iterator[str]:
        with closing(runtime.engine.stream(sequence)) as pieces:
            yield from pieces
        if sequence.finish_reason == "length" and processor is not None:
            raise IncompleteOutputError(
                f"The answer has {sequence.max_tokens} tokens and is not whole.",
                text=sequence.text,
                usage=sequence.usage,
                hint="Raise max_new_tokens.",
                model_name=self._local.name,
            )


def _output_type(spec: Any) -> OutputType[Any]:
    """The output type as outlines means it: text, unless it is a schema."""
    if isinstance(spec, type) or not type(spec).__module__.startswith("gemma_structured."):
        term: Any = python_types_to_terms(spec)
        if not isinstance(term, OutlinesJsonSchema):
            return OutputType.of(term)
    return OutputType.of(spec)
