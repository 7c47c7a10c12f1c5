"""`Agent`: turns and calls of tools, until there is a validated output. No hidden prompt."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from typing_extensions import TypeForm, Unpack

from gemma_structured.conversation import Conversation
from gemma_structured.exceptions import BudgetExceededError, InputError, ModelError, ToolRetry
from gemma_structured.exceptions import OutputValidationError as _Invalid
from gemma_structured.messages import ToolMessage, ToolReturn, UserMessage
from gemma_structured.schema.free_text import FREE_TEXT
from gemma_structured.tools import ToolOffer
from gemma_structured.tools.dispatch import arun_call, error_return, run_call, success_return
from gemma_structured.types import ModelDelta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence

    from gemma_structured.messages import Message, ToolCall
    from gemma_structured.models.base import Model, TaskOptions
    from gemma_structured.schema.terms import Term
    from gemma_structured.tools import Tool, ToolChoice
    from gemma_structured.turns import Turn, TurnTaker

__all__ = [
    "Agent",
    "AgentCall",
    "AgentEvent",
    "AgentOutput",
    "AgentReturn",
    "AgentText",
    "AgentThought",
]

T = TypeVar("T")

_INTERRUPTED = "The call was interrupted, and may or may not have had its effect."


@dataclass(frozen=True, slots=True)
class AgentThought:
    """A piece of a thought."""

    delta: str


@dataclass(frozen=True, slots=True)
class AgentText:
    """A piece of what the model says."""

    delta: str


@dataclass(frozen=True, slots=True)
class AgentCall:
    """A call that is about to be made."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class AgentReturn:
    """What a call came to."""

    call: ToolCall
    returned: ToolReturn


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOutput(Generic[T]):
    """The end of a run.

    Attributes:
        output: The validated output.
        conversation: All that was said; give it to `run` to go on.
        usage: What all turns cost.
        steps: How many turns the model took.
    """

    output: T
    conversation: Conversation
    usage: Usage
    steps: int


AgentEvent: TypeAlias = "AgentThought | AgentText | AgentCall | AgentReturn | AgentOutput[T]"
"""What `Agent.stream` yields; the output comes last."""


class Agent(Generic[T]):
    """A model that may call tools before it answers.

    ```python
    agent = gs.Agent(model, tools=[exchange_rate], output_type=Invoice)
    agent.run("Convert to USD: …").output
    ```

    A tool's exception goes back to the model as an error, and so does a `gs.ToolRetry`. Before a
    call begins, the conversation that `keep` is given holds its return as interrupted; so a run
    that was killed and is resumed makes no call twice unless the model asks for it again.

    Args:
        model: Any model.
        tools: What it may call; functions are made into tools.
        output_type: What it is to answer; `None` for any text.
        tool_choice: `"auto"` or `"none"`; a name or `"required"` holds for the first turn only.
        parallel: The least and the most calls of a turn.
        max_steps: The most turns of one run.
        max_tokens_in_all: The most tokens that one run may cost, prompts included.
        approve: Asked before each call of a tool that needs approval: `False`, or a text that says
            why, refuses it.
        on_error: Told of each exception of a tool.
        **options: See `TaskOptions`. The `instruction` is all that is sent beside the conversation,
            the tools and the form of the output.

    Attributes:
        offer: The tools, and how they may be called in the first turn.
        first_turn: Takes the first turn.
        later_turns: Takes those after it, which need make no calls.

    Raises:
        InputError: An option cannot be used, or a tool needs approval and nobody gives it.
        SchemaError: The output type or a tool cannot be used.
    """

    def __init__(
        self,
        model: Model,
        *,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] = (),
        output_type: TypeForm[T] | Term[T] | None = None,
        tool_choice: ToolChoice = "auto",
        parallel: tuple[int, int] = (1, 8),
        max_steps: int = 10,
        max_tokens_in_all: int | None = None,
        approve: Callable[[ToolCall], bool | str] | None = None,
        on_error: Callable[[ToolCall, Exception], None] | None = None,
        **options: Unpack[TaskOptions[Any]],
    ) -> None:
        if max_steps < 1:
            raise InputError(f"max_steps must be at least 1, not {max_steps}.")
        first = ToolOffer.of(tools, choice=tool_choice, parallel=parallel)
        unguarded = [each.name for each in first.tools if each.needs_approval]
        if unguarded and approve is None:
            raise InputError(
                f"{unguarded[0]} needs approval, and there is nobody to ask.",
                hint="Give `approve=`.",
            )
        asked: Any = FREE_TEXT if output_type is None else output_type
        later = replace(first, choice="auto") if first.must_call else first
        self.first_turn: TurnTaker[T] = model.turns(asked, first, **options)
        self.later_turns: TurnTaker[T] = model.turns(asked, later, **options)
        self.offer = first
        self.max_steps = max_steps
        self.max_tokens_in_all = max_tokens_in_all
        self._approve = approve
        self._on_error = on_error

    def run(
        self,
        document: str | Sequence[Message],
        *,
        context: object = None,
        keep: Callable[[Conversation], None] | None = None,
    ) -> AgentOutput[T]:
        """Run to the end.

        Args:
            document: A text, or a conversation: one that ends with the user begins, any other goes
                on where it stopped.
            context: The `value` of the tools' `gs.ToolContext`.
            keep: Given every state of the conversation, the first one before the model is asked,
                for instance to store it.

        Raises:
            ModelError: There is no answer within `max_steps`, or the model failed.
            OutputValidationError: No attempt of a turn validates.
            BudgetExceededError: The run cost more than `max_tokens_in_all`.
        """
        *_, last = self.stream(document, context=context, keep=keep)
        assert isinstance(last, AgentOutput)
        return last

    async def arun(
        self,
        document: str | Sequence[Message],
        *,
        context: object = None,
        keep: Callable[[Conversation], None] | None = None,
    ) -> AgentOutput[T]:
        """Run to the end without blocking the event loop; see `run`."""
        last: AgentEvent[T] | None = None
        async for event in self.astream(document, context=context, keep=keep):
            last = event
        assert isinstance(last, AgentOutput)
        return last

    def stream(
        self,
        document: str | Sequence[Message],
        *,
        context: object = None,
        keep: Callable[[Conversation], None] | None = None,
    ) -> Generator[AgentEvent[T]]:
        """Run, and watch: the output comes last; see `run`."""
        run = _Run[T](self, document, keep)
        while True:
            for calls in run.batches():
                yield from map(AgentCall, calls)
                run.begin(calls)
                with ThreadPoolExecutor(len(calls)) as pool:
                    made = list(pool.map(partial(self._make, context=context), calls))
                run.end(made)
                yield from map(AgentReturn, calls, made)
            for event in run.taker.stream(run.conversation):
                if isinstance(event, ModelDelta):
                    yield from _pieces(event)
                elif (output := run.take(event)) is not None:
                    yield output
                    return

    async def astream(
        self,
        document: str | Sequence[Message],
        *,
        context: object = None,
        keep: Callable[[Conversation], None] | None = None,
    ) -> AsyncGenerator[AgentEvent[T]]:
        """Run, and watch, without blocking the event loop; see `run`."""
        run = _Run[T](self, document, keep)
        while True:
            for calls in run.batches():
                for call in calls:
                    yield AgentCall(call)
                run.begin(calls)
                made = await asyncio.gather(*(self._amake(call, context) for call in calls))
                run.end(made)
                for call, returned in zip(calls, made, strict=True):
                    yield AgentReturn(call, returned)
            async for event in run.taker.astream(run.conversation):
                if isinstance(event, ModelDelta):
                    for piece in _pieces(event):
                        yield piece
                elif (output := run.take(event)) is not None:
                    yield output
                    return

    def prompt(self, document: str | Sequence[Message]) -> str:
        """Exactly what the first turn sends, control tokens and all."""
        return self.first_turn.prompt(_begun(document))

    def _make(self, call: ToolCall, context: object) -> ToolReturn:
        try:
            tool, typed = self._checked(call)
            return success_return(call, run_call(tool, typed, context))
        except Exception as error:  # noqa: BLE001 - the model is told, and the user's hook
            return self._failed(call, error)

    async def _amake(self, call: ToolCall, context: object) -> ToolReturn:
        try:
            tool, typed = await asyncio.to_thread(self._checked, call)
            return success_return(call, await arun_call(tool, typed, context))
        except Exception as error:  # noqa: BLE001 - the model is told, and the user's hook
            return self._failed(call, error)

    def _checked(self, call: ToolCall) -> tuple[Tool[..., Any], ToolCall]:
        """The call's tool and typed arguments, if it may be made."""
        tool = next((each for each in self.offer.tools if each.name == call.name), None)
        if tool is None:
            raise ToolRetry(f"There is no tool {call.name!r:.80}.")
        if call.typed is None:  # it comes from a conversation that was saved
            try:
                call = replace(call, typed=tool.validate(call.written))
            except _Invalid as error:
                raise ToolRetry(error.message) from error
        if tool.needs_approval and self._approve is not None:
            verdict = self._approve(call)
            if verdict is not True:
                raise ToolRetry(verdict or "The user refused this call.")
        return tool, call

    def _failed(self, call: ToolCall, error: Exception) -> ToolReturn:
        if self._on_error is not None:
            self._on_error(call, error)
        return error_return(call, error)


class _Run(Generic[T]):
    """One run's state: the conversation, its steps and what they cost. No I/O."""

    def __init__(
        self,
        agent: Agent[T],
        document: str | Sequence[Message],
        keep: Callable[[Conversation], None] | None,
    ) -> None:
        self._agent = agent
        self._keep = keep
        self._usage = Usage()
        self._steps = 0
        self._returns: dict[str, ToolReturn] = {}
        self._set(_begun(document))
        self._base = self.conversation

    @property
    def taker(self) -> TurnTaker[T]:
        """Who takes the next turn."""
        if self._steps >= self._agent.max_steps:
            raise ModelError(
                f"There is no answer after {self._steps} steps.",
                hint="Raise `max_steps`, or give the model less to do.",
            )
        begun = self._steps or not isinstance(self.conversation[-1], UserMessage)
        return self._agent.later_turns if begun else self._agent.first_turn

    def batches(self) -> list[list[ToolCall]]:
        """The pending calls in the order in which they are made, safe neighbours together."""
        pending = self.conversation.pending_calls
        safe = {each.name for each in self._agent.offer.tools if each.concurrent}
        batches: list[list[ToolCall]] = []
        for call in pending:
            if call.name in safe and batches and batches[-1][-1].name in safe:
                batches[-1].append(call)
            else:
                batches.append([call])
        self._base = self.conversation
        self._returns = {}
        if pending and isinstance(last := self.conversation[-1], ToolMessage):
            self._base = self.conversation[:-1]
            self._returns = {each.call_id: each for each in last.returns}
        return batches

    def begin(self, calls: list[ToolCall]) -> None:
        """Note that calls are about to be made, so that no resumed run makes them again."""
        for call in calls:
            value = {"error": _INTERRUPTED}
            self._returns[call.id] = ToolReturn(
                call.name, cast("Any", value), call.id, is_error=True
            )
        self._set(self._base.add(ToolMessage(*self._returns.values())))

    def end(self, made: Sequence[ToolReturn]) -> None:
        """Note what calls came to."""
        self._returns.update({each.call_id: each for each in made})
        self._set(self._base.add(ToolMessage(*self._returns.values())))

    def take(self, turn: Turn[T]) -> AgentOutput[T] | None:
        """Note a turn; the end of the run if it made no calls.

        Raises:
            BudgetExceededError: The run has cost too much.
        """
        self._steps += 1
        self._usage += turn.usage
        self._set(self.conversation.add(turn.message))
        if not turn.calls:
            return AgentOutput(
                output=cast("T", turn.output),
                conversation=self.conversation,
                usage=self._usage,
                steps=self._steps,
            )
        most = self._agent.max_tokens_in_all
        if most is not None and self._usage.total_tokens >= most:
            raise BudgetExceededError(
                f"The run has cost {self._usage.total_tokens} tokens of {most}.",
                hint="Raise `max_tokens_in_all`, or resume it from its conversation.",
            )
        return None

    def _set(self, conversation: Conversation) -> None:
        self.conversation = conversation
        if self._keep is not None:
            self._keep(conversation)


def _begun(document: str | Sequence[Message]) -> Conversation:
    """The conversation that a run begins with.

    Raises:
        InputError: There is nothing to answer.
    """
    if isinstance(document, str):
        return Conversation(UserMessage(document))
    conversation = Conversation(*document)
    last = conversation[-1] if len(conversation) else None
    if not (isinstance(last, UserMessage | ToolMessage) or conversation.pending_calls):
        raise InputError(
            "There is nothing to answer: the conversation is empty, or ends with an answer.",
            hint="Add what the user says next: conversation.user('…').",
        )
    return conversation


def _pieces(delta: ModelDelta) -> list[AgentThought | AgentText]:
    pieces: list[AgentThought | AgentText] = []
    if delta.thinking:
        pieces.append(AgentThought(delta.thinking))
    if delta.text:
        pieces.append(AgentText(delta.text))
    return pieces
