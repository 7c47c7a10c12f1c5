"""Talks to the fake server with the official SDKs; run in an environment of its own."""

from __future__ import annotations

import sys

import openai  # type: ignore[import-not-found]
import openrouter  # type: ignore[import-not-found]

URL, KEY = sys.argv[1:]
MESSAGES = [{"role": "user", "content": "hi"}]


def main() -> None:
    """Print what each SDK reads, whole and streamed."""
    with openrouter.OpenRouter(api_key=KEY, server_url=URL) as client:
        print(client.chat.send(model="m", messages=MESSAGES).choices[0].message.content)  # noqa: T201
        with client.chat.send(model="m", messages=MESSAGES, stream=True) as events:
            chunks = list(events)
        print("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))  # noqa: T201
    with openai.OpenAI(api_key=KEY, base_url=URL) as other:
        whole = other.chat.completions.create(model="m", messages=MESSAGES)
        print(whole.choices[0].message.content)  # noqa: T201
        stream = other.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        print("".join(c.choices[0].delta.content or "" for c in stream if c.choices))  # noqa: T201


main()
