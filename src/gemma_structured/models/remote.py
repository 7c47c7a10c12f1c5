"""What all remote models share: a server, a budget, and how the server is told what is wanted."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypedDict, TypeVar

from gemma_structured.exceptions import InputError
from gemma_structured.models.base import Model
from gemma_structured.models.remote_responder import RemoteResponder
from gemma_structured.models.structured_modes import ModeLadder
from gemma_structured.remote.async_transport import AsyncTransport
from gemma_structured.remote.call import Call
from gemma_structured.remote.decode import JsonDecoder
from gemma_structured.remote.errors import ErrorContext
from gemma_structured.remote.server import Server
from gemma_structured.remote.transport import Transport
from gemma_structured.telemetry import Origin
from gemma_structured.types import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from pydantic import SecretStr

    from gemma_structured.budget import Budget
    from gemma_structured.driver import Task
    from gemma_structured.images import Image
    from gemma_structured.models.structured_modes import Structured
    from gemma_structured.remote.network import Timeouts
    from gemma_structured.remote.pricing import Pricing
    from gemma_structured.remote.retry import RetryPolicy
    from gemma_structured.remote.wire import StructuredMode
    from gemma_structured.types import JsonValue

__all__ = ["RemoteModel", "RemoteOptions"]

T = TypeVar("T")

DEFAULT_MAX_TOKENS = 4096
"""The most tokens of an answer, its thought included, where the task does not say."""


class RemoteOptions(TypedDict, total=False):
    """What may be said about any remote model.

    Attributes:
        structured: How the server is told of the output's form.
        budget: What the model's requests may cost, together with those of others that share it.
        price: What it costs, where the server does not say (or is not to be asked).
        redact: Sees every text before it is sent, and gives back what is sent in its place. It may
            raise to send nothing.
        redact_image: The same for images. Without it, a model with `redact` sends none.
        max_tokens: The most tokens of an answer where the task does not say; always sent.
        timeout: Seconds that one request may take in all, retries included, where the task does not
            say less.
        timeouts: For single steps, such as opening a connection.
        retry: When a failed request is sent again.
        max_concurrency: Requests under way at once, in all threads and event loops; 32 unless told.
        requests_per_minute: A rate that is kept to.
        max_response_bytes: A longer answer is refused; 32 MiB unless told.
        extra: Further members of the request's JSON.
    """

    structured: Structured
    budget: Budget | None
    price: Pricing | None
    redact: Callable[[str], str] | None
    redact_image: Callable[[Image], Image] | None
    max_tokens: int
    timeout: float | None
    timeouts: Timeouts
    retry: RetryPolicy
    max_concurrency: int
    requests_per_minute: float | None
    max_response_bytes: int
    extra: Mapping[str, JsonValue]


class RemoteModel(Model):
    """A model behind a chat-completions server. Thread-safe; connects at its first request.

    Close it (or use it in a `with` or `async with` block) to close its connections.
    """

    is_remote = True
    provider = "openai"
    auto_modes: Sequence[StructuredMode] = ("json_schema", "json_object", "prompt")
    stream_extra: Mapping[str, JsonValue] = {}

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        key: SecretStr | None,
        headers: Mapping[str, str],
        structured: Structured,
        options: RemoteOptions,
    ) -> None:
        if unknown := options.keys() - RemoteOptions.__annotations__.keys():
            raise TypeError(f"Unknown options: {', '.join(sorted(unknown))}.")
        if not name:
            raise InputError("A remote model needs the name that its server knows it by.")
        self._name = name
        self.server = Server(
            base_url,
            key=key,
            headers=headers,
            timeouts=options.get("timeouts"),
            retry=options.get("retry"),
            max_concurrency=options.get("max_concurrency", 32),
            requests_per_minute=options.get("requests_per_minute"),
            max_response_bytes=options.get("max_response_bytes", 32 * 1024 * 1024),
        )
        self.budget = options.get("budget")
        self.price = options.get("price")
        self.redact = options.get("redact")
        self.redact_image = options.get("redact_image")
        self.max_tokens = options.get("max_tokens", DEFAULT_MAX_TOKENS)
        self.timeout = options.get("timeout", 600.0)
        self.extra = dict(options.get("extra", {}))
        self.modes = ModeLadder(options.get("structured", structured), self.auto_modes)
        self.transport = Transport(self.server)
        self.async_transport = AsyncTransport(self.server)
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, not {self.max_tokens}.")
        Deadline.after(self.timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def name(self) -> str:
        """What its server calls it."""
        return self._name

    @property
    def origin(self) -> Origin:
        """The server, for spans and metrics."""
        address, port = self.server.address
        return Origin(provider=self.provider, address=address, port=port)

    def bind(self, task: Task[T]) -> RemoteResponder:
        """Prepare for a task; see `Driver`.

        Raises:
            InputError: The output type does not go with `structured`.
        """
        return RemoteResponder(self, task)

    def redacted(self, hook: Callable[[str], str]) -> Self:
        """The same model, whose texts a hook sees before its own does.

        Connections, limits, budget and what is known of the server are shared.
        """
        other, own = copy.copy(self), self.redact

        def both(text: str) -> str:
            return own(hook(text)) if own is not None else hook(text)

        other.redact = both
        return other

    def members(
        self, *, price: Pricing | None, thinking: bool | int, needs_parameters: bool
    ) -> dict[str, JsonValue]:
        """Members of the request's JSON that are particular to the server.

        Args:
            price: What the budget reckons with, if it does.
            thinking: What the task says of the thought; `False` leaves it to the model.
            needs_parameters: Whether a server that drops what it does not know is of no use.
        """
        del price, thinking, needs_parameters
        return self.extra

    def pricing(self) -> Pricing | None:
        """What the model costs, where that is known."""
        return self.price

    async def apricing(self) -> Pricing | None:
        """What the model costs, without blocking the event loop."""
        return self.price

    def price_bound(self, deadline: Deadline) -> Pricing | None:
        """The most that it may cost, for the budget."""
        del deadline
        return self.price

    async def aprice_bound(self, deadline: Deadline) -> Pricing | None:
        """The most that it may cost, without blocking the event loop."""
        return self.price_bound(deadline)

    def check_ready(self) -> None:
        """Raise if the model cannot be asked as it is.

        Raises:
            AuthenticationError: It needs a key and has none.
        """

    def get(self, path: str, deadline: Deadline) -> Call[dict[str, JsonValue]]:
        """The call that reads a JSON object of the server's."""
        return Call(
            decoder=lambda _, context: JsonDecoder(context),
            method="GET",
            path=path,
            context=self.error_context(""),
            deadline=deadline,
        )

    def error_context(self, sent: str) -> ErrorContext:
        """What is known where an error is read."""
        key = self.server.key
        secret = key.get_secret_value() if key is not None else ""
        return ErrorContext(model_name=self.name, sent=sent, key=secret)

    def close(self) -> None:
        """Close the connections of blocking code."""
        self.transport.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop, and those of blocking code."""
        await self.async_transport.close()
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
