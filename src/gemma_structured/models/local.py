"""`LocalModel`: a model on this machine, masked token by token."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.decoding.runtime_options import RuntimeOptions
from gemma_structured.exceptions import ContextLengthError, InputError, LoadError
from gemma_structured.families.registry import family_for
from gemma_structured.families.turn import ParsedTurn
from gemma_structured.families.turn_splitter import TurnSplitter
from gemma_structured.grammar.spec import Grammar
from gemma_structured.models.base import Model
from gemma_structured.models.local_turns import DRAFT_INSTRUCTION, TurnPlan
from gemma_structured.parsing.checked import JsonChecker
from gemma_structured.prompting import build_messages
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.telemetry import Origin
from gemma_structured.types import ModelDelta, ModelResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from gemma_structured.decoding.draft import PromptLookup
    from gemma_structured.decoding.load_options import DeviceMap, Dtype, ExpertsImplementation
    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.decoding.retries import ValueChecker
    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.families.base import Family, RenderedPrompt
    from gemma_structured.grammar.backend import GrammarBackend
    from gemma_structured.grammar.compiler import BackendName
    from gemma_structured.messages import Message

__all__ = ["DEFAULT_MAX_TOKENS", "EMBEDDED", "LocalModel"]

T = TypeVar("T")

EMBEDDED = "embedded"
"""The packaged Gemma 3 270M, a base model; it comes with the extra `embedded`."""

DEFAULT_MAX_TOKENS = 4096
"""The most tokens of an answer where the task does not say."""


class LocalModel(Model):
    """A causal language model of transformers.

    Constructing it loads nothing: the first use does, or `load`. Requests of all threads and tasks
    are decoded together.

    Args:
        source: `"embedded"`, a folder, or a hub id such as `"google/gemma-4-26B-A4B-it"`.
        device: `"auto"`, or a name that PyTorch knows.
        dtype: `"auto"`, `"float32"`, `"bfloat16"` or `"float16"`.
        device_map: Where accelerate puts the layers, over several devices; replaces `device`.
        quantization_config: Passed on to transformers.
        revision: Branch, tag or commit on the hub.
        token: For gated or private repositories on the hub.
        local_files_only: Ask no server.
        trust_remote_code: Run the code that comes with a checkpoint.
        attn_implementation: `"sdpa"` or `"eager"`.
        experts_implementation: How a mixture of experts is computed.
        model_kwargs: Further arguments of `from_pretrained`.
        grammar_backend: `"llguidance"`, `"outlines_core"`, or a backend of one's own.
        max_batch_size: The most requests that are decoded together.
        max_waiting: The most requests that wait beyond that before `ModelBusyError`; `None` for
            no limit.
        kv_cache_bytes: The most memory for the KV caches of running requests together.
        prefix_cache_bytes: The most memory for the KV caches of prompts' fixed parts, and of the
            earlier turns of conversations; 0 keeps none.
        drafts: Whether to guess the next tokens from the document and verify them in one forward:
            `"auto"` does where that pays. The outputs are the same.
        prefill_chunk: The most prompt tokens that one forward reads.

    Raises:
        InputError: An option is out of its range.
    """

    def __init__(
        self,
        source: str | Path = EMBEDDED,
        *,
        device: str = "auto",
        dtype: Dtype = "auto",
        device_map: DeviceMap | None = None,
        quantization_config: object = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
        attn_implementation: str | None = None,
        experts_implementation: ExpertsImplementation = "auto",
        model_kwargs: Mapping[str, object] | None = None,
        grammar_backend: BackendName | GrammarBackend = "llguidance",
        max_batch_size: int = 8,
        max_waiting: int | None = None,
        kv_cache_bytes: int = 4 * 2**30,
        prefix_cache_bytes: int = 2**30,
        drafts: Literal["auto", "on", "off"] = "auto",
        prefill_chunk: int = 512,
    ) -> None:
        if not str(source):
            raise InputError("source is empty: give a folder or a hub id.")
        options = LoadOptions(
            device=device,
            dtype=dtype,
            device_map=device_map,
            quantization_config=quantization_config,
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            trust_remote_code=trust_remote_code,
            attn_implementation=attn_implementation,
            experts_implementation=experts_implementation,
            model_kwargs=model_kwargs or {},
        )
        self._name = str(source)
        self._load: Callable[[], LoadedModel] = lambda: _load(source, options)
        self._runtime_options = RuntimeOptions(
            grammar_backend=grammar_backend,
            max_batch_size=max_batch_size,
            max_waiting=max_waiting,
            kv_cache_bytes=kv_cache_bytes,
            prefix_cache_bytes=prefix_cache_bytes,
            drafts=drafts,
            prefill_chunk=prefill_chunk,
        )
        self._runtime: Runtime | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_transformers(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        **options: Any,
    ) -> Self:
        """Use a model and a tokenizer that are loaded already.

        Args:
            model: A causal language model, put into evaluation mode.
            tokenizer: Its tokenizer, a fast one.
            name: What to call it in results.
            **options: Those of the constructor that are not about loading, such as
                `max_batch_size`.

        Raises:
            LoadError: They are not what they must be, or do not fit each other.
        """
        from gemma_structured.decoding.loaded_model import from_transformers  # noqa: PLC0415

        loaded = from_transformers(model, tokenizer, name=name)
        made = cls(loaded.name, **options)
        made._load = lambda: loaded
        return made

    @property
    def name(self) -> str:
        """The source that it was made from."""
        return self._name

    def __repr__(self) -> str:
        return f"LocalModel({self._name!r})"

    def load(self) -> Self:
        """Load it now, if it is not loaded yet.

        Raises:
            LoadError: A missing extra, weights, files or memory; it says what to do.
        """
        self.runtime()
        return self

    def runtime(self) -> Runtime:
        """The loaded model with its engine and caches; for those who look inside."""
        with self._lock:
            if self._runtime is None:
                try:
                    from gemma_structured.decoding.runtime import start  # noqa: PLC0415
                except ImportError as error:
                    raise LoadError(
                        f"A local model needs {error.name}, which is not installed.",
                        hint="Run: pip install 'gemma-structured[local]'",
                        model_name=self._name,
                    ) from error
                self._runtime = start(self._load(), self._runtime_options)
            return self._runtime

    def unload(self) -> None:
        """Cancel what runs and free the model's memory; the next use loads it again."""
        with self._lock:
            runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.engine.shutdown()

    @property
    def origin(self) -> Origin:
        """This process, for spans and metrics."""
        return Origin(provider="transformers")

    def bind(self, task: Task[T]) -> LocalResponder:
        """Prepare for a task.

        Raises:
            SchemaError: Nothing can satisfy the output type.
            GrammarError: A term is empty.
        """
        return LocalResponder(self, task, self._runtime_options.max_batch_size)


class LocalResponder:
    """A local model with one task; see `Responder`."""

    def __init__(self, model: LocalModel, task: Task[Any], concurrency: int) -> None:
        self._model = model
        self._task = task
        self._concurrency = concurrency
        self._grammar, self._report = Grammar.for_output_type(task.output_type, task.bounds)
        term = task.output_type.term
        self._checks: ResidualChecks | None = None
        if isinstance(term, JsonSchema):
            self._checks = ResidualChecks.of(term, self._report.residual)
        self._plan: TurnPlan | None = None

    @property
    def model_name(self) -> str:
        """Who answers."""
        return self._model.name

    @property
    def concurrency(self) -> int:
        """As many as are decoded together."""
        return self._concurrency

    def respond(self, request: ModelRequest) -> ModelResponse:
        """Answer; see `Responder.respond`."""
        runtime, sequence = self._begin(request)
        with closing(runtime.engine.stream(sequence)) as pieces:
            for _ in pieces:
                """The whole text is on the sequence."""
        return self._response(sequence)

    def stream(self, request: ModelRequest) -> Generator[ModelDelta | ModelResponse]:
        """Answer piece by piece; see `Responder.stream`."""
        runtime, sequence = self._begin(request)
        splitter = self._splitter(runtime)
        with closing(runtime.engine.stream(sequence)) as pieces:
            for piece in pieces:
                if (delta := splitter.feed(piece)) != _NOTHING:
                    yield delta
        if (delta := splitter.flush()) != _NOTHING:
            yield delta
        yield self._response(sequence)

    async def arespond(self, request: ModelRequest) -> ModelResponse:
        """Answer, without blocking the event loop."""
        runtime, sequence = await asyncio.to_thread(self._begin, request)
        async with aclosing(runtime.engine.astream(sequence)) as pieces:
            async for _ in pieces:
                """The whole text is on the sequence."""
        return self._response(sequence)

    async def astream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta | ModelResponse]:
        """Answer piece by piece, without blocking the event loop."""
        runtime, sequence = await asyncio.to_thread(self._begin, request)
        splitter = self._splitter(runtime)
        async with aclosing(runtime.engine.astream(sequence)) as pieces:
            async for piece in pieces:
                if (delta := splitter.feed(piece)) != _NOTHING:
                    yield delta
        if (delta := splitter.flush()) != _NOTHING:
            yield delta
        yield self._response(sequence)

    def prompt(self, request: ModelRequest) -> str:
        """The prompt as the model reads it, control tokens by name."""
        return self._render(request, self._model.runtime()).text

    def count_tokens(self, request: ModelRequest) -> int:
        """The prompt's length in tokens."""
        return len(self._render(request, self._model.runtime()).token_ids)

    def _render(self, request: ModelRequest, runtime: Runtime) -> RenderedPrompt:
        return _family(runtime).render(
            self.messages(request),
            runtime.tokenizer,
            offer=self._task.tools,
            thinking=self._task.thinks,
        )

    def messages(self, request: ModelRequest) -> list[Message]:
        """The messages that the prompt is rendered from."""
        task = self._task
        parts = [task.instruction, DRAFT_INSTRUCTION if task.draft else None]
        return build_messages(
            request.input,
            task.output_type,
            instruction="\n\n".join(part for part in parts if part) or None,
            examples=task.examples,
            issues=request.issues,
            show_schema=not task.is_free_text,
        )

    def _begin(self, request: ModelRequest) -> tuple[Runtime, TokenSequence]:
        """Everything before the first forward."""
        runtime = self._model.runtime()
        from gemma_structured.decoding.sampler import Sampler  # noqa: PLC0415
        from gemma_structured.decoding.sequence import TokenSequence  # noqa: PLC0415

        prompt = self._render(request, runtime)
        context = runtime.session.context_length
        room = context - len(prompt.token_ids)
        if room < 1:
            raise ContextLengthError(
                prompt_tokens=len(prompt.token_ids),
                context_length=context,
                model_name=self._model.name,
            )
        plan = self._plan_for(runtime)
        wanted = request.max_tokens or self._task.max_tokens or DEFAULT_MAX_TOKENS
        sequence = TokenSequence(
            prompt.token_ids,
            runtime.compiler.compile(plan.grammar if plan is not None else self._grammar).matcher(),
            runtime.vocabulary,
            Sampler(self._task.sampling),
            max_tokens=min(wanted, room),
            fixed_length=prompt.fixed_length,
            keep_answer=not isinstance(request.input, str),
            drafts=_drafts(request, runtime),
            thought=plan.thought() if plan is not None else None,
            checker=self._checker(plan),
            show_control=plan is not None,
            deadline=request.deadline,
            cancellation=request.cancellation,
        )
        sequence.check()
        return runtime, sequence

    def _checker(self, plan: TurnPlan | None) -> ValueChecker | None:
        """What judges one answer by what its mask cannot hold; `None` if it holds everything."""
        if plan is not None:
            return plan.checker()
        return None if self._checks is None else JsonChecker(self._checks)

    def _plan_for(self, runtime: Runtime) -> TurnPlan | None:
        """How turns are read that may be more than an answer; `None` where they may not."""
        task = self._task
        if task.tools is None and not task.thinks and not task.draft:
            return None
        plan = self._plan
        if plan is None or plan.vocabulary is not runtime.vocabulary:
            self._plan = plan = TurnPlan(
                task, self._grammar, self._checks, _family(runtime), runtime
            )
        return plan

    def _splitter(self, runtime: Runtime) -> TurnSplitter:
        plan = self._plan_for(runtime)
        return TurnSplitter(None, None) if plan is None else plan.splitter()

    def _response(self, sequence: TokenSequence) -> ModelResponse:
        turn = ParsedTurn(text=sequence.text)
        if self._plan is not None:
            turn = self._plan.read(sequence.text, is_whole=sequence.finish_reason == "stop")
        return ModelResponse(
            text=turn.text,
            thinking=turn.thinking,
            tool_calls=turn.calls,
            finish_reason="tool_calls" if turn.calls else sequence.finish_reason,
            usage=sequence.usage,
            model_name=self._model.name,
            constrained=True,
            report=self._report,
        )


_NOTHING = ModelDelta()


def _load(source: str | Path, options: LoadOptions) -> LoadedModel:
    if source == EMBEDDED:
        from gemma_structured.decoding.embedded import load_embedded  # noqa: PLC0415

        return load_embedded(options)
    from gemma_structured.decoding.loader import load_model  # noqa: PLC0415

    return load_model(source, options)


def _family(runtime: Runtime) -> Family:
    return family_for(
        runtime.loaded.model_type, has_chat_template=runtime.tokenizer.has_chat_template
    )


def _drafts(request: ModelRequest, runtime: Runtime) -> PromptLookup | None:
    """Drafts from the document, or from the last message of a conversation."""
    if not runtime.drafts:
        return None
    from gemma_structured.decoding.draft import PromptLookup  # noqa: PLC0415

    last = request.input if isinstance(request.input, str) else request.input[-1]
    source = last if isinstance(last, str) else last.text
    return PromptLookup(source, runtime.vocabulary.encode)
