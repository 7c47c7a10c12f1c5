"""An agent with a tool, on a scripted model; put any other model in its place."""

from __future__ import annotations

import gemma_structured as gs
from gemma_structured.testing import ScriptedModel
from gemma_structured.types import ModelResponse, Usage


@gs.tool
def weight_of(animal: str) -> int:
    """Look up how many kilograms an animal weighs.

    Args:
        animal: Its name in English.
    """
    return {"elephant": 6000, "mouse": 0}[animal]


def turn(text: str, *calls: gs.ToolCall) -> ModelResponse:
    """What the scripted model says in one turn."""
    return ModelResponse(
        text=text, finish_reason="stop", usage=Usage(), model_name="scripted", tool_calls=calls
    )


def main() -> None:
    model = ScriptedModel(
        [turn("", gs.ToolCall("weight_of", {"animal": "elephant"})), turn("6000")]
    )
    agent = gs.Agent(model, tools=[weight_of], output_type=int)
    for event in agent.stream("How heavy is an elephant?"):
        match event:
            case gs.AgentCall(call):
                print("calls", call.name, dict(call.arguments))
            case gs.AgentReturn(returned=returned):
                print("returns", returned.value)
            case gs.AgentOutput():
                print("output", event.output)


if __name__ == "__main__":
    main()
