"""Tools: functions that a model may ask for, their calls validated and dispatched."""

from gemma_structured.tools.context import ToolContext
from gemma_structured.tools.offer import ToolChoice, ToolOffer
from gemma_structured.tools.tool import Tool, tool

__all__ = ["Tool", "ToolChoice", "ToolContext", "ToolOffer", "tool"]
