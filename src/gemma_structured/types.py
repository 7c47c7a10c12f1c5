"""The records that pass between rooms: plain, frozen, without behaviour of any one model."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from gemma_structured.exceptions import (
    DeadlineExceededError,
    GemmaStructuredError,
    GenerationCancelledError,
    InputError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from gemma_structured.messages import ToolCall

__all__ = [
    "Attempt",
    "Cancellation",
    "Deadline",
    "Example",
    "FinishReason",
    "Issue",
    "JsonValue",
    "ModelDelta",
    "ModelResponse",
    "Partial",
    "Report",
    "Restarted",
    "Result",
    "SamplingParams",
    "Usage",
    "pointer",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What a JSON document decodes to."""

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "error"]
"""Why the model stopped: `stop` is the only one after which an answer is whole."""


def pointer(path: Sequence[str | int]) -> str:
    """Write a path as a JSON Pointer (RFC 6901); the root is the empty string."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen from the logits.

    The filters apply in the order temperature, top-k, top-p, min-p, as in transformers' `generate`.

    Attributes:
        temperature: 0 takes the most likely token; otherwise the logits are divided by it.
        top_k: Keep the `k` most likely tokens.
        top_p: Keep the smallest set whose probabilities add up to `p` (nucleus sampling,
            https://arxiv.org/abs/1904.09751).
        min_p: Keep tokens at least this share as likely as the most likely one
            (https://arxiv.org/abs/2407.01082).
        seed: The same seed, prompt, weights and machine give the same tokens.

    Raises:
        InputError: A value is out of its range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no sampler could mean."""
        if not 0.0 <= self.temperature < float("inf"):
            raise InputError(f"temperature must be a finite number ≥ 0, not {self.temperature}.")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, not {self.top_k}.")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise InputError(f"top_p must be in (0, 1], not {self.top_p}.")
        if self.min_p is not None and not 0.0 <= self.min_p <= 1.0:
            raise InputError(f"min_p must be in [0, 1], not {self.min_p}.")


@dataclass(frozen=True, slots=True)
class Example(Generic[T_co]):
    """A few-shot example: an input and the output that is right for it."""

    input: str
    output: T_co


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a request cost. Usages add up with `+`.

    Attributes:
        prompt_tokens: Tokens of the prompt, cached ones included.
        cached_tokens: Prompt tokens whose KV cache was reused, not computed.
        sampled_tokens: Tokens that the model chose.
        forced_tokens: Tokens that the grammar left no choice about (fast-forward).
        drafted_tokens: Tokens of the answer that a draft had guessed, and that took no forward of
            their own; part of those that were sampled or forced.
        rewound_tokens: Tokens that were taken back since they completed a value that breaks a rule
            which no mask can hold (`uniqueItems`, `not`), so that another one was tried; beside
            those of the completion.
        reasoning_tokens: Tokens of the thought before the answer; part of the completion.
        forward_passes: Forward passes of a local model, the prefill's chunks included.
        requests: Requests to a remote model.
        cost: US dollars, where the provider says so.
        seconds_to_first_token: Wall-clock time to the first sampled token.
        seconds: Wall-clock time in all.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    sampled_tokens: int = 0
    forced_tokens: int = 0
    drafted_tokens: int = 0
    rewound_tokens: int = 0
    reasoning_tokens: int = 0
    forward_passes: int = 0
    requests: int = 0
    cost: Decimal | None = None
    seconds_to_first_token: float | None = None
    seconds: float = 0.0

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer and of the thought, sampled and forced."""
        return self.sampled_tokens + self.forced_tokens

    @property
    def total_tokens(self) -> int:
        """Tokens of the prompt and of the completion."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """Add field by field; the time to the first token is that of the first."""
        summed = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name not in {"cost", "seconds_to_first_token"}
        }
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        first = self.seconds_to_first_token
        return Usage(
            **summed,
            cost=sum(costs, Decimal(0)) if costs else None,
            seconds_to_first_token=other.seconds_to_first_token if first is None else first,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One thing that is wrong with an output. Its `repr` shows nothing that the model wrote.

    Attributes:
        path: Keys and indexes from the root of the output.
        message: What is wrong, in words that a model can act on.
        found: The offending value as compact JSON, cut at 200 characters.
        expected: What was expected instead, where that can be said.
        keyword: The JSON Schema keyword, or Pydantic's error type.
        source: Which check found it.
        undeclared: Keys in the path that the output type does not name: the model chose them.
    """

    path: tuple[str | int, ...] = ()
    message: str
    found: str | None = None
    expected: str | None = None
    keyword: str | None = None
    source: Literal["syntax", "json_schema", "pydantic", "grammar"] = "json_schema"
    undeclared: frozenset[str] = frozenset()

    @property
    def pointer(self) -> str:
        """The path as a JSON Pointer."""
        return pointer(self.path)

    @property
    def where(self) -> str:
        """The path fit to be shown, without the keys that the model chose."""
        return pointer(["…" if key in self.undeclared else key for key in self.path]) or "(root)"

    def __repr__(self) -> str:
        return f"Issue({self.where}: {self.message}, keyword={self.keyword!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One answer of a model, kept whether it was right or not. Its `repr` leaves out the text."""

    model_name: str
    text: str = field(repr=False)
    finish_reason: FinishReason | None
    usage: Usage
    issues: tuple[Issue, ...] = ()
    error: GemmaStructuredError | None = field(default=None, compare=False)
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done to the output type so that a grammar can enforce it.

    Attributes:
        bounds: The default bounds that were put on numbers, strings and arrays without their own:
            `("/properties/title", "maxLength", 4096)` and so on.
        residual: Paths and keywords that the mask cannot enforce and validation checks instead.
        exact: Whether the mask alone enforces the schema, these bounds aside.
    """

    bounds: tuple[tuple[str, str, JsonValue], ...] = ()
    residual: tuple[tuple[str, str], ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the mask alone enforces the schema, the default bounds aside."""
        return not self.residual


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResponse:
    """A model's whole answer to one request.

    Attributes:
        text: The answer, without its thought.
        thinking: The thought before it, where the model had one.
        tool_calls: What the model asks to be called, not validated yet.
        constrained: Whether a grammar held the text, so that repair would hide a bug.
        report: What the grammar enforces and what it leaves to validation.
        max_tokens: How many tokens it could have, where that is known.
        precision: What a local model computed in, such as `"float32"` or `"int8"`.
    """

    text: str = field(repr=False)
    finish_reason: FinishReason | None
    usage: Usage
    model_name: str
    thinking: str | None = field(default=None, repr=False)
    tool_calls: tuple[ToolCall, ...] = field(default=(), repr=False)
    constrained: bool = False
    report: Report = field(default_factory=Report)
    max_tokens: int | None = None
    precision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDelta:
    """A piece of an answer that is being streamed; the pieces add up to the whole."""

    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Generic[T_co]):
    """A validated output and how it came about.

    Attributes:
        output: The typed value.
        text: The text that it was read from.
        usage: What all the attempts cost.
        attempts: Every attempt, the last one being the right one.
        model_name: Who answered.
        skipped: The models that failed before that one answered, with why.
        precision: What a local model computed in, such as `"float32"` or `"int8"`.
    """

    output: T_co
    text: str
    usage: Usage
    finish_reason: FinishReason
    model_name: str
    attempts: tuple[Attempt, ...] = ()
    thinking: str | None = None
    report: Report = field(default_factory=Report)
    skipped: tuple[GemmaStructuredError, ...] = ()
    precision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial(Generic[T]):
    """An output that is still being written.

    Attributes:
        value: What there is of the JSON value; `None` before its first character. For output types
            that are text (a regex, a choice, a Lark grammar): the text so far.
        closed: The paths whose values are complete and will not change.
        delta: The text that this piece adds.
        text: All the text so far: the deltas since the start, or since the last `Restarted`.
        thinking: The part of the thought that this piece adds.
    """

    value: JsonValue
    closed: AbstractSet[tuple[str | int, ...]]
    delta: str
    text: str
    thinking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """The answer did not validate and is asked for again: forget the pieces so far.

    Attributes:
        attempt: The number of the attempt that now begins, from 2.
        issues: What was wrong.
    """

    attempt: int
    issues: tuple[Issue, ...]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time (`time.monotonic`) after which nothing more is begun."""

    at: float = float("inf")

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """A deadline some seconds from now; `None` is never.

        Raises:
            InputError: The number of seconds is negative or not a number.
        """
        if seconds is None:
            return cls()
        if not seconds >= 0:
            raise InputError(f"A deadline must be a number of seconds ≥ 0, not {seconds}.")
        return cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left; negative when it has passed, infinite when there is none."""
        return self.at - time.monotonic()

    def check(self) -> None:
        """Raise if the time is up.

        Raises:
            DeadlineExceededError: It has passed.
        """
        if self.remaining <= 0:
            raise DeadlineExceededError(
                "The deadline passed before the answer was complete.",
                hint="Give a longer `timeout`, or a smaller `max_tokens`.",
            )


class Cancellation:
    """A flag that another thread may set; long work looks at it between its steps."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to end; it does at its next step."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether someone has asked."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, unless or until someone asks; say whether someone has."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise if someone has asked.

        Raises:
            GenerationCancelledError: Someone has.
        """
        if self.cancelled:
            raise GenerationCancelledError("The generation was cancelled.")
