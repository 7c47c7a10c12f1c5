"""`ScriptedModel`: a model that answers from a script, for tests of what is built on models."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from gemma_structured.exceptions import GemmaStructuredError, ModelError
from gemma_structured.models.base import Model
from gemma_structured.prompting.few_shot import build_messages
from gemma_structured.types import ModelDelta, ModelResponse, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator

    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.messages import Message

__all__ = ["Answer", "Script", "ScriptedModel"]

T = TypeVar("T")

Answer: TypeAlias = object
"""A text, which is the answer as the model writes it; an error, which is raised; a `ModelResponse`;
or any other value, which is written as an output of the type that is asked for."""

Script: TypeAlias = "Iterable[Answer] | Callable[[ModelRequest], Answer]"
"""Answers in the order of the requests, or a function that answers each of them."""


class ScriptedModel(Model):
    """A model that says what it is told to. Tokens are counted as UTF-8 bytes.

    ```python
    model = ScriptedModel(['{"number":"A1"', Invoice(number="A1", total=3)])
    ```

    Args:
        script: The answers. A function is called in a worker thread by the asynchronous methods, so
            that it may block.
        name: What the model is called in results and errors.
        piece_length: Characters of each piece when an answer is streamed.
        constrained: Whether the answers count as written under a grammar, which is never repaired.
        concurrency: How many requests are under way at once in a batch.

    Attributes:
        requests: Every request so far.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        piece_length: int = 8,
        constrained: bool = False,
        concurrency: int = 1,
    ) -> None:
        self._answers: Iterator[Answer] | None = None if callable(script) else iter(script)
        self._function = script if callable(script) else None
        self._name = name
        self._lock = threading.Lock()
        self.piece_length = piece_length
        self.constrained = constrained
        self.concurrency = concurrency
        self.requests: list[ModelRequest] = []

    @property
    def name(self) -> str:
        """What the model is called in results and errors."""
        return self._name

    def bind(self, task: Task[T]) -> ScriptedResponder:
        """Prepare for a task; see `Driver`."""
        return ScriptedResponder(self, task)

    def next_answer(self, request: ModelRequest) -> Answer:
        """What the script says to a request.

        Raises:
            ModelError: The script has come to its end.
        """
        with self._lock:
            self.requests.append(request)
            if self._answers is not None:
                for answer in self._answers:
                    return answer
        if self._function is not None:
            return self._function(request)
        raise ModelError(
            f"The script has no answer to request {len(self.requests)}.", model_name=self.name
        )


class ScriptedResponder:
    """A `ScriptedModel` with one task; see `Responder`."""

    def __init__(self, model: ScriptedModel, task: Task[Any]) -> None:
        self._model = model
        self._task = task

    @property
    def model_name(self) -> str:
        """What the model is called."""
        return self._model.name

    @property
    def concurrency(self) -> int:
        """How many requests are under way at once in a batch."""
        return self._model.concurrency

    def respond(self, request: ModelRequest) -> ModelResponse:
        """Answer from the script.

        Raises:
            GemmaStructuredError: The script says so, or it has come to its end.
        """
        request.cancellation.check()
        request.deadline.check()
        answer = self._model.next_answer(request)
        if isinstance(answer, GemmaStructuredError):
            raise answer
        if isinstance(answer, ModelResponse):
            return answer
        text = answer if isinstance(answer, str) else self._task.output_type.dump(answer)
        usage = Usage(
            prompt_tokens=self.count_tokens(request), sampled_tokens=_length(text), requests=1
        )
        return ModelResponse(
            text=text,
            finish_reason="stop",
            usage=usage,
            model_name=self.model_name,
            constrained=self._model.constrained,
        )

    async def arespond(self, request: ModelRequest) -> ModelResponse:
        """Answer from the script, in a worker thread."""
        return await asyncio.to_thread(self.respond, request)

    def stream(self, request: ModelRequest) -> Generator[ModelDelta | ModelResponse]:
        """Answer piece by piece."""
        response = self.respond(request)
        for delta in self._pieces(response):
            request.cancellation.check()
            request.deadline.check()
            yield delta
        yield response

    async def astream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta | ModelResponse]:
        """Answer piece by piece."""
        response = await self.arespond(request)
        for delta in self._pieces(response):
            request.cancellation.check()
            request.deadline.check()
            yield delta
            await asyncio.sleep(0)
        yield response

    def _pieces(self, response: ModelResponse) -> Iterator[ModelDelta]:
        if response.thinking:
            yield ModelDelta(thinking=response.thinking)
        length = self._model.piece_length
        for start in range(0, len(response.text), length):
            yield ModelDelta(text=response.text[start : start + length])

    def prompt(self, request: ModelRequest) -> str:
        """The messages, one paragraph each."""
        return "\n\n".join(
            f"{type(each).__name__.removesuffix('Message').lower()}: {each.text}"
            for each in self.messages(request)
        )

    def messages(self, request: ModelRequest) -> list[Message]:
        """The messages, as any model is given them."""
        return build_messages(
            request.input,
            self._task.output_type,
            instruction=self._task.instruction,
            examples=self._task.examples,
            issues=request.issues,
        )

    def count_tokens(self, request: ModelRequest) -> int:
        """The UTF-8 bytes of the prompt."""
        return _length(self.prompt(request))


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
