"""`ToolOffer`: what a model may call in one turn, and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gemma_structured.exceptions import InputError, OutputValidationError
from gemma_structured.tools.tool import as_tool
from gemma_structured.types import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gemma_structured.messages import ToolCall
    from gemma_structured.tools.tool import Tool

__all__ = ["ToolChoice", "ToolOffer"]

ToolChoice: TypeAlias = 'Literal["auto", "required", "none"] | str'  # noqa: PYI051 - editors show
"""`auto` leaves it to the model whether to call, `required` does not, `none` forbids it; any other
string is the name of the one tool that must be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffer:
    """What a model may call in one turn.

    Attributes:
        tools: All the tools that it is told of.
        choice: Whether it must call, and which.
        parallel: The least and the most calls of one turn, if it calls at all.
    """

    tools: tuple[Tool[..., Any], ...]
    choice: ToolChoice = "auto"
    parallel: tuple[int, int] = (1, 8)

    @classmethod
    def of(
        cls,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]],
        *,
        choice: ToolChoice = "auto",
        parallel: tuple[int, int] = (1, 8),
    ) -> ToolOffer:
        """Offer tools, functions among them.

        Raises:
            InputError: Two have one name, the choice names none of them, or `parallel` is no range.
            SchemaError: A function cannot be a tool.
        """
        return cls(tools=tuple(map(as_tool, tools)), choice=choice, parallel=parallel)

    def __post_init__(self) -> None:
        """Refuse offers that mean nothing."""
        names = [each.name for each in self.tools]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise InputError(f"Several tools are called {min(doubled)}.", hint="Rename one.")
        if self.choice not in {"auto", "none"}:
            if not names:
                raise InputError(f"There is no tool, but tool_choice is {self.choice!r:.80}.")
            if self.choice != "required" and self.choice not in names:
                raise InputError(
                    f"tool_choice is {self.choice!r:.80}, which names no tool.",
                    hint=f'Use "auto", "required", "none" or one of {", ".join(names)}.',
                )
        least, most = self.parallel
        if not 1 <= least <= most:
            raise InputError(
                f"parallel is (least, most) with 1 ≤ least ≤ most, not {(least, most)}."
            )

    @property
    def callable_tools(self) -> tuple[Tool[..., Any], ...]:
        """Those that may be called."""
        if self.choice == "none":
            return ()
        if self.choice in {"auto", "required"}:
            return self.tools
        return tuple(each for each in self.tools if each.name == self.choice)

    @property
    def must_call(self) -> bool:
        """Whether the turn has to be calls."""
        return self.choice not in {"auto", "none"}

    def find(self, name: str) -> Tool[..., Any] | None:
        """The tool of a name, if it may be called."""
        return next((each for each in self.callable_tools if each.name == name), None)

    def validate(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """The calls with typed arguments.

        Raises:
            OutputValidationError: A call names no tool that may be called, its arguments are not
                what the tool takes, or there are too few or too many. Paths begin with the call's
                number and its tool's name.
        """
        issues = self._count_issues(len(calls))
        typed: list[ToolCall] = []
        for number, call in enumerate(calls):
            found = self.find(call.name)
            if found is None:
                known = ", ".join(each.name for each in self.callable_tools)
                issues.append(
                    Issue(path=(number,), message=f"there is no tool {call.name!r:.80}: {known}")
                )
                continue
            try:
                typed.append(replace(call, typed=found.validate(call.written)))
            except OutputValidationError as error:
                issues += [replace(i, path=(number, call.name, *i.path)) for i in error.issues]
        if issues:
            raise OutputValidationError(text=_written(calls), issues=issues)
        return tuple(typed)

    def _count_issues(self, count: int) -> list[Issue]:
        least, most = self.parallel
        if count and not least <= count <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            return [Issue(message=f"{count} calls in one turn; expected {wanted}")]
        if not count and self.must_call:
            return [Issue(message="no tool was called, and one must be")]
        return []


def _written(calls: Sequence[ToolCall]) -> str:
    return "\n".join(f"{call.name}({dict(call.written)!r})" for call in calls)
