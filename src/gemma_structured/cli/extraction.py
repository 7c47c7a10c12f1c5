"""Many documents, one output type: several under way at once, each outcome as it comes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from gemma_structured.cli.documents import read_document
from gemma_structured.cli.exit_codes import ends_everything
from gemma_structured.exceptions import GemmaStructuredError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from collections.abc import Set as AbstractSet

    from gemma_structured.cli.documents import Document, Key
    from gemma_structured.generator import Generator
    from gemma_structured.types import Result

__all__ = ["Outcome", "extract_each"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a document: a result, an error, or neither if it was there already.

    Attributes:
        path: Its path.
        document: What was read, if it could be.
    """

    path: str
    document: Document | None = None
    result: Result[Any] | None = None
    error: GemmaStructuredError | None = None


async def extract_each(
    read: Generator[Any], paths: Iterable[str], *, done: AbstractSet[Key], concurrency: int
) -> AsyncGenerator[Outcome]:
    """Read and extract documents, `concurrency` of them at once.

    Closing the generator ends those under way.

    Args:
        read: What turns a document into an object.
        paths: The documents; each is read when its turn comes.
        done: Documents that need not be extracted again.
        concurrency: How many are under way at once.

    Yields:
        The outcomes, in the order in which they come.

    Raises:
        GemmaStructuredError: An error after which the other documents would fail too.
    """
    waiting = iter(paths)
    under_way: set[asyncio.Task[Outcome]] = set()
    try:
        while True:
            for path in islice(waiting, concurrency - len(under_way)):
                under_way.add(asyncio.create_task(_extract(read, path, done)))
            if not under_way:
                return
            ready, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(ready, key=lambda task: task.exception() is not None):
                yield task.result()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _extract(read: Generator[Any], path: str, done: AbstractSet[Key]) -> Outcome:
    document: Document | None = None
    try:
        document = read_document(path)
        if document.key in done:
            return Outcome(path=path, document=document)
        result = await read.acall(document.text)
    except GemmaStructuredError as error:
        if ends_everything(error):
            raise
        return Outcome(path=path, document=document, error=error)
    return Outcome(path=path, document=document, result=result)
