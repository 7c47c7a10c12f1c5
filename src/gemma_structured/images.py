"""`Image`: a picture beside the text of a user's message."""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from gemma_structured.exceptions import InputError

__all__ = ["MAX_IMAGE_BYTES", "Image"]

MAX_IMAGE_BYTES: Final = 20 * 2**20
"""A larger picture is refused; servers refuse it too."""

_LONGEST_URL: Final = 8192
_PNG, _JPEG, _GIF, _RIFF, _WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"WEBP"


@dataclass(frozen=True, slots=True, repr=False)
class Image:
    """A picture (PNG, JPEG, WebP or GIF) for models that take them.

    ```python
    gs.UserMessage("Read this invoice.", gs.Image(Path("scan.png")))
    ```

    A file is read when it is sent, and not before. A URL is passed on: the server fetches it.

    Args:
        source: A file as a `Path`, the picture's `bytes`, or a URL as a `str`.

    Raises:
        InputError: It is none of these; bytes that are no such picture, or too many; a text that is
            no http or https URL.
    """

    source: Path | bytes | str

    def __post_init__(self) -> None:
        """Refuse what can be told to be no picture without looking anywhere."""
        source = cast("object", self.source)
        if isinstance(source, bytes):
            _media_type(source)
        elif isinstance(source, str):
            _check_url(source)
        elif not isinstance(source, Path):
            raise InputError(
                f"An image is a Path, bytes or a URL, not {type(source).__name__}.",
            )

    def __repr__(self) -> str:
        size = f", {len(self.source)} bytes" if isinstance(self.source, bytes) else ""
        return f"Image({self.kind}{size})"

    @property
    def kind(self) -> str:
        """Where it comes from: `file`, `bytes` or `url`."""
        if isinstance(self.source, bytes):
            return "bytes"
        return "url" if isinstance(self.source, str) else "file"

    @property
    def url(self) -> str:
        """The URL that is sent: its own, or its content as a `data:` URL; a file is read for it.

        Raises:
            InputError: The file cannot be read, is no such picture, or is too large.
        """
        if isinstance(self.source, str):
            return self.source
        content = self.source if isinstance(self.source, bytes) else _read(self.source)
        written = base64.b64encode(content).decode("ascii")
        return f"data:{_media_type(content)};base64,{written}"

    @classmethod
    def from_data_url(cls, url: str) -> Image:
        """Read back a `data:` URL that `url` wrote.

        Raises:
            InputError: It is none.
        """
        head, comma, written = url.partition(";base64,")
        try:
            content = base64.b64decode(written, validate=True)
        except ValueError:
            content = b""
        if not comma or not head.startswith("data:image/") or not content:
            raise InputError("This is no picture as a data: URL.")
        return cls(content)


def _read(path: Path) -> bytes:
    """The content of a file, which must be a regular one: a device or a pipe may have no end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - the descriptor that was looked at
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError("An image's path leads to something that is no file.")
            content = file.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"An image's file cannot be read: {reason}.") from None
    return content


def _media_type(content: bytes) -> str:
    """The type that the first bytes tell of.

    Raises:
        InputError: It is none that models take, or there are too many bytes.
    """
    if len(content) > MAX_IMAGE_BYTES:
        raise InputError(
            f"An image has more than the {MAX_IMAGE_BYTES // 2**20} MiB that are allowed.",
            hint="Scale it down: models look at some hundred thousand pixels.",
        )
    if content.startswith(_PNG):
        return "image/png"
    if content.startswith(_JPEG):
        return "image/jpeg"
    if content.startswith(_GIF):
        return "image/gif"
    if content.startswith(_RIFF) and content[8:12] == _WEBP:
        return "image/webp"
    raise InputError(
        "An image is PNG, JPEG, WebP or GIF, and this one's first bytes are of none of them.",
        hint="Convert it; the pages of a PDF too.",
    )


def _check_url(url: str) -> None:
    """Refuse what is no address of a server.

    Raises:
        InputError: It is none.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(
            "An image that is given as a text must be an http or https URL.",
            hint="Give a file as pathlib.Path(…), and content as bytes.",
        )
    if len(url) > _LONGEST_URL or not url.isprintable() or " " in url:
        raise InputError("An image's URL is too long, or holds characters that no URL has.")
