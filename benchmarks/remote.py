"""What the remote path costs and withstands: one command, no network beyond the loopback.

```
make bench-remote    # or: python benchmarks/remote.py [--rivals PYTHON]
```

It prints the fault matrix, the overhead of a call against bare httpx (and, given an interpreter
whose environment has them, the openai SDK and instructor), and a run of 1,000 concurrent calls of
which one in twenty requests fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.models.openrouter import OpenRouterModel
from gemma_structured.remote.retry import RetryPolicy
from gemma_structured.testing.openrouter_replies import Answer, Failure
from gemma_structured.testing.openrouter_server import FakeOpenRouter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemma_structured.testing.openrouter_replies import Reply
    from gemma_structured.testing.openrouter_server import Received

ROOT = Path(__file__).parent.parent
KEY = "sk-or-v1-0123456789abcdef"
CALLS = 300
CONCURRENT = 1000
FAULTS: list[Reply] = [
    Failure(status=503),
    Failure(status=429, headers={"retry-after": "0.01"}),
    Failure(status=500),
    Answer(text="lost", cut=40),
    Answer(text="lost", cut=0),
    Answer(error={"code": 502, "message": "provider"}),
]


class Invoice(BaseModel):
    """What is asked for."""

    number: str
    total: float


def serve(share: float) -> None:
    """Answer until told to stop, with a share of faults; then say how often each was answered."""
    dice, answered = random.Random(0), Counter[str]()

    def answer(received: Received) -> Reply:
        if dice.random() < share:
            return dice.choice(FAULTS)
        messages = received.body["messages"]
        number = messages[-1]["content"]
        answered[number] += 1
        return Answer(text=json.dumps({"number": number, "total": 1.5}))

    steady = None if share else Answer(text='{"number":"D0","total":1.5}')
    with FakeOpenRouter(answer=steady or answer, key=KEY) as server:
        print(server.base_url, flush=True)
        sys.stdin.readline()
        print(json.dumps({"documents": len(answered), "most": max(answered.values(), default=0)}))


@contextmanager
def server(share: float = 0.0) -> Iterator[tuple[str, Callable[[], dict[str, int]]]]:
    """The fake server in a process of its own, so that it shares no interpreter lock."""
    command = [sys.executable, __file__, "--serve", str(share)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        stdin, stdout = run.stdin, run.stdout
        ended: list[dict[str, int]] = []

        def end() -> dict[str, int]:
            if not ended:
                stdin.write("\n")
                stdin.flush()
                ended.append(json.loads(stdout.readline()))
            return ended[0]

        try:
            yield stdout.readline().strip(), end
        finally:
            end()


def median_ms(call: Callable[[], object]) -> float:
    """The median time of a call, in milliseconds."""
    for _ in range(20):
        call()
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def overhead(rivals: str | None) -> None:
    """One call after the other on the loopback: what is ours beside the bare request."""
    with server() as (url, _), OpenRouterModel("m", api_key=KEY, base_url=url) as model:
        read = model.compile(Invoice, instruction="Read the invoice.")
        sent = {"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "D0"}]}

        def bare() -> object:
            reply = client.post("chat/completions", json=sent)
            return Invoice.model_validate_json(reply.json()["choices"][0]["message"]["content"])

        def stream() -> object:
            with read.stream("D0") as pieces:
                return pieces.result()

        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url + "/", headers=headers) as client:
            rows = {"bare httpx + Pydantic": median_ms(bare)}
        rows["gemma_structured"] = median_ms(lambda: read("D0"))
        rows["gemma_structured, streamed"] = median_ms(stream)
        if rivals is not None:
            command = [rivals, str(ROOT / "benchmarks" / "remote_rivals.py"), url, KEY, str(CALLS)]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rows |= json.loads(out)
    base = rows["bare httpx + Pydantic"]
    print(
        f"\nA call on the loopback (median of {CALLS}, ms; the aim: at most 1.5 above bare httpx)"
    )
    for name, milliseconds in rows.items():
        print(f"  {name:28} {milliseconds:6.2f}   {milliseconds - base:+6.2f}")


def concurrency() -> None:
    """Many calls at once with faults: all answered, none lost, none answered twice."""
    retry = RetryPolicy(max_retries=8, first_delay=0.02, max_delay=0.2)
    sizes: list[int] = []
    lines: list[str] = []

    async def one_round(url: str, number: int) -> tuple[int, int]:
        async with OpenRouterModel("m", api_key=KEY, base_url=url, retry=retry) as model:
            read = model.compile(Invoice)
            names = [f"D{number}-{index}" for index in range(CONCURRENT)]
            results = await asyncio.gather(*map(read.acall, names))
        right = sum(r.output.number == name for r, name in zip(results, names, strict=True))
        return right, sum(result.usage.requests for result in results)

    for number in range(4):
        with server(share=0.05) as (url, end):
            start = time.perf_counter()
            right, requests = asyncio.run(one_round(url, number))
            seconds = time.perf_counter() - start
            seen = end()
        sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        lines.append(
            f"  round {number + 1}: {right}/{CONCURRENT} answered, {requests} requests, "
            f"{seen['most']} answer(s) at most a document, {seconds:.1f} s, peak {sizes[-1]} MiB"
        )
    print(f"\n{CONCURRENT:,} concurrent calls, 5 % of the requests fail")
    print("\n".join(lines))
    print(f"  memory from the second round to the last: {sizes[-1] - sizes[1]:+d} MiB")


def fault_matrix() -> None:
    """Every fault, blocking and not, streamed and whole."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/models/test_openrouter_faults.py",
        "-q",
        "-rN",
    ]
    start = time.perf_counter()
    out = subprocess.run(
        [*command, "-o", "addopts=--import-mode=importlib"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    ).stdout
    summary = re.findall(r"\d+ (?:passed|failed)", out)
    print(
        f"Fault matrix: {', '.join(summary) or out[-500:]} in {time.perf_counter() - start:.0f} s"
    )


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rivals", metavar="PYTHON", help="an interpreter with openai, instructor")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve)
        return
    print(f"gemma_structured {gs.__version__}, Python {sys.version.split()[0]}")
    fault_matrix()
    overhead(arguments.rivals)
    concurrency()


if __name__ == "__main__":
    main()
