"""What the schema of a type lets a mask write, Pydantic reads: random walks through the grammar.

Each walk takes random allowed bytes until the value ends, as a model with random weights would.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import json
import random
import uuid
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    UUID4,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    Field,
    HttpUrl,
    IPvAnyAddress,
    NaiveDatetime,
    SecretStr,
)

from gemma_structured.parsing.validate import validate
from gemma_structured.schema import Bounds, OutputType, Regex, bound
from gemma_structured.schema.normalize import normalize

llguidance = pytest.importorskip("llguidance")
llguidance_numpy = pytest.importorskip("llguidance.numpy")

D = decimal.Decimal
WALKS = 30
BOUNDS = Bounds(string_length=20, items=4, properties=1, key_length=10)


class Kind(enum.Enum):
    """An Enum of strings and integers."""

    ONE = 1
    X = "x"


class Number(enum.IntEnum):
    """An Enum of integers."""

    ONE = 1
    TWO = 22


TYPES: list[Any] = [
    int,
    float,
    bool,
    str,
    bytes,
    SecretStr,
    Kind,
    Number,
    dt.date,
    dt.datetime,
    AwareDatetime,
    NaiveDatetime,
    dt.time,
    dt.timedelta,
    D,
    Annotated[D, Field(ge=0, max_digits=6, decimal_places=2)],
    Annotated[D, Field(gt=0, le=100)],
    Annotated[D, Field(max_digits=3)],
    Annotated[D, Field(decimal_places=2)],
    Annotated[float, Field(gt=0, lt=1)],
    Annotated[float, Field(multiple_of=0.05)],
    Annotated[int, Field(multiple_of=7, ge=-50)],
    complex,
    uuid.UUID,
    UUID4,
    Base64Bytes,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    IPvAnyAddress,
    AnyUrl,
    HttpUrl,
    Annotated[str, Regex(r"[A-Z]{2}\d+|-")],
    Annotated[str, Field(pattern=r"^\d{2}-[a-z]+$", max_length=8)],
    list[int],
    set[int],
    frozenset[Literal["a", "b"]],
    tuple[int, ...],
    tuple[str, int | None],
    dict[str, bool],
    dict[int, bool],
    dict[bool, bool],
    dict[float, bool],
    dict[D, bool],
    dict[Number, bool],
    dict[Kind, bool],
    dict[dt.date, bool],
    dict[dt.datetime, bool],
    dict[uuid.UUID, bool],
    dict[Literal["a", "b"], bool],
    dict[Annotated[str, Field(pattern="^a")], bool],
    dict[Annotated[str, Field(max_length=3)], bool],
]


def walk(grammar: str, tokenizer: Any, rng: random.Random) -> str | None:
    """A random text of the grammar; `None` if it has no end within 2,000 bytes."""
    matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    mask = llguidance_numpy.allocate_token_bitmask(1, tokenizer.vocab_size)
    written = bytearray()
    while len(written) < 2_000 and not matcher.is_stopped():
        llguidance_numpy.fill_next_token_bitmask(matcher, mask, 0)
        allowed = [byte for byte in range(256) if mask[0, byte // 32] >> (byte % 32) & 1]
        if not allowed or (matcher.is_accepting() and rng.random() < 0.3):
            break
        endings = [byte for byte in allowed if byte in b'"]}']
        plain = [byte for byte in allowed if 32 <= byte < 127]
        likely = endings if endings and rng.random() < 0.15 else plain
        byte = rng.choice(likely if likely and rng.random() < 0.9 else allowed)
        assert matcher.consume_token(byte), matcher.get_error()
        written.append(byte)
    return written.decode() if matcher.is_accepting() else None


@pytest.mark.parametrize("spec", TYPES, ids=[f"{i}-{spec!r:.30}" for i, spec in enumerate(TYPES)])
def test_what_the_mask_allows_is_valid(spec):
    """Nothing that can be written under the grammar of a type is refused by validation."""
    output_type = OutputType.of(spec)
    schema = normalize(bound(output_type.term, BOUNDS)[0]).schema.value
    assert isinstance(schema, dict)
    options = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    grammar = llguidance.grammar_from("json_schema", json.dumps(schema | {"x-guidance": options}))
    tokenizer, rng = llguidance.LLTokenizer("byte"), random.Random(7)
    texts = [walk(grammar, tokenizer, rng) for _ in range(WALKS)]
    finished = [text for text in texts if text is not None]
    assert len(finished) >= WALKS * 0.9
    for text in finished:
        validate(output_type, text)
