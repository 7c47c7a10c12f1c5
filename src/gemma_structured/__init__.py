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
        TransportError,
    )
    from gemma_structured.generator import Generator
    from gemma_structured.messages import AssistantMessage, SystemMessage, UserMessage
    from gemma_structured.models.base import Model
    from gemma_structured.models.local import LocalModel
    from gemma_structured.schema.bounds import DEFAULT_BOUNDS, Bounds
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.schema.terms import Choice, Lark, Regex
    from gemma_structured.streaming import AsyncStream, Stream
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
    "exceptions": (
        "APIStatusError AuthenticationError BudgetExceededError ContextLengthError "
        "DeadlineExceededError FallbackError GemmaStructuredError GenerationCancelledError "
        "GrammarError IncompleteOutputError InputError InsufficientCreditsError LoadError "
        "ModelBusyError ModelError OutputValidationError RateLimitError RefusalError SchemaError "
        "TokenRejectedError ToolError TransportError"
    ),
    "generator": "Generator",
    "messages": "AssistantMessage SystemMessage UserMessage",
    "models.base": "Model",
    "models.local": "LocalModel",
    "schema.bounds": "DEFAULT_BOUNDS Bounds",
    "schema.json_schema": "JsonSchema",
    "schema.output_type": "OutputType",
    "schema.terms": "Choice Lark Regex",
    "streaming": "AsyncStream Stream",
    "types": (
        "Attempt Example Issue JsonValue Partial Report Restarted Result SamplingParams Usage"
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "DEFAULT_BOUNDS",
    "APIStatusError",
    "AssistantMessage",
    "AsyncStream",
    "Attempt",
    "AuthenticationError",
    "Bounds",
    "BudgetExceededError",
    "Choice",
    "ContextLengthError",
    "DeadlineExceededError",
    "Example",
    "FallbackError",
    "GemmaStructuredError",
    "GenerationCancelledError",
    "Generator",
    "GrammarError",
    "IncompleteOutputError",
    "InputError",
    "InsufficientCreditsError",
    "Issue",
    "JsonSchema",
    "JsonValue",
    "Lark",
    "LoadError",
    "LocalModel",
    "Model",
    "ModelBusyError",
    "ModelError",
    "OutputType",
    "OutputValidationError",
    "Partial",
    "RateLimitError",
    "RefusalError",
    "Regex",
    "Report",
    "Restarted",
    "Result",
    "SamplingParams",
    "SchemaError",
    "Stream",
    "SystemMessage",
    "TokenRejectedError",
    "ToolError",
    "TransportError",
    "Usage",
    "UserMessage",
    "__version__",
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
