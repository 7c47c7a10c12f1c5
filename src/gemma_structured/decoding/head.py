"""The language-model head, run only where it is needed.

With a vocabulary of 262,144 the head is half of a decode step on a CPU, and a grammar often allows
a handful of tokens. So a forward stops before the head, and the loop asks for the logits of the
tokens that are allowed.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import nn
from torch.nn import functional

from gemma_structured.decoding.screen import Screen
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from transformers import PreTrainedModel

    from gemma_structured.decoding.screen import ScreenedStates

__all__ = ["Head", "LazyLogits"]

_SPARSE_SHARE = 8
"""Up to one in so many of the vocabulary's rows, gathering them beats the whole product."""

_READS_BEFORE_SCREEN = 32
"""Making the screen costs about as much as it saves in so many choices among most tokens."""


class Head:
    """A model's output projection, and what the model does to logits after it.

    Models differ in what follows the projection (Gemma's soft cap, others' scaling). The first
    forward computes the logits both ways and compares; where they differ, all logits are the
    model's own from then on.

    Args:
        model: A causal language model.

    Raises:
        LoadError: The model has no output projection.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        projection = cast("nn.Module | None", model.get_output_embeddings())  # type: ignore[no-untyped-call]
        if projection is None:
            raise LoadError(
                f"{type(model).__name__} has no language-model head.",
                hint="Give a causal language model.",
            )
        self._model = model
        self._projection = projection
        config = model.config.get_text_config(decoder=True)
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self._computed_by: Literal["unverified", "self", "model"] = "unverified"
        self._screen: Screen | None = None
        self._reads_before_screen = _READS_BEFORE_SCREEN

    def run(self, positions: Tensor, **inputs: object) -> Tensor:
        """Run the model up to the head.

        Args:
            positions: The tokens whose logits will be wanted, as indexes into the input,
                `[wanted]`.
            **inputs: What the model's `forward` takes, for one row of `input_ids`.

        Returns:
            States for `logits`, `[wanted, …]`.
        """
        if self._computed_by == "model":
            return self._at(self._model(**inputs, logits_to_keep=positions).logits, positions)
        hidden: list[Tensor] = []
        verified = self._computed_by == "self"
        own_thread = threading.get_ident()

        def take(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            if threading.get_ident() != own_thread:
                return None  # somebody else runs the model
            hidden.append(self._at(args[0], positions))
            return ((hidden[0][:0] if verified else hidden[0])[None],)

        handle = self._projection.register_forward_pre_hook(take)
        try:
            reference = self._model(**inputs, logits_to_keep=positions).logits
        finally:
            handle.remove()
        if verified or positions.numel() == 0:
            return hidden[0]
        reference = self._at(reference, positions)
        same = torch.allclose(self.project(hidden[0]), reference.float(), rtol=1e-2, atol=1e-2)
        self._computed_by = "self" if same else "model"
        return hidden[0] if same else reference

    def logits(self, states: Tensor, counts: Sequence[int]) -> list[LazyLogits]:
        """Wrap the states of a forward, `[wanted, …]`; `counts[i]` of them are those of row `i`."""
        shared = _Projection(self, states, ready=self._computed_by == "model")
        ends = itertools.accumulate(counts)
        return [
            LazyLogits(shared, end - count, end) for end, count in zip(ends, counts, strict=True)
        ]

    def project(self, hidden: Tensor) -> Tensor:
        """All logits, float32: `[…, hidden]` to `[…, vocab]`."""
        return self.capped(self._projection(hidden).float())

    def project_to(self, hidden: Tensor, token_ids: Tensor) -> Tensor | None:
        """The logits of some tokens, float32: `[hidden]` to `[len(token_ids)]`.

        Returns:
            `None` where the whole product costs less, or the weights cannot be gathered from.
        """
        projection = self._projection
        if (
            type(projection) is not nn.Linear
            or not projection.weight.is_floating_point()
            or projection.weight.device.type == "meta"
            or self.is_wide(token_ids)
        ):
            return None
        ids = token_ids.to(projection.weight.device)
        bias = cast("Tensor | None", projection.bias)
        bias = None if bias is None else bias.index_select(0, ids)
        rows = projection.weight.index_select(0, ids)
        return self.capped(functional.linear(hidden.to(rows.device), rows, bias).float())

    def is_wide(self, token_ids: Tensor) -> bool:
        """Whether tokens are so many that all logits cost less than theirs one by one."""
        rows = cast("Tensor", self._projection.weight).shape[0]
        return token_ids.numel() * _SPARSE_SHARE > rows

    def screen(self, states: Tensor) -> ScreenedStates | None:
        """Find out roughly what the logits of states `[tokens, hidden]` are, where that pays."""
        if self._screen is None:
            if self._reads_before_screen == 0 or not Screen.suits(self._projection):
                return None
            self._reads_before_screen -= 1
            if self._reads_before_screen:
                return None
            self._screen = Screen(cast("nn.Linear", self._projection))
        return self._screen.read(states)

    def capped(self, logits: Tensor) -> Tensor:
        """Apply the soft cap, if the model has one."""
        if self._softcap is None:
            return logits
        return torch.tanh(logits / self._softcap) * self._softcap

    @staticmethod
    def _at(states: Tensor, positions: Tensor) -> Tensor:
        """Pick positions, `[1, tokens, …]` to `[positions, …]`; the model may have done so."""
        if states.shape[1] == len(positions):
            return states[0]
        return states[0, positions.to(states.device)]


class _Projection:
    """The logits of a forward, `[tokens, vocab]`, computed at most once for all its rows.

    The head reads all its weights for one row as for many.
    """

    def __init__(self, head: Head, states: Tensor, *, ready: bool) -> None:
        self.head = head
        self.states = states
        self.has_hidden = not ready
        self.computed = states.float() if ready else None
        self._expected: set[int] = set()
        self._screened: dict[int, tuple[ScreenedStates, int]] = {}

    def all(self) -> Tensor:
        if self.computed is None:
            self.computed = self.head.project(self.states)
        return self.computed

    def expect(self, first: int, end: int) -> None:
        """Screen these states with the next one that is asked for: one product costs less."""
        self._expected.update(range(first, end))

    def screened(self, index: int) -> tuple[ScreenedStates, int] | None:
        """A state's coarse logits, and which of them they are; `None` where there are better."""
        if self.computed is not None:
            return None
        if index not in self._screened:
            wanted = sorted({index, *self._expected} - self._screened.keys())
            read = self.head.screen(self.states[wanted])
            if read is None:
                return None
            self._screened |= {state: (read, at) for at, state in enumerate(wanted)}
        return self._screened[index]


class LazyLogits:
    """The logits of one row's last tokens; see `session.Logits`."""

    __slots__ = ("_end", "_first", "_shared")

    def __init__(self, shared: _Projection, first: int, end: int) -> None:
        self._shared = shared
        self._first = first
        self._end = end

    @torch.inference_mode()
    def full(self) -> Tensor:
        """All logits: `[positions, vocab]`, float32."""
        return self._shared.all()[self._first : self._end]

    @torch.inference_mode()
    def at(self, position: int, token_ids: Tensor) -> Tensor:
        """Those of a few tokens at one position: `[len(token_ids)]`, float32."""
        shared = self._shared
        if shared.computed is None:
            few = shared.head.project_to(shared.states[self._first + position], token_ids)
            if few is not None:
                return few
        return shared.all()[self._first + position, token_ids]

    def expect(self, position: int, token_ids: Tensor) -> None:
        """Say that `contenders` will be asked for; what is said before it is done at once."""
        if self._shared.head.is_wide(token_ids):
            self._shared.expect(self._first + position, self._end)  # a draft's rest is like it

    @torch.inference_mode()
    def contenders(self, position: int, token_ids: Tensor) -> Tensor:
        """Those of some tokens, ascending, that can have the largest logit at one position."""
        head = self._shared.head
        if not head.is_wide(token_ids):
            return token_ids
        screened = self._shared.screened(self._first + position)
        if screened is None:
            return token_ids
        states, index = screened
        contenders = states.contenders(index, token_ids, head.capped)
        return contenders if len(contenders) else token_ids  # states that are no numbers

    @torch.inference_mode()
    def hidden(self, position: int) -> Tensor | None:
        """The last hidden state at one position, `[hidden]`, copied; `None` if it is not known."""
        if self._shared.has_hidden:
            return self._shared.states[self._first + position].clone()
        return None
