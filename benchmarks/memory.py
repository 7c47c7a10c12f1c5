"""Memory of a process after 200 and after 2,000 extractions: what is kept has a limit.

    python benchmarks/memory.py                         # a tiny random Mixtral, minutes
    python benchmarks/memory.py --counts 100 500 --json results.json

Every document is another one, the schemas are more than the grammar cache has room for, rows are
decoded together, and every tenth answer is left in the middle. All caches have small limits, so that
they are full before the first figure is taken.

The figures are taken when the model has been idle for a moment: while it works, resident memory is more
than what is held, since the C allocator keeps what threads have freed. The other columns say what is held:
the allocator's own count of what is in use, and Python's of its blocks. Those creep up by a block an answer
until Pydantic's cache of strings (16,384) is full.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch
from pydantic import BaseModel, Field, create_model
from rich.console import Console
from rich.table import Table

import gemma_structured as gs
from gemma_structured.testing import tiny_models

SCHEMAS = 24
TOGETHER = 8
IDLE = 3
"""Seconds: free memory goes back one second after the last work."""

LIMITS = {"kv_cache_bytes": 4 * 2**20, "prefix_cache_bytes": 2**20, "grammar_cache_size": 8}
WORDS = ("quick", "brown", "fox", "lazy", "dog")


class Item(BaseModel):
    """An item; each schema adds a field of its own."""

    name: str = Field(max_length=12)
    amounts: list[int] = Field(max_length=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a process holds after so many extractions.

    Attributes:
        extractions: How many there have been.
        rss: Resident set size in MiB.
        heap: MiB that the C allocator has given out (glibc only, else 0).
        blocks: Thousands of blocks that Python's allocator has given out.
        tensors: Tensors that are alive.
        tensor_bytes: MiB of their storages, the weights included.
        kv: MiB in the KV caches of running rows: none runs.
        prefixes: MiB in kept prefixes.
        grammars: Compiled grammars that are kept.
        seconds: Since the start.
    """

    extractions: int
    rss: float
    heap: float
    blocks: float
    tensors: int
    tensor_bytes: float
    kv: float
    prefixes: float
    grammars: int
    seconds: float


def schemas() -> list[type[BaseModel]]:
    """Types whose grammars and prompts differ."""
    return [
        create_model(f"Item{i}", __base__=Item, **{f"kind{i}": (Literal["a", "b", f"c{i}"], ...)})
        for i in range(SCHEMAS)
    ]


def document(number: int) -> str:
    """Another text for each number, of up to some 500 characters."""
    draw = random.Random(number)
    return f"{number}: " + " ".join(draw.choices(WORDS, k=draw.randint(1, 100)))


def extract(model: gs.LocalModel, types: list[type[BaseModel]], first: int, count: int) -> None:
    """Extract from some documents, and leave every tenth answer when it has begun."""
    output_type = types[first // TOGETHER % len(types)]
    numbers = range(first, first + count)
    texts = [document(number) for number in numbers if number % 10]
    model.batch(texts, output_type, max_tokens=120, errors="return")
    for number in numbers:
        if number % 10 == 0:
            with model.stream(document(number), output_type, max_tokens=120) as stream:
                next(iter(stream))


class MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2` (https://man7.org/linux/man-pages/man3/mallinfo.3.html)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def heap_in_use() -> int:
    """Bytes that the C allocator has given out and not got back, in all arenas and by `mmap`."""
    try:
        mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):  # another C library, or an old one
        return 0
    mallinfo2.restype = MallInfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def figures(model: gs.LocalModel, extractions: int, start: float) -> Figures:
    """Look at the process once nothing runs."""
    while model.cache_usage.kv_cache.entries:
        time.sleep(0.01)
    time.sleep(IDLE)
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
    tensors += model.runtime().loaded.model.parameters()
    storages = {s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in tensors)}
    usage = model.cache_usage
    return Figures(
        extractions=extractions,
        rss=psutil.Process().memory_info().rss / 2**20,
        heap=heap_in_use() / 2**20,
        blocks=sys.getallocatedblocks() / 1000,
        tensors=len(tensors),
        tensor_bytes=sum(storages.values()) / 2**20,
        kv=usage.kv_cache.nbytes / 2**20,
        prefixes=usage.prefix_cache.nbytes / 2**20,
        grammars=usage.grammar_cache.size,
        seconds=time.monotonic() - start,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    torch.set_num_threads(1)  # a tiny model is fastest so
    model = gs.LocalModel.from_transformers(
        *tiny_models.build("mixtral"), name="tiny/mixtral", max_batch_size=4, **LIMITS
    )
    types, done, start = schemas(), 0, time.monotonic()
    rows: list[Figures] = []
    for count in sorted(options.counts):
        while done < count:
            together = min(TOGETHER, count - done)
            extract(model, types, done, together)
            done += together
        rows.append(figures(model, done, start))
    growth = {
        name: getattr(rows[-1], name) / (getattr(rows[0], name) or 1) - 1
        for name in ("rss", "heap", "blocks")
    }
    told = ", ".join(f"{name} {share:+.1%}" for name, share in growth.items())
    table = Table(title=f"tiny Mixtral, {SCHEMAS} schemas: {told}")
    for column in asdict(rows[0]):
        table.add_column(column, justify="right")
    for row in rows:
        values = asdict(row).values()
        table.add_row(*(f"{v:.1f}" if isinstance(v, float) else str(v) for v in values))
    Console().print(table)
    if options.json:
        machine = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX"),
        }
        rows_as_dicts = [asdict(row) for row in rows]
        options.json.write_text(
            json.dumps({**machine, "growth": growth, "rows": rows_as_dicts}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
