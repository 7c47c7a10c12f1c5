"""Nothing secret and nothing quoted survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.remote.redact import scrub


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("bad key sk-or-v1-0123456789abcdef", "0123456789abcdef"),
        ("key sk-proj-ABCDEFGH12345 is unknown", "ABCDEFGH12345"),
        ("header was 'Authorization: Bearer abcdef123456'", "abcdef123456"),
        ('{"user_id": "user_2abcDEFghiJKL"}', "2abcDEFghiJKL"),
        ("for user_2abcDEFghiJKL", "2abcDEFghiJKL"),
        ('flagged_input: "my secret diary"', "diary"),
        ('metadata {"raw": "the provider said: secret things"}', "secret things"),
    ],
)
def test_keys_accounts_and_raw_texts_are_taken_out(message, secret):
    """What names an account or quotes a provider is not shown."""
    assert secret not in scrub(message)


def test_the_key_itself_is_taken_out_whatever_it_looks_like():
    """A key of another server's need not look like one."""
    assert "hunter2hunter2" not in scrub("wrong: hunter2hunter2", key="hunter2hunter2")


@given(
    sent=st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=40, max_size=120),
    start=st.integers(0, 20),
    prefix=st.text(max_size=20),
)
def test_what_was_sent_is_not_quoted_back(sent, start, prefix):
    """Sixteen characters in a row of the request are a quotation, wherever they stand."""
    shown = scrub(f"{prefix} {sent[start : start + 20]}", sent=sent)
    assert not any(sent[i : i + 16] in shown for i in range(len(sent) - 15))


def test_an_ordinary_message_stays_and_is_one_short_line():
    """What helps is kept."""
    assert scrub("No endpoints found\n that support X.") == "No endpoints found that support X."
    assert len(scrub("x" * 5000)) <= 201
