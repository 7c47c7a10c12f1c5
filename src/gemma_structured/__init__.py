"""Typed objects and typed tool calls that cannot be malformed, from local and remote models.

```python
import gemma_structured as gs

model = gs.LocalModel("embedded")
result = model.generate(text, Invoice)
result.output, result.usage
```

Importing the package imports neither PyTorch nor transformers; a local model does when it loads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from gemma_structured._version import __version__

if TYPE_CHECKING:
    from gemma_structured.agent import (
        Agent,
        AgentCall,
        AgentEvent,
        AgentOutput,
        AgentReturn,
        AgentText,
        AgentThought,
    )
    from gemma_structured.budget import Budget
    from gemma_structured.conversation import Conversation, ConversationStore
    from gemma_structured.decoding.cache_usage import CacheUsage
    from gemma_structured.exceptions import (
        APIStatusError,
        AuthenticationError,
        BudgetExceededError,
        ContextLengthError,
        DeadlineExceededError,
        FallbackError,
        GemmaStructuredError,
        GenerationCancelledError,
        GrammarError,
        IncompleteOutputError,
        InputError,
        InsufficientCreditsError,
        LoadError,
        ModelBusyError,
        ModelError,
        OutputValidationError,
        RateLimitError,
        RefusalError,
        SchemaError,
        TokenRejectedError,
        ToolError,
        ToolRetry,
        ToolTimeoutError,
        TransportError,
    )
    from gemma_structured.generator import Generator
    from gemma_structured.images import Image
    from gemma_structured.messages import (
        AssistantMessage,
        SystemMessage,
        ToolCall,
        ToolMessage,
        ToolReturn,
        UserMessage,
    )
    from gemma_structured.models.base import Model
    from gemma_structured.models.fallback import FallbackModel
    from gemma_structured.models.local import LocalModel
    from gemma_structured.models.openai_compatible import OpenAICompatibleModel
    from gemma_structured.models.openrouter import OpenRouterModel
    from gemma_structured.remote.network import Timeouts
    from gemma_structured.remote.pricing import Pricing
    from gemma_structured.remote.retry import RetryPolicy
    from gemma_structured.remote.routing import ProviderRouting
    from gemma_structured.schema.bounds import DEFAULT_BOUNDS, Bounds
    from gemma_structured.schema.code import Code
    from gemma_structured.schema.inspect import Inspection, inspect
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.schema.terms import Choice, Lark, Regex
    from gemma_structured.streaming import AsyncStream, Stream
    from gemma_structured.telemetry import observe
    from gemma_structured.tools import Tool, ToolContext, ToolOffer, tool
    from gemma_structured.tools.mcp import MCPTools
    from gemma_structured.turns import Turn
    from gemma_structured.types import (
        Attempt,
        Example,
        Issue,
        JsonValue,
        Partial,
        Report,
        Restarted,
        Result,
        SamplingParams,
        Usage,
    )

_HOMES = {
    "budget": "Budget",
    "agent": "Agent AgentCall AgentEvent AgentOutput AgentReturn AgentText AgentThought",
    "conversation": "Conversation ConversationStore",
    "decoding.cache_usage": "CacheUsage",
    "exceptions": (
        "APIStatusError AuthenticationError BudgetExceededError ContextLengthError "
        "DeadlineExceededError FallbackError GemmaStructuredError GenerationCancelledError "
        "GrammarError IncompleteOutputError InputError InsufficientCreditsError LoadError "
        "ModelBusyError ModelError OutputValidationError RateLimitError RefusalError SchemaError "
        "TokenRejectedError ToolError ToolRetry ToolTimeoutError TransportError"
    ),
    "generator": "Generator",
    "images": "Image",
    "messages": ("AssistantMessage SystemMessage ToolCall ToolMessage ToolReturn UserMessage"),
    "models.base": "Model",
    "models.fallback": "FallbackModel",
    "models.local": "LocalModel",
    "models.openai_compatible": "OpenAICompatibleModel",
    "models.openrouter": "OpenRouterModel",
    "remote.network": "Timeouts",
    "remote.pricing": "Pricing",
    "remote.retry": "RetryPolicy",
    "remote.routing": "ProviderRouting",
    "schema.bounds": "DEFAULT_BOUNDS Bounds",
    "schema.code": "Code",
    "schema.inspect": "Inspection inspect",
    "schema.json_schema": "JsonSchema",
    "schema.output_type": "OutputType",
    "schema.terms": "Choice Lark Regex",
    "streaming": "AsyncStream Stream",
    "telemetry": "observe",
    "tools": "Tool ToolContext ToolOffer tool",
    "tools.mcp": "MCPTools",
    "turns": "Turn",
    "types": (
        "Attempt Example Issue JsonValue Partial Report Restarted Result SamplingParams Usage"
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "DEFAULT_BOUNDS",
    "APIStatusError",
    "Agent",
    "AgentCall",
    "AgentEvent",
    "AgentOutput",
    "AgentReturn",
    "AgentText",
    "AgentThought",
    "AssistantMessage",
    "AsyncStream",
    "Attempt",
    "AuthenticationError",
    "Bounds",
    "Budget",
    "BudgetExceededError",
    "CacheUsage",
    "Choice",
    "Code",
    "ContextLengthError",
    "Conversation",
    "ConversationStore",
    "DeadlineExceededError",
    "Example",
    "FallbackError",
    "FallbackModel",
    "GemmaStructuredError",
    "GenerationCancelledError",
    "Generator",
    "GrammarError",
    "Image",
    "IncompleteOutputError",
    "InputError",
    "Inspection",
    "InsufficientCreditsError",
    "Issue",
    "JsonSchema",
    "JsonValue",
    "Lark",
    "LoadError",
    "LocalModel",
    "MCPTools",
    "Model",
    "ModelBusyError",
    "ModelError",
    "OpenAICompatibleModel",
    "OpenRouterModel",
    "OutputType",
    "OutputValidationError",
    "Partial",
    "Pricing",
    "ProviderRouting",
    "RateLimitError",
    "RefusalError",
    "Regex",
    "Report",
    "Restarted",
    "Result",
    "RetryPolicy",
    "SamplingParams",
    "SchemaError",
    "Stream",
    "SystemMessage",
    "Timeouts",
    "TokenRejectedError",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolMessage",
    "ToolOffer",
    "ToolRetry",
    "ToolReturn",
    "ToolTimeoutError",
    "TransportError",
    "Turn",
    "Usage",
    "UserMessage",
    "__version__",
    "inspect",
    "observe",
    "tool",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first asked for."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
