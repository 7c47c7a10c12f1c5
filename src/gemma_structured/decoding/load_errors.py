"""What goes wrong in loading, told as `LoadError`: what is missing and what to do about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemma_structured.exceptions import GemmaStructuredError, LoadError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["missing_extra", "translate_errors"]

MAX_QUOTED_CHARACTERS = 300
"""How much of another library's message is quoted."""

_PERMISSION = (
    "Give a token that may read it: LocalModel(..., token=...), the variable HF_TOKEN, "
    "or `hf auth login`."
)

_KNOWN: dict[str, tuple[str | None, str]] = {
    "GatedRepoError": (
        "The repository {source} is gated.",
        f"Accept the model's terms on its page. {_PERMISSION}",
    ),
    "RepositoryNotFoundError": (
        "The hub has no repository {source}, or hides it.",
        f"Check the name and the spelling. {_PERMISSION}",
    ),
    "RevisionNotFoundError": (
        "The repository {source} has no such revision.",
        "Check revision=: it names a branch, tag or commit.",
    ),
    "HFValidationError": (
        "{source} is neither a folder nor a hub id.",
        "Give a folder that exists, or a hub id like 'google/gemma-4-26B-A4B-it'.",
    ),
    "OfflineModeIsEnabled": (
        "{source} is not in the hub's cache, and offline mode is on (HF_HUB_OFFLINE).",
        "Unset the variable, or download the model first: `hf download NAME`.",
    ),
    "LocalEntryNotFoundError": (
        "{source} is neither a folder nor in the hub's cache, and the hub gave no answer.",
        "Connect to the internet once (`hf download NAME`), or give a folder that holds it.",
    ),
    "OutOfMemoryError": (
        "The device ran out of memory while {source} was loaded.",
        'Free some, or choose a smaller precision, a quantization_config or device_map="auto".',
    ),
    "MemoryError": (
        "The memory ran out while {source} was loaded.",
        "Free some, or choose a smaller precision or model.",
    ),
    "SafetensorError": (None, "The file is damaged: delete it and download it again."),
}
"""What happened (where that is known better than the library says) and what to do, by class."""

_UNAUTHORIZED = 401


def missing_extra(module: str | None, extra: str | None = None) -> LoadError:
    """The error for a module that is not installed, naming the extra that brings it."""
    extra = extra or ("embedded" if (module or "").startswith("gguf") else "local")
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
    except GemmaStructuredError as error:
        if isinstance(error, LoadError):
            error.model_name = error.model_name or source
        raise
    except ModuleNotFoundError as error:
        raise missing_extra(error.name) from error
    except Exception as error:  # noqa: BLE001 - other libraries read a foreign file here
        secret = token if isinstance(token, str) and token else None
        leaks = secret is not None and any(secret in repr(cause) for cause in _causes(error))
        message, hint = _describe(error, source)
        if secret is not None:
            message = message.replace(secret, "***")
        raise LoadError(message, hint=hint, model_name=source) from (None if leaks else error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _describe(error: BaseException, source: str) -> tuple[str, str | None]:
    quoted = f"{source!r} cannot be loaded: {type(error).__name__}: {_shorten(str(error))}"
    for cause in _causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        names = [base.__name__ for base in type(cause).__mro__]
        if status == _UNAUTHORIZED and "GatedRepoError" not in names:
            names.insert(0, "RepositoryNotFoundError")
        for name in names:
            if name in _KNOWN:
                message, hint = _KNOWN[name]
                return (quoted if message is None else message.format(source=repr(source))), hint
    return quoted, None


def _shorten(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[:MAX_QUOTED_CHARACTERS]}…"
