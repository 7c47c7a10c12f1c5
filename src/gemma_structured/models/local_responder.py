"""A local model with one task: prompts, decoding, and what is read from it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from gemma_structured.exceptions import ContextLengthError
from gemma_structured.families.registry import family_for
from gemma_structured.families.turn import ParsedTurn
from gemma_structured.families.turn_splitter import TurnSplitter
from gemma_structured.grammar.spec import Grammar
from gemma_structured.models.local_turns import DRAFT_INSTRUCTION, TurnPlan
from gemma_structured.parsing.checked import JsonChecker
from gemma_structured.prompting import build_messages
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.types import ModelDelta, ModelResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from gemma_structured.decoding.draft import Drafter
    from gemma_structured.decoding.retries import ValueChecker
    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.families.base import Family, RenderedPrompt
    from gemma_structured.messages import Message
    from gemma_structured.models.local import LocalModel

__all__ = ["DEFAULT_MAX_TOKENS", "LocalResponder"]

DEFAULT_MAX_TOKENS = 4096
"""The most tokens of an answer where the task does not say."""


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
        return self._response(runtime, sequence)

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
        yield self._response(runtime, sequence)

    async def arespond(self, request: ModelRequest) -> ModelResponse:
        """Answer, without blocking the event loop."""
        runtime, sequence = await asyncio.to_thread(self._begin, request)
        async with aclosing(runtime.engine.astream(sequence)) as pieces:
            async for _ in pieces:
                """The whole text is on the sequence."""
        return self._response(runtime, sequence)

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
        yield self._response(runtime, sequence)

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

    def _response(self, runtime: Runtime, sequence: TokenSequence) -> ModelResponse:
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
            precision=runtime.loaded.precision,
        )


_NOTHING = ModelDelta()


def _family(runtime: Runtime) -> Family:
    return family_for(
        runtime.loaded.model_type, has_chat_template=runtime.tokenizer.has_chat_template
    )


def _drafts(request: ModelRequest, runtime: Runtime) -> Drafter | None:
    """Drafts from the document, or from the last message of a conversation; then by a model."""
    from gemma_structured.decoding.draft import Drafters, PromptLookup  # noqa: PLC0415
    from gemma_structured.decoding.mtp import MTPDrafter  # noqa: PLC0415

    drafters: list[Drafter] = []
    if runtime.drafts:
        last = request.input if isinstance(request.input, str) else request.input[-1]
        source = last if isinstance(last, str) else last.text
        drafters.append(PromptLookup(source, runtime.vocabulary.encode))
    if runtime.draft_model is not None:
        drafters.append(MTPDrafter(runtime.draft_model, runtime.vocabulary))
    return Drafters(*drafters) if drafters else None
