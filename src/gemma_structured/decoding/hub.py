"""Download a checkpoint from the hub, once it is known that the model will fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma_structured.decoding.checkpoint import WeightsSize, has_weights
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.decoding.load_options import LoadOptions

__all__ = ["download"]

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""What a checkpoint holds beside its weights."""

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
"""Files of weights: the first kind that a repository has is taken."""


def download(
    repo_id: str, options: LoadOptions, check: Callable[[Path, WeightsSize | None], object]
) -> Path:
    """Bring a repository's checkpoint into the hub's cache, and give its folder there.

    The server is asked whether there is a newer revision; without an answer, what is in the cache
    is taken. Bars are shown on a terminal, and only while weights are downloaded.

    Args:
        repo_id: Such as `google/gemma-4-26B-A4B-it`.
        options: The revision, the token, offline mode.
        check: Is called with the folder of the small files and the size of the weights before those
            are downloaded, and raises where they are not worth it.

    Raises:
        LoadError: The repository has no weights that can be read, or `check` raised it.
    """
    folder = _fetch(repo_id, options, (), visible=False)
    if has_weights(folder):
        return folder
    if not options.local_files_only:
        check(folder, _remote_size(repo_id, options))
        for weights in WEIGHTS:
            folder = _fetch(repo_id, options, (weights,), visible=True)
            if has_weights(folder):
                return folder
    where = "in the hub's cache" if options.local_files_only else "in the repository"
    raise LoadError(
        f"There are no weights of {repo_id!r} {where} (model*.safetensors).",
        hint="Choose a repository in the format of transformers, or download it while online.",
        model_name=repo_id,
    )


def _fetch(repo_id: str, options: LoadOptions, weights: tuple[str, ...], *, visible: bool) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - part of the extra `local`

    code = ("*.py",) if options.trust_remote_code else ()
    folder: str = snapshot_download(
        repo_id,
        revision=options.revision,
        token=options.token,
        local_files_only=options.local_files_only,
        allow_patterns=[*SMALL_FILES, *code, *weights],
        ignore_patterns=["*/*"],  # other formats of the same weights
        tqdm_class=_bars(visible=visible),
    )
    return Path(folder)


def _bars(*, visible: bool) -> type[Any]:
    """The hub's own bars, on a terminal or not at all."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # noqa: PLC0415 - extra `local`
        tqdm,
    )

    class Bar(tqdm):
        def __init__(self, *args: Any, **settings: Any) -> None:
            settings["disable"] = settings.get("disable") or (None if visible else True)
            super().__init__(*args, **settings)  # type: ignore[no-untyped-call]

    return Bar


def _remote_size(repo_id: str, options: LoadOptions) -> WeightsSize | None:
    """The size of a repository's weights, from the headers of its files on the server."""
    from huggingface_hub import get_safetensors_metadata  # noqa: PLC0415 - extra `local`
    from huggingface_hub.errors import (  # noqa: PLC0415 - part of the extra `local`
        NotASafetensorsRepoError,
        SafetensorsParsingError,
    )

    try:
        metadata = get_safetensors_metadata(repo_id, revision=options.revision, token=options.token)
    except (NotASafetensorsRepoError, SafetensorsParsingError):
        return None
    return WeightsSize.of({str(dtype): n for dtype, n in metadata.parameter_count.items()})
