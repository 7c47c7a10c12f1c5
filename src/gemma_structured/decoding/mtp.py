"""Gemma 4's drafter: a small model that guesses several tokens from one state of its target.

A `gemma4_assistant` has no keys and values of its own. Its layers look at those of the target's
last layer of each kind, which are in the rows' cache already; it reads the token to come and the
target's last hidden state before it, and all its guesses stand at that one position (multi-token
prediction; transformers' `SinglePositionMultiTokenCandidateGenerator`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import torch

from gemma_structured.exceptions import LoadError
from gemma_structured.grammar import bitmask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

    from gemma_structured.decoding.draft import DraftContext
    from gemma_structured.decoding.session import Row, TransformersSession
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["MTPDrafter", "MTPModel", "check_target"]

_FIRST_LENGTH: Final = 3
_LEAST_ROOM: Final = 3
"""Each row's guesses are computed for it alone: where many rows decode, they cost too much."""
_LONGEST_PAUSE: Final = 32


def check_target(target: PreTrainedModel, name: str) -> None:
    """Refuse a draft model for a family that has none.

    Raises:
        LoadError: The target is not a Gemma 4.
    """
    kind = target.config.get_text_config(decoder=True).model_type
    if kind != "gemma4_text":
        raise LoadError(
            f"There are no draft models for {name!r}, which is a {kind!r} model.",
            hint="Leave draft_model out; only Gemma 4 has them.",
            model_name=name,
        )


class MTPModel:
    """A Gemma 4 assistant beside its target.

    Args:
        assistant: A `Gemma4AssistantForCausalLM`.
        target: The model that it drafts for.
        session: Where the target's rows are.
        name: The assistant's, for errors.

    Attributes:
        session: Where the target's rows are.

    Raises:
        LoadError: They do not fit each other.
    """

    def __init__(
        self,
        assistant: PreTrainedModel,
        target: PreTrainedModel,
        session: TransformersSession,
        *,
        name: str,
    ) -> None:
        check_target(target, target.config.name_or_path or type(target).__name__)
        _check_fit(assistant, target, name)
        self._assistant = assistant.eval()  # type: ignore[no-untyped-call]
        self._embed = cast("Callable[[Tensor], Tensor]", target.get_input_embeddings())
        self.session = session
        self._dtype = assistant.dtype
        own = assistant.config.get_text_config()
        self._window: int = own.sliding_window
        self._layers = _sharing_layers(target.config.get_text_config(decoder=True))

    def at(self, row: Row, hidden: Tensor) -> MTPState:
        """Begin after the tokens of a row.

        Args:
            row: The target's row.
            hidden: The target's last hidden state after them, `[hidden]`.
        """
        shared = {
            kind: self.session.keys_and_values(
                row, layer, None if kind == "full_attention" else self._window + 1
            )
            for kind, layer in self._layers.items()
        }
        return MTPState(self._step, shared, self.session.length(row), hidden)

    @torch.inference_mode()
    def _step(
        self, token_id: int, hidden: Tensor, shared: dict[str, tuple[Tensor, Tensor]], position: int
    ) -> tuple[Tensor, Tensor]:
        embedded = self._embed(torch.tensor([[token_id]], device=hidden.device))
        outputs = self._assistant(
            inputs_embeds=torch.cat([embedded, hidden[None, None]], dim=-1).to(self._dtype),
            position_ids=torch.tensor([[position]], device=self._assistant.device),
            shared_kv_states=shared,
        )
        return outputs.logits[0, 0].float(), outputs.last_hidden_state[0, 0].to(hidden.dtype)


class MTPState:
    """Where an assistant stands: it reads tokens, its own guesses among them.

    Attributes:
        logits: What it says of the token after those that it has read, `[vocab]`.
    """

    def __init__(
        self,
        step: Callable[..., tuple[Tensor, Tensor]],
        shared: dict[str, tuple[Tensor, Tensor]],
        position: int,
        hidden: Tensor,
    ) -> None:
        self._step = step
        self._shared = shared
        self._position = position
        self._hidden = hidden
        self.logits = hidden.new_empty(0)

    def read(self, token_ids: Iterable[int]) -> None:
        """Append tokens."""
        for token_id in token_ids:
            self.logits, self._hidden = self._step(
                token_id, self._hidden, self._shared, self._position
            )


class MTPDrafter:
    """Drafts of one sequence by an assistant: the likeliest tokens that the grammar allows.

    Drafts grow while all their tokens are chosen. After drafts without any it pauses, each time for
    longer.

    Args:
        model: The assistant.
        vocabulary: Whose ids the grammar speaks of.
        max_tokens: The longest draft.
    """

    reads_hidden = True

    def __init__(self, model: MTPModel, vocabulary: Vocabulary, *, max_tokens: int = 8) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._max_tokens = max_tokens
        self._length = min(_FIRST_LENGTH, max_tokens)
        self._misses = 0
        self._pause = 0

    def propose(self, context: DraftContext, room: int) -> list[int]:
        """Tokens that may come next, at most `room`; none in a pause, or where many rows decode."""
        if room < _LEAST_ROOM or context.row is None or context.hidden is None:
            return []
        if self._pause:
            self._pause -= 1
            return []
        state = self._model.at(context.row, context.hidden)
        state.read(context.next_ids)
        return self._continue(state, context, min(room, self._length))

    def learn(self, proposed: int, accepted: int) -> None:
        """Follow how many of the guesses were right."""
        if not proposed:
            return
        self._length = min(accepted + (2 if accepted == proposed else 1), self._max_tokens)
        self._misses = 0 if accepted else self._misses + 1
        self._pause = min(2**self._misses - 2, _LONGEST_PAUSE) if self._misses else 0

    def _continue(self, state: MTPState, context: DraftContext, count: int) -> list[int]:
        matcher = context.matcher.fork()
        mask = bitmask.allocate_row(self._vocabulary.size)
        draft: list[int] = []
        while not matcher.is_finished:
            matcher.fill_bitmask(mask)
            allowed = torch.from_numpy(bitmask.allowed_ids(mask, self._vocabulary.size))
            if not len(allowed):
                break
            guess = int(allowed[state.logits[allowed.to(state.logits.device)].argmax()])
            if guess in self._vocabulary.end_ids:
                break
            matcher.accept([guess])
            forced = matcher.forced_tokens()
            matcher.accept(forced)
            draft += [guess, *forced]
            if len(draft) >= count:
                break
            state.read([guess, *forced])
        return draft[:count]


def _sharing_layers(target: PretrainedConfig) -> dict[str, int]:
    """By kind of attention: the last layer with keys and values of its own."""
    own = target.num_hidden_layers - target.num_kv_shared_layers
    return {kind: layer for layer, kind in enumerate(target.layer_types[:own])}


def _check_fit(assistant: PreTrainedModel, target: PreTrainedModel, name: str) -> None:
    config = assistant.config
    if config.model_type != "gemma4_assistant":
        raise LoadError(
            f"{name!r} is a {config.model_type!r} model, which drafts for no other.",
            hint="Give the checkpoint that was published as the target's assistant.",
            model_name=name,
        )
    own, other = config.get_text_config(), target.config.get_text_config(decoder=True)
    shared = _sharing_layers(other)
    kinds = {kind: layer for layer, kind in enumerate(own.layer_types)}
    compared = {
        "a vocabulary": (own.vocab_size, other.vocab_size),
        "a hidden size": (config.backbone_hidden_size, other.hidden_size),
        **{
            f"{kind} of heads and width": (_shape(own, layer), _shape(other, shared.get(kind)))
            for kind, layer in kinds.items()
        },
    }
    wrong = [f"{what} {a}, not {b}" for what, (a, b) in compared.items() if a != b]
    if wrong:
        raise LoadError(
            f"The draft model {name!r} was made for another model: it wants {'; '.join(wrong)}.",
            hint="Give the checkpoint that was published as the target's assistant.",
            model_name=name,
        )


def _shape(config: PretrainedConfig, layer: int | None) -> tuple[int, int] | None:
    """Heads and width of a layer's keys."""
    if layer is None:
        return None
    here = config.per_layer_config[layer]
    return here.num_key_value_heads, here.head_dim
