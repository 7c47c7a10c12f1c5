"""`OpenAICompatibleModel`: vLLM, SGLang, llama.cpp's server, and whoever else speaks the API."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import httpx

from gemma_structured.models.remote import RemoteModel, RemoteOptions
from gemma_structured.remote.server import secret_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr
    from typing_extensions import Unpack

    from gemma_structured.remote.pricing import Pricing
    from gemma_structured.types import JsonValue

__all__ = ["OpenAICompatibleModel"]

_USAGE_IN_STREAM: Final[Mapping[str, JsonValue]] = {"stream_options": {"include_usage": True}}


class OpenAICompatibleModel(RemoteModel):
    """A model behind a server that speaks OpenAI's chat completions.

    The server is told of the output's form where it takes it: by `response_format`, by vLLM's
    `structured_outputs` (for regular expressions, choices and grammars as well), and otherwise by
    the prompt alone. What it refuses is remembered.

    Args:
        name: What the server calls the model.
        base_url: Where the API is, such as `"http://localhost:8000/v1"`.
        api_key: Sent as a bearer token, where the server wants one.
        headers: Sent with every request.
        **options: See `RemoteOptions`. `structured` is `"auto"` unless told.

    Attributes:
        is_remote: Whether the server is on another machine, so that text leaves this one.

    Raises:
        InputError: An argument makes no sense.
    """

    auto_modes = ("json_schema", "structured_outputs", "json_object", "prompt")
    stream_extra = _USAGE_IN_STREAM

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: str | SecretStr | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[RemoteOptions],
    ) -> None:
        super().__init__(
            name,
            base_url=base_url,
            key=secret_key(api_key),
            headers=headers or {},
            structured="auto",
            options=options,
        )
        self.is_remote = not _is_loopback(base_url)

    def members(
        self, *, price: Pricing | None, thinking: bool | int, needs_parameters: bool
    ) -> dict[str, JsonValue]:
        """Thinking as vLLM, SGLang and llama.cpp hand it to the chat template."""
        del price, needs_parameters
        if thinking is False:
            return self.extra
        return {"chat_template_kwargs": {"enable_thinking": True}, **self.extra}


def _is_loopback(base_url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = httpx.URL(base_url).host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
