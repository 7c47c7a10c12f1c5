"""A loaded model with all that it needs to answer: vocabulary, family, grammars, engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gemma_structured.decoding.cache_usage import CacheUsage, MemoryUsage
from gemma_structured.decoding.chat_tokenizer import TransformersChatTokenizer
from gemma_structured.decoding.compiled_layers import compile_layers
from gemma_structured.decoding.engine import Engine
from gemma_structured.decoding.loaded_model import has_experts
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.mtp import MTPModel
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.selection import BatchSelection, RowSelection
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import nn

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.decoding.runtime_options import RuntimeOptions
    from gemma_structured.decoding.selection import Selection
    from gemma_structured.decoding.sequence import TokenSequence

__all__ = ["Runtime", "start"]

_DEFAULT = {"grouped_mm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What `start` puts together.

    Attributes:
        options: How it is run.
        drafts: Whether drafts are copied from the document and the answer.
        draft_model: What guesses where there is nothing to copy, if there is such a model.
    """

    loaded: LoadedModel
    options: RuntimeOptions
    vocabulary: Vocabulary
    tokenizer: TransformersChatTokenizer
    compiler: GrammarCompiler
    session: TransformersSession
    prefixes: PrefixStore
    engine: Engine
    drafts: bool
    draft_model: MTPModel | None

    @property
    def cache_usage(self) -> CacheUsage:
        """What its caches hold; may be read from any thread, while requests run."""
        return CacheUsage(
            kv_cache=MemoryUsage(
                entries=self.session.open_rows,
                nbytes=self.session.nbytes,
                max_bytes=self.options.kv_cache_bytes,
            ),
            prefix_cache=MemoryUsage(
                entries=len(self.prefixes),
                nbytes=self.prefixes.nbytes,
                max_bytes=self.prefixes.max_bytes,
            ),
            grammar_cache=self.compiler.stats,
        )


def start(loaded: LoadedModel, options: RuntimeOptions) -> Runtime:
    """Make a loaded model ready to answer.

    Raises:
        LoadError: Its attention cannot be run by row, its layers cannot be compiled, its draft
            model does not fit it, or a grammar library is missing.
    """
    vocabulary = Vocabulary.from_tokenizer(
        cast("Tokenizer", loaded.tokenizer.backend_tokenizer),
        end_ids=loaded.end_ids,
        size=loaded.model.config.get_text_config(decoder=True).vocab_size,
    )
    if options.compile:
        compile_layers(loaded.model, loaded.name)
    session = TransformersSession(
        loaded.model,
        loaded.context_length,
        switch_experts=_experts_depend_on_width(loaded),
        compiled=options.compile,
    )
    prefixes = PrefixStore(options.prefix_cache_bytes)

    def has_room(newcomer: TokenSequence, running: list[TokenSequence]) -> bool:
        longest = max(sequence.max_length for sequence in (newcomer, *running))
        return session.most_bytes(len(running) + 1, longest) <= options.kv_cache_bytes

    return Runtime(
        loaded=loaded,
        options=options,
        vocabulary=vocabulary,
        tokenizer=TransformersChatTokenizer(loaded.tokenizer, vocabulary),
        compiler=GrammarCompiler(
            vocabulary, options.grammar_backend, max_size=options.grammar_cache_size
        ),
        session=session,
        prefixes=prefixes,
        engine=Engine(
            DecodeLoop(
                session,
                prefixes,
                prefill_chunk=options.prefill_chunk,
                selection=_selection(loaded, vocabulary, options),
            ),
            max_batch_size=options.max_batch_size,
            max_waiting=options.max_waiting,
            has_room=has_room,
        ),
        drafts=_drafts_pay(loaded) if options.drafts == "auto" else options.drafts == "on",
        draft_model=_draft_model(loaded, session),
    )


def _draft_model(loaded: LoadedModel, session: TransformersSession) -> MTPModel | None:
    drafter = loaded.draft_model
    if drafter is None:
        return None
    name = drafter.config.name_or_path or type(drafter).__name__
    return MTPModel(drafter, loaded.model, session, name=name)


def _selection(loaded: LoadedModel, vocabulary: Vocabulary, options: RuntimeOptions) -> Selection:
    """All rows at once on CUDA; elsewhere row by row (Apple's GPUs have no float64)."""
    head = cast("nn.Module", loaded.model.get_output_embeddings())  # type: ignore[no-untyped-call]
    weight = next(head.parameters(), None)  # one of 8-bit integers has no parameters
    device = loaded.device if weight is None else weight.device
    wanted = options.selection
    if wanted == "batch" or (wanted == "auto" and device.type == "cuda"):
        return BatchSelection(vocabulary.size, device)
    return RowSelection()


def _drafts_pay(loaded: LoadedModel) -> bool:
    return loaded.device.type != "cpu" or not has_experts(loaded.model.config)


def _experts_depend_on_width(loaded: LoadedModel) -> bool:
    """On a GPU, unless the user chose another implementation than the default."""
    chosen = set(loaded.model.get_experts_implementation().values())
    return loaded.device.type == "cuda" and has_experts(loaded.model.config) and chosen <= _DEFAULT
