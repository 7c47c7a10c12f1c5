"""The same call with the openai SDK and with instructor, in an environment of their own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable

URL, KEY, CALLS = sys.argv[1], sys.argv[2], int(sys.argv[3])
MESSAGES = [{"role": "user", "content": "D0"}]


class Invoice(BaseModel):
    """What is asked for."""

    number: str
    total: float


def median_ms(call: Callable[[], object]) -> float:
    for _ in range(20):
        call()
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    import openai

    rows = {}
    client = openai.OpenAI(base_url=URL, api_key=KEY)

    def with_openai() -> Invoice:
        reply = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=4096)
        return Invoice.model_validate_json(reply.choices[0].message.content)

    rows[f"openai {openai.__version__}"] = median_ms(with_openai)
    try:
        from importlib.metadata import version

        import instructor
    except ImportError:
        pass
    else:
        patched = instructor.from_openai(client, mode=instructor.Mode.JSON)

        def with_instructor() -> Invoice:
            return patched.chat.completions.create(
                model="m", messages=MESSAGES, max_tokens=4096, response_model=Invoice
            )

        rows[f"instructor {version('instructor')}"] = median_ms(with_instructor)
    print(json.dumps(rows))


main()
