"""A server's error → the typed error, and whether asking again makes sense.

The table is OpenRouter's (https://openrouter.ai/docs/api-reference/errors); other servers speak a
part of it. `error.availability` goes before `metadata.error_type`, and that before the status.
"""

from __future__ import annotations

import email.utils
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import jiter

from gemma_structured.exceptions import (
    APIStatusError,
    AuthenticationError,
    ContextLengthError,
    InsufficientCreditsError,
    ModelError,
    RateLimitError,
    RefusalError,
    TransportError,
)
from gemma_structured.remote.redact import scrub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.types import JsonValue

__all__ = [
    "ErrorContext",
    "UnsupportedParameterError",
    "WhitespaceFloodError",
    "error_from_body",
    "error_from_object",
]

_STATUS_OF_TYPE: Final = {
    "authentication": 401,
    "permission_denied": 403,
    "payment_required": 402,
    "rate_limit_exceeded": 429,
    "provider_overloaded": 529,
    "provider_unavailable": 503,
    "server": 500,
    "server_error": 500,
    "internal_error": 500,
    "timeout": 408,
    "payload_too_large": 413,
    "unprocessable": 422,
    "not_found": 404,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "token_limit_exceeded": 400,
    "content_policy_violation": 403,
    "content_filter": 403,
    "refusal": 403,
}
_RETRYABLE: Final = frozenset({408, 429, 500, 502, 503, 504, 522, 524, 529})
_REFUSALS: Final = frozenset({"content_policy_violation", "content_filter", "refusal"})
_HINTS: Final = {
    400: "See what the message names: a parameter, the model's name, or the prompt's length.",
    401: "Set OPENROUTER_API_KEY, or pass `api_key=`.",
    402: "Add credits to the account, or lower `max_tokens`.",
    403: "Look at the key's limits and permissions.",
    404: "Look at the model's name and at the provider options.",
    413: "Shorten or split the document.",
}
_UNSUPPORTED = re.compile(
    r"no endpoints? (?:\w+ )*support|(?:response_format|json_schema|structured.output|tool_choice|"
    r"tool use|tools|guided)\b.{0,80}(?:not|un)[\s-]?support|"
    r"(?:not|un)[\s-]?support.{0,80}(?:response_format|json_schema|structured.output|tool)|"
    r"(?:unknown|invalid|unrecognized|unsupported)\b.{0,40}(?:response_format|structured_outputs)",
    re.IGNORECASE,
)
_IMAGES = re.compile(r"\b(?:images?|vision|multi-?modal)\b", re.IGNORECASE)
_CONTEXT = re.compile(
    r"maximum context length (?:is|of) (\d+)\D.*?(?:requested|resulted in|has)\D*?(\d+)",
    re.IGNORECASE | re.DOTALL,
)


class UnsupportedParameterError(APIStatusError):
    """No endpoint takes `response_format` or `tools` as they were sent; prompting alone may do."""


class WhitespaceFloodError(TransportError):
    """White space without end: the server's JSON mode does not get along with the model."""

    def __init__(self, *, model_name: str | None = None) -> None:
        super().__init__(
            "The server writes nothing but white space.",
            hint="Use structured='prompt'; some servers' JSON mode hangs on some models.",
            model_name=model_name,
            retryable=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorContext:
    """What is known where an error is read.

    Attributes:
        model_name: Who was asked.
        headers: The response's.
        sent: The text that was sent, so that quotations of it can be taken out.
        key: The key that was sent, likewise.
    """

    model_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sent: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


def error_from_body(status: int, body: bytes, context: ErrorContext) -> ModelError:
    """The error of a response whose status is no success; its body may be anything."""
    try:
        parsed: JsonValue = jiter.from_json(body)
    except ValueError:
        parsed = None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        html = body.lstrip()[:1] == b"<"
        error = {"message": "an HTML page instead of JSON (from a proxy?)" if html else ""}
    return error_from_object(error, status=status, context=context)


def error_from_object(
    error: Mapping[str, JsonValue], *, status: int, context: ErrorContext
) -> ModelError:
    """The error that an `error` object tells of.

    Args:
        error: `code`, `message`, `metadata`, `availability`; each may be missing or of any type.
        status: The HTTP status; 200 where the object came inside a success.
        context: Where it was read.
    """
    metadata = _mapping(error.get("metadata"))
    availability = _mapping(error.get("availability"))
    kind = _text(metadata.get("error_type")) or _text(error.get("code")) or _text(error.get("type"))
    status = _status(error.get("code"), kind) if 200 <= status < 300 else status  # noqa: PLR2004
    message = _text(error.get("message"))
    if (status == 403 and metadata.keys() & {"reasons", "flagged_input"}) or kind in _REFUSALS:  # noqa: PLR2004
        return RefusalError(
            "The provider's moderation declined the request.", model_name=context.model_name
        )
    if numbers := _CONTEXT.search(message):
        return ContextLengthError(
            context_length=int(numbers[1]),
            prompt_tokens=int(numbers[2]),
            model_name=context.model_name,
        )
    retryable = availability.get("retryable")
    if not isinstance(retryable, bool):
        retryable = _is_retryable(status, message, metadata)
    shown = scrub(message, sent=context.sent, key=context.key)
    return _class_of(status, message)(
        f"The server answered {status}{f': {shown}' if shown else ''}".rstrip(".") + ".",
        status_code=status,
        retry_after=_seconds(availability.get("retry_after")) or _retry_after(context.headers),
        retryable=retryable,
        hint=_hint(status, message),
        model_name=context.model_name,
    )


def _hint(status: int, message: str) -> str | None:
    if status in {400, 404, 422} and _IMAGES.search(message):
        return "Name a model that takes images: `gemma-structured models` lists them."
    return _HINTS.get(status)


def _class_of(status: int, message: str) -> type[APIStatusError]:
    if status in {400, 404, 422} and _UNSUPPORTED.search(message) and not _IMAGES.search(message):
        return UnsupportedParameterError
    return {
        401: AuthenticationError,
        402: InsufficientCreditsError,
        403: AuthenticationError,
        429: RateLimitError,
    }.get(status, APIStatusError)


def _is_retryable(status: int, message: str, metadata: Mapping[str, JsonValue]) -> bool:
    if status == 402:  # noqa: PLR2004
        return metadata.get("reason") == "in_flight_budget_exhausted"
    return status in _RETRYABLE and "free-models-per-day" not in message


def _status(code: JsonValue, kind: str) -> int:
    """The status that an error inside a success stands for; unknown, the server is at fault."""
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:  # noqa: PLR2004
        return code
    return _STATUS_OF_TYPE.get(kind, 502)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date."""
    value = headers.get("retry-after", "")
    if (seconds := _seconds(value)) is not None:
        return seconds
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, date.timestamp() - time.time())


def _seconds(value: JsonValue) -> float | None:
    if not isinstance(value, str | int | float):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
