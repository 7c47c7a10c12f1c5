"""What outlines hands on to transformers' `generate()`, in our terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.exceptions import InputError
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DecodeOptions"]

_DEFAULT_MAX_TOKENS: Final = 4096
_KNOWN: Final = frozenset(
    {
        "do_sample",
        "max_new_tokens",
        "min_p",
        "num_return_sequences",
        "seed",
        "temperature",
        "top_k",
        "top_p",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How one call decodes.

    Attributes:
        sampling: How tokens are chosen.
        max_tokens: The most tokens of an answer.
        sequences: How many answers a prompt gets.
    """

    sampling: SamplingParams
    max_tokens: int
    sequences: int

    @classmethod
    def from_outlines(cls, options: Mapping[str, Any]) -> DecodeOptions:
        """Read the keyword arguments of a generator's call.

        As in `generate()`, nothing is sampled unless `do_sample` says so, and then the temperature
        is 1 where none is given.

        Raises:
            InputError: One is not known, or out of its range.
        """
        if unknown := sorted(options.keys() - _KNOWN):
            raise InputError(
                f"{unknown[0]} is not known here.", hint=f"Known are: {', '.join(sorted(_KNOWN))}."
            )
        max_tokens = options.get("max_new_tokens", _DEFAULT_MAX_TOKENS)
        sequences = options.get("num_return_sequences", 1)
        for name, value in (("max_new_tokens", max_tokens), ("num_return_sequences", sequences)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a number from 1, not {value!r}.")
        samples = options.get("do_sample", False)
        if sequences > 1 and not samples:
            raise InputError(f"Without do_sample all {sequences} answers would be the same.")
        sampling = SamplingParams(
            temperature=options.get("temperature", 1.0) if samples else 0.0,
            top_k=options.get("top_k"),
            top_p=options.get("top_p"),
            min_p=options.get("min_p"),
            seed=options.get("seed"),
        )
        return cls(sampling=sampling, max_tokens=max_tokens, sequences=sequences)

    def of_sequence(self, number: int) -> DecodeOptions:
        """The options of one of several answers, which differ in their seeds."""
        seed = self.sampling.seed
        if seed is None or number == 0:
            return self
        return replace(self, sampling=replace(self.sampling, seed=seed + number))
