"""`GrammarLogitsProcessor`: our grammars for those who stay with transformers' `generate()`.

```python
compiler = compiler_for(model, tokenizer)
processor = GrammarLogitsProcessor(compiler, Invoice)
model.generate(**inputs, logits_processor=[processor], max_new_tokens=200)
```

It only masks: fast-forward, drafts and prefix reuse are what `LocalModel` is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import torch
from transformers import LogitsProcessor

from gemma_structured.decoding.loaded_model import from_transformers
from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.spec import Grammar
from gemma_structured.grammar.vocabulary import Vocabulary
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.output_type import OutputType

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from typing_extensions import TypeForm

    from gemma_structured.grammar.backend import GrammarBackend, GrammarMatcher
    from gemma_structured.grammar.compiler import BackendName
    from gemma_structured.schema.bounds import Bounds
    from gemma_structured.schema.terms import Term

__all__ = ["GrammarLogitsProcessor", "compiler_for"]

_NORMALIZED: Final = 1e-3


def compiler_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    backend: BackendName | GrammarBackend = "llguidance",
) -> GrammarCompiler:
    """What compiles grammars for a model. Make one for each model, and keep it.

    Raises:
        LoadError: The two do not fit each other, or the backend is not installed.
        GrammarError: What the tokenizer's tokens stand for is not known.
    """
    loaded = from_transformers(model, tokenizer)
    vocabulary = Vocabulary.from_tokenizer(
        cast("Tokenizer", loaded.tokenizer.backend_tokenizer),
        end_ids=loaded.end_ids,
        size=loaded.model.config.get_text_config(decoder=True).vocab_size,
    )
    return GrammarCompiler(vocabulary, backend)


class GrammarLogitsProcessor(LogitsProcessor):
    """Leaves `generate()` only tokens that the grammar allows.

    Batches, prompts padded on the left, sampling and several sequences of one prompt work: each row
    is followed by the tokens that it has. A row that has ended may only repeat an end id or be
    padded. The processor begins anew with each `generate()`, one at a time.

    Beam search is refused: where a grammar leaves fewer ways to go on than there are beams, it
    takes masked tokens all the same. So is assisted decoding, which takes tokens back.

    Args:
        compiler: Of the model that generates; see `compiler_for`.
        output_type: A Python type, a term, or a grammar.
        bounds: Bounds for numbers, strings and arrays without their own; `None` for none.
        pad_token_id: What fills ended rows, where it is no end id.

    Raises:
        InputError: The bounds are neither `Bounds` nor `None`.
        SchemaError: The output type cannot be used.
        GrammarError: The grammar does not compile.
    """

    supports_continuous_batching = False

    def __init__(
        self,
        compiler: GrammarCompiler,
        output_type: TypeForm[Any] | Term[Any] | Grammar,
        *,
        bounds: Bounds | None = DEFAULT_BOUNDS,
        pad_token_id: int | None = None,
    ) -> None:
        if isinstance(output_type, Grammar):
            grammar = output_type
        else:
            grammar, _ = Grammar.for_output_type(OutputType.of(output_type), bounds)
        self._compiled = compiler.compile(grammar)
        self._vocabulary = compiler.vocabulary
        self._ends = frozenset(compiler.vocabulary.end_ids)
        self._closing = torch.tensor(
            sorted(self._ends if pad_token_id is None else {*self._ends, pad_token_id})
        )
        self._bitmask = bitmask.allocate_row(compiler.vocabulary.size)
        self.reset()

    def reset(self) -> None:
        """Forget all rows: the next call is at the end of a prompt."""
        self._prompts: torch.Tensor | None = None
        self._length = 0
        # By the tokens that a row has generated, its place in the grammar; `None` once it has
        # ended.
        self._places: dict[tuple[int, ...], GrammarMatcher | None] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Put all logits that the grammar does not allow to minus infinity.

        Args:
            input_ids: `[rows, length]`, the prompts and what was generated.
            scores: `[rows, vocab]`.

        Raises:
            TokenRejectedError: A row holds a token that the grammar does not allow: something else
                than the processor chose it.
            GrammarError: The logits are narrower than the vocabulary, beam search or assisted
                decoding is on, no token continues a row, or the grammar's library failed.
        """
        if scores.shape[-1] < self._vocabulary.size:
            raise GrammarError(
                f"The model has {scores.shape[-1]} logits and the grammar was compiled for "
                f"{self._vocabulary.size} tokens.",
                hint="Use the compiler of that model: compiler_for(model, tokenizer).",
            )
        generated = self._generated(input_ids)
        if generated is None:
            _refuse_beams(scores)
            matchers = self._begin(input_ids)
        else:
            matchers = self._go_on(generated)
        masked = torch.full_like(scores, float("-inf"))
        for row, matcher in enumerate(matchers):
            allowed = self._allowed(matcher).to(scores.device)
            masked[row, allowed] = scores[row, allowed]
        return masked

    def _allowed(self, matcher: GrammarMatcher | None) -> torch.Tensor:
        if matcher is None:
            return self._closing
        matcher.fill_bitmask(self._bitmask)
        ids = bitmask.allowed_ids(self._bitmask, self._vocabulary.size)
        if not len(ids):
            raise GrammarError(
                "No token continues the text.",
                hint="The grammar asks for text that the model's tokenizer cannot write.",
            )
        return torch.from_numpy(ids)

    def _go_on(self, generated: list[tuple[int, ...]]) -> list[GrammarMatcher | None]:
        """One more step of the same `generate()`: each row has one more token."""
        places: dict[tuple[int, ...], GrammarMatcher | None] = {}
        for row in generated:
            if row not in places:
                places[row] = self._follow(self._places[row[:-1]], row[-1])
        self._places = places
        self._length += 1
        return [places[row] for row in generated]

    def _generated(self, input_ids: torch.Tensor) -> list[tuple[int, ...]] | None:
        """What each row has generated; `None` where these are new prompts."""
        prompts, length = self._prompts, int(input_ids.shape[1])
        if prompts is None or len(prompts) != len(input_ids) or length <= prompts.shape[1]:
            return None
        if not torch.equal(input_ids[:, : prompts.shape[1]], prompts):
            return None
        rows = [tuple(row) for row in input_ids[:, prompts.shape[1] :].tolist()]
        if length == self._length + 1 and all(row[:-1] in self._places for row in rows):
            return rows
        if length <= self._length:
            raise GrammarError(
                "Tokens were taken back, as assisted decoding does: that cannot be followed.",
                hint="Generate without it. If this is another prompt, call reset() before.",
            )
        return None

    def _begin(self, input_ids: torch.Tensor) -> list[GrammarMatcher | None]:
        """A new `generate()`: all that there is so far is the prompt."""
        start = self._compiled.matcher()
        self._prompts = input_ids.clone()
        self._length = int(input_ids.shape[1])
        self._places = {(): start}
        return [start] * len(input_ids)

    def _follow(self, matcher: GrammarMatcher | None, token_id: int) -> GrammarMatcher | None:
        if matcher is None or token_id in self._ends:
            return None
        moved = matcher.fork()
        moved.accept([token_id])
        return moved


def _refuse_beams(scores: torch.Tensor) -> None:
    """Beam search hands over log-probabilities, everything else logits."""
    if torch.logsumexp(scores.float(), dim=-1).abs().max() < _NORMALIZED:
        raise GrammarError(
            "Beam search takes tokens that a grammar has masked when it runs out of others.",
            hint="Set num_beams=1. With do_sample=True and num_return_sequences there are several "
            "answers to choose from.",
        )
