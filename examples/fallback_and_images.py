"""A remote model where the local one cannot answer, within a budget; an image for the remote one.

It talks to the server for tests that is part of the package. For the real one, set
OPENROUTER_API_KEY, and leave `api_key` and `base_url` away.
"""

from __future__ import annotations

import base64

from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.testing import FakeOpenRouter

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Invoice(BaseModel):
    number: str
    total: float


def main() -> None:
    answer = '{"number": "A-17", "total": 12.5}'
    prices = {"google/gemma-4-26b-a4b-it": {"prompt": "0.00000007", "completion": "0.00000035"}}
    budget = gs.Budget(max_cost="0.50")
    with FakeOpenRouter(answer=answer, pricing=prices) as server:
        remote = gs.OpenRouterModel(
            "google/gemma-4-26b-a4b-it",
            budget=budget,
            api_key=server.key,
            base_url=server.base_url,
        )
        local = gs.LocalModel("./a-folder-without-a-model")
        with remote:
            result = gs.FallbackModel(local, remote).generate("Invoice A-17, 12.50", Invoice)
            print(result.output, "by", result.model_name)
            print("because", type(result.skipped[0]).__name__)

            scanned = [gs.UserMessage("The invoice, scanned:", gs.Image(PIXEL))]
            print(remote.generate(scanned, Invoice).output, "from", scanned[0].images[0])
    print(budget.spent.cost, "dollars of 0.50 in", budget.spent.requests, "requests")


if __name__ == "__main__":
    main()
