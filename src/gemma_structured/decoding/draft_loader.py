"""Load the model that drafts for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from gemma_structured.decoding.load_errors import translate_errors
from gemma_structured.decoding.load_options import LoadOptions, Precision
from gemma_structured.decoding.loader import checkpoint_folder, load_weights
from gemma_structured.decoding.mtp import check_target
from gemma_structured.decoding.mtp_patch import buildable_assistants
from gemma_structured.decoding.quiet import quiet_transformers

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from gemma_structured.decoding.loaded_model import LoadedModel

__all__ = ["load_draft_model"]


def load_draft_model(
    source: str | Path, target: LoadedModel, options: LoadOptions
) -> PreTrainedModel:
    """Load an assistant of Gemma 4, of its target's type and on its device.

    Args:
        source: A folder, or a hub id.
        target: The model that it is to draft for.
        options: How the target was loaded; of them the token, offline mode and the like count.

    Raises:
        LoadError: As `load_model`; or the target is of a family without draft models.
    """
    check_target(target.model, target.name)
    name = str(source)
    dtype = str(target.dtype).removeprefix("torch.")
    own = LoadOptions(
        device=str(target.device),
        precision=cast("Precision", dtype) if dtype in get_args(Precision) else None,
        token=options.token,
        local_files_only=options.local_files_only,
        trust_remote_code=options.trust_remote_code,
        attn_implementation=options.attn_implementation,
    )
    with translate_errors(name, token=options.token):
        folder = checkpoint_folder(source, own)
        with quiet_transformers(), buildable_assistants():
            return load_weights(folder, own, name=name)
