"""Runs an engine over schemas in a process of its own, which is replaced when a schema takes too long."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance_engines import Engine, Matcher, RefusedError, load_vocabulary
from conformance_text import KeyOrders, canonical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection


_TIMED = 256


@dataclass
class Instance:
    """What became of one instance.

    Attributes:
        verdict: `accepted`, `rejected`, or `key order` where another order of its keys is accepted.
        rejected_at: The text up to where it was rejected, and a little more.
    """

    valid: bool
    verdict: str
    text: str
    rejected_at: str = ""


@dataclass
class Outcome:
    """What became of one schema.

    Attributes:
        refusal: Why the engine did not take it, where it did not.
        masks: Seconds a mask took, token by token.
    """

    name: str
    refusal: str | None = None
    residual: tuple[tuple[str, str], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    masks: list[float] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)


def run_schema(
    engine: Engine, name: str, schema: Any, instances: list[tuple[Any, bool]]
) -> Outcome:
    """Compile a schema and feed its instances, token by token."""
    outcome = Outcome(name)
    try:
        compiled = engine.compile(schema)
    except RefusedError as error:
        outcome.refusal = str(error)
        return outcome
    outcome.residual, outcome.seconds = compiled.residual, compiled.seconds
    for value, valid in instances:
        text = canonical(value)
        matcher = compiled.matcher()
        accepted, rejected_at = _feed(matcher, text, outcome.masks)
        verdict = "accepted" if accepted else "rejected"
        if not accepted and KeyOrders(compiled.matcher(), compiled.schema).accepts(value):
            verdict = "key order"
        outcome.instances.append(Instance(valid, verdict, text, rejected_at))
    return outcome


def _feed(matcher: Matcher, text: str, masks: list[float]) -> tuple[bool, str]:
    """Whether a text is accepted to its end, and the text around where it is not; the first masks are timed."""
    ids = matcher.encode(text)
    for index, token_id in enumerate(ids):
        if index < _TIMED:
            start = time.perf_counter()
            matcher.mask()
            masks.append(time.perf_counter() - start)
        if not matcher.feed(token_id):
            share = index * len(text) // len(ids)
            return False, text[max(0, share - 40) : share + 40]
    return matcher.is_accepting, text[-60:]


def _serve(engine_name: str, vocabulary: str, connection: Connection) -> None:
    from conformance_rivals import ENGINES

    engine = ENGINES[engine_name](load_vocabulary(vocabulary))
    connection.send("ready")
    while True:
        job = connection.recv()
        if job is None:
            return
        try:
            outcome = run_schema(engine, *job)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises
            outcome = Outcome(job[0], refusal=f"failed: {type(error).__name__}: {error}")
        connection.send(outcome)


class Worker:
    """A process that runs one engine.

    Args:
        engine: The engine's name.
        vocabulary: What `load_vocabulary` takes.
        limit: Seconds that one schema may take.
    """

    def __init__(self, engine: str, vocabulary: str, limit: float) -> None:
        self._arguments, self._limit = (engine, vocabulary), limit
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(*self._arguments, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self._connection.recv()

    def run(self, jobs: Any) -> Iterator[Outcome]:
        """What becomes of each job; too slow or dead is a refusal."""
        for job in jobs:
            self._connection.send(job)
            try:
                if self._connection.poll(self._limit):
                    yield self._connection.recv()
                    continue
                reason = f"took more than {self._limit:g} s"
            except EOFError:
                reason = "the process died"
            self._process.kill()
            self._process.join()
            yield Outcome(job[0], refusal=reason)
            self._start()

    def close(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join(5)
