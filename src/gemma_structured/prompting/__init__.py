"""From a task and an input to messages; families turn messages into tokens, the wire into JSON."""

from gemma_structured.prompting.few_shot import build_messages
from gemma_structured.prompting.schema_prompt import describe_output

__all__ = ["build_messages", "describe_output"]
