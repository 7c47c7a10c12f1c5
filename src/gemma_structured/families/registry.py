"""Which family a model belongs to. A new family is one new file and one line here."""

from __future__ import annotations

from gemma_structured.families.afmoe import Afmoe
from gemma_structured.families.base import Family
from gemma_structured.families.completion import Completion
from gemma_structured.families.deepseek_v3 import DeepseekV3
from gemma_structured.families.gemma3 import Gemma3
from gemma_structured.families.gemma4 import Gemma4
from gemma_structured.families.minimax_m2 import MiniMaxM2
from gemma_structured.families.mixtral import Mixtral

__all__ = ["FAMILIES", "family_for"]

FAMILIES: tuple[type[Family], ...] = (Gemma4, Gemma3, Mixtral, Afmoe, MiniMaxM2, DeepseekV3)


def family_for(model_type: str, *, has_chat_template: bool) -> Family:
    """The family of a model.

    Args:
        model_type: `config.model_type` of its transformers configuration.
        has_chat_template: Whether the checkpoint brings one; without, it is a base model.

    Returns:
        Its family, or for a model type that has none, the one that does as its template says.
    """
    if not has_chat_template:
        return Completion()
    for family in FAMILIES:
        if model_type in family.model_types:
            return family()
    return Family()
