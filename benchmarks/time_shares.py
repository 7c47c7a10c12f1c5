"""Where a document's time goes: reading its prompt, the layers, choosing tokens, masks.

    python benchmarks/time_shares.py
    OMP_NUM_THREADS=1 python benchmarks/time_shares.py --precisions float32

The documents of the throughput benchmark, one after another and in batches of 8. CPU time of the whole
process, so that the machine's other work does not count; choosing is the head's products and what follows
them, without the masks; the rest is this package's and transformers' own work in Python between them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from throughput_lanes import ours, with_screen
from throughput_work import KINDS, documents

import gemma_structured as gs
from gemma_structured.decoding.selection import RowSelection
from gemma_structured.decoding.sequence import TokenSequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTS = ("prompt", "layers", "choosing", "masks", "rest")


class Stopwatch:
    """CPU time by part: what a part spends in another one is the other's."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._parts = ["rest"]
        self._since = time.process_time()

    def start(self) -> None:
        """Begin again."""
        self.seconds.clear()
        self._since = time.process_time()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens as this part."""
        self._switch()
        self._parts.append(name)
        try:
            yield
        finally:
            self._switch()
            self._parts.pop()

    def stop(self) -> Counter[str]:
        """The seconds of each part so far."""
        self._switch()
        return self.seconds

    def _switch(self) -> None:
        now = time.process_time()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


def watch(model: gs.LocalModel, stopwatch: Stopwatch) -> None:
    """Count the forwards of a model: those without logits, or of many tokens, read a prompt."""
    session = model.runtime().session
    forward = session.forward

    def counted(chunks: Any, **options: Any) -> Any:
        reads = max(map(len, chunks.values())) > 24
        with stopwatch.part("prompt" if reads else "layers"):
            return forward(chunks, **options)

    session.forward = counted  # type: ignore[method-assign]


def watch_choices(stopwatch: Stopwatch) -> None:
    """Count the choices of all models, and the masks in them."""

    def within(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            with stopwatch.part(part):
                return function(*args)

        return counted

    RowSelection.choose = within("choosing", RowSelection.choose)  # type: ignore[method-assign]
    TokenSequence.allowed_ids = within("masks", TokenSequence.allowed_ids)  # type: ignore[method-assign]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--precisions", nargs="+", default=["float32", "int8"])
    options = parser.parse_args()
    stopwatch = Stopwatch()
    watch_choices(stopwatch)
    table = Table(title=f"{options.documents} documents, CPU time")
    for column in ("lane", "seconds a document", *PARTS):
        table.add_column(column, justify="left" if column == "lane" else "right")
    work, warm = documents(options.documents), documents(24, seed=1)
    for precision in options.precisions:
        model = with_screen(gs.LocalModel("embedded", precision=precision).load())
        watch(model, stopwatch)
        for lane in (ours("one stream", model), ours("batch of 8", model, batch=True)):
            for kind in KINDS:
                lane.extract(kind.name, warm[kind.name][:1])
            stopwatch.start()
            for kind in KINDS:
                lane.extract(kind.name, work[kind.name])
            seconds = stopwatch.stop()
            whole = sum(seconds.values())
            shares = [f"{100 * seconds[part] / whole:.1f} %" for part in PARTS]
            name = f"{lane.name}, {precision}"
            table.add_row(name, f"{whole / options.documents:.2f}", *shares)
    Console().print(table)


if __name__ == "__main__":
    main()
