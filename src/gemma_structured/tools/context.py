"""What a tool is told about its call, beside the arguments that the model gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

if TYPE_CHECKING:
    from gemma_structured.messages import ToolCall

__all__ = ["ToolContext"]

C = TypeVar("C", default=object)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext(Generic[C]):
    """A parameter of this type is filled by the caller and not shown to the model.

    ```python
    @gs.tool
    def balance(context: gs.ToolContext[Session], account: str) -> Decimal:
        return context.value.balance(account)
    ```

    Attributes:
        value: What the agent was run with as `context`.
        call: The call itself.
    """

    value: C
    call: ToolCall
