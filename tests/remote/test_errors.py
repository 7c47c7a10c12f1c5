"""Statuses and error objects become the right errors; anything may be missing or of any type."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gemma_structured as gs
from gemma_structured.remote.errors import (
    ErrorContext,
    UnsupportedParameterError,
    WhitespaceFloodError,
    error_from_body,
    error_from_object,
)
from gemma_structured.remote.retry import is_retryable

HERE = ErrorContext(model_name="some/model")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)
members = st.fixed_dictionaries(
    {},
    optional={
        "code": json_values
        | st.integers(0, 700)
        | st.sampled_from(["429", "server_error", "refusal"]),
        "message": json_values,
        "metadata": json_values
        | st.fixed_dictionaries({"error_type": json_values, "reason": json_values}),
        "availability": json_values
        | st.fixed_dictionaries({"retryable": json_values, "retry_after": json_values}),
        "type": json_values,
    },
)


@given(error=members, status=st.integers(100, 599), retry_after=st.text(max_size=10))
def test_any_error_object_gives_a_model_error(error, status, retry_after):
    """Nothing in it can make reading it fail."""
    context = ErrorContext(model_name="m", headers={"retry-after": retry_after})
    found = error_from_object(error, status=status, context=context)
    assert isinstance(found, gs.ModelError)
    assert found.model_name == "m"
    if isinstance(found, gs.APIStatusError):
        assert found.retry_after is None or found.retry_after >= 0
        assert found.status_code >= 100


@given(
    status=st.integers(300, 599),
    body=st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()),
)
def test_any_body_gives_a_model_error(status, body):
    """HTML, nothing, half of something: the status alone is enough."""
    found = error_from_body(status, body, HERE)
    assert isinstance(found, gs.ModelError)


@pytest.mark.parametrize(
    ("status", "error", "kind", "retryable"),
    [
        (400, {}, gs.APIStatusError, False),
        (401, {}, gs.AuthenticationError, False),
        (402, {}, gs.InsufficientCreditsError, False),
        (402, {"metadata": {"reason": "in_flight_budget_exhausted"}}, gs.InsufficientCreditsError, True),
        (403, {}, gs.AuthenticationError, False),
        (403, {"metadata": {"reasons": ["x"]}}, gs.RefusalError, False),
        (403, {"metadata": {"error_type": "content_policy_violation"}}, gs.RefusalError, False),
        (404, {}, gs.APIStatusError, False),
        (408, {}, gs.APIStatusError, True),
        (413, {}, gs.APIStatusError, False),
        (422, {}, gs.APIStatusError, False),
        (429, {}, gs.RateLimitError, True),
        (429, {"message": "Rate limit exceeded: free-models-per-day. Add credits"}, gs.RateLimitError, False),
        (500, {}, gs.APIStatusError, True),
        (501, {}, gs.APIStatusError, False),
        (502, {}, gs.APIStatusError, True),
        (503, {}, gs.APIStatusError, True),
        (503, {"availability": {"retryable": False}}, gs.APIStatusError, False),
        (400, {"availability": {"retryable": True}}, gs.APIStatusError, True),
        (504, {}, gs.APIStatusError, True),
        (524, {}, gs.APIStatusError, True),
        (529, {}, gs.APIStatusError, True),
        (200, {"code": 429}, gs.RateLimitError, True),
        (200, {"code": "429"}, gs.RateLimitError, True),
        (200, {"code": "rate_limit_exceeded"}, gs.RateLimitError, True),
        (200, {"metadata": {"error_type": "authentication"}}, gs.AuthenticationError, False),
        (200, {"code": 0}, gs.APIStatusError, True),
        (200, {}, gs.APIStatusError, True),
        (400, {"message": "`response_format` is not supported by this model"}, UnsupportedParameterError, False),
        (404, {"message": "No endpoints found that support tool use"}, UnsupportedParameterError, False),
        (404, {"message": "No endpoints found matching your data policy"}, gs.APIStatusError, False),
    ],
)  # fmt: skip
def test_the_table(status, error, kind, retryable):
    """Each row of the table, `availability` before everything else."""
    found = error_from_object(error, status=status, context=HERE)
    assert type(found) is kind
    assert is_retryable(found) is retryable


def test_a_context_that_is_too_long_tells_both_numbers():
    """They are read from the message, where they are."""
    message = "maximum context length is 8192 tokens. However, you requested about 9050 tokens (9000 of text"
    found = error_from_object({"message": message}, status=400, context=HERE)
    assert isinstance(found, gs.ContextLengthError)
    assert (found.context_length, found.prompt_tokens) == (8192, 9050)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3.0), ("0.5", 0.5), ("-1", None), ("nan", None), ("1e999", None), ("soon", None), ("", None),
     ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value, expected):
    """What is neither is not there; a date that has passed is now."""
    context = ErrorContext(headers={"retry-after": value})
    assert error_from_object({}, status=503, context=context).retry_after == expected


def test_the_servers_message_is_shown_without_secrets():
    """The message helps; keys and quotations of the document are taken out of it."""
    document = "The patient Jane Doe was seen on Monday."
    context = ErrorContext(model_name="m", sent=document, key="sk-or-v1-abcdef123456")
    message = f"Invalid: {document} with sk-or-v1-abcdef123456"
    found = error_from_object({"message": message}, status=400, context=context)
    assert "Invalid" in str(found)
    assert "Jane" not in str(found)
    assert "abcdef" not in str(found)
    assert "Jane" not in repr(context)
    assert "abcdef" not in repr(context)


def test_errors_can_be_pickled():
    """They may come from another process."""
    for error in (
        error_from_object({"message": "x"}, status=429, context=HERE),
        error_from_object({"message": "tools are not supported"}, status=400, context=HERE),
        WhitespaceFloodError(model_name="m"),
        gs.TransportError("x", retryable=False),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)
