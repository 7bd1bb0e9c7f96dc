"""What a failing server is said to have done: the words, the numbers, and never the key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from bot.errors import ContextExceeded, ModelUnavailable
from bot.models.client import Endpoint
from bot.models.failures import redacted, refused, retry_after_seconds
from bot.models.keys import Veil

KEY = "sk-proj-0123456789-abcdefgh"
SERVER = Endpoint("https://somebody@models.example:8443/v1", KEY, "kiln-model")


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        (
            {
                "error": {
                    "message": "This model's maximum context length is 8192 tokens. However, your "
                    "messages resulted in 10,001 tokens. Please reduce the length.",
                    "type": "invalid_request_error",
                    "code": "context_length_exceeded",
                }
            },
            (10001, 8192),
        ),
        (
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you "
                "requested 5160 tokens (5000 in the messages, 160 in the completion).",
                "code": 400,
            },
            (5000, 4096),
        ),
        (
            {
                "error": {
                    "message": "'max_tokens' is too large: 160. This model's maximum context "
                    "length is 4096 tokens and your request has 4000 input tokens."
                }
            },
            (4000, 4096),
        ),
        (
            {
                "message": "The decoder prompt (length 5000) is longer than the maximum model "
                "length of 4096."
            },
            (5000, 4096),
        ),
        (
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 5000,
                    "n_ctx": 4096,
                }
            },
            (5000, 4096),
        ),
        ({"error": "the input length exceeds the context length"}, (0, 0)),
        (
            {"error": "the model is loaded with context length of only 4096 tokens"},
            (0, 4096),
        ),
        (
            {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}},
            (210000, 200000),
        ),
        (
            [
                {
                    "error": {
                        "code": 400,
                        "message": "The input token count (2000000) exceeds the maximum number of "
                        "tokens allowed (1048576).",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
            (2000000, 1048576),
        ),
    ],
)
def test_every_dialect_of_a_prompt_that_is_too_long(body: object, counts: tuple[int, int]) -> None:
    error = refused(SERVER, 400, body, {})
    assert isinstance(error, ContextExceeded)
    assert (error.prompt_tokens, error.context_tokens) == counts


def test_a_refusal_for_another_reason_is_no_long_prompt() -> None:
    body = {"error": {"message": "Rate limit of 9000 tokens per minute exceeded"}}
    assert isinstance(refused(SERVER, 429, body, {}), ModelUnavailable)
    body = {"error": {"message": "'temperature' exceeds 2"}}
    assert not isinstance(refused(SERVER, 400, body, {}), ContextExceeded)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_when_a_server_wants_to_be_asked_again(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(headers) == seconds


def test_a_date_is_a_time_from_now() -> None:
    then = datetime.now(UTC) + timedelta(hours=1)
    seconds = retry_after_seconds({"retry-after": format_datetime(then, usegmt=True)})
    assert seconds is not None
    assert 3000 < seconds <= 3600


@pytest.mark.parametrize(
    ("seconds", "words"),
    [("0", "in 1 seconds"), ("42", "in 42 seconds"), ("300", "in 5 minutes"), ("9000", "3 hours")],
)
def test_it_is_said_when_to_come_again(seconds: str, words: str) -> None:
    assert words in refused(SERVER, 429, {}, {"retry-after": seconds}).cure


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, "refused the key"),
        (404, "<html>nginx</html>", "no chat at models.example:8443/v1"),
        (404, {"detail": "Not Found"}, "no chat at"),
        (404, {"error": {"message": "model 'kiln-model' not found"}}, "does not know kiln-model"),
        (422, {"detail": [{"msg": "field required"}, {"msg": "too small"}]}, "required; too small"),
        (400, "400 The plain HTTP request was sent to HTTPS port", "TLS only"),
        (402, {}, "no credit"),
        (418, ["odd"], "refused the request."),
        (0, {"error": {"message": "oh no", "code": 500}}, "failed (500 Internal Server Error)"),
        (599, None, "failed (599)."),
    ],
)
def test_what_is_said_of_a_refusal(status: int, body: object, words: str) -> None:
    said = str(refused(SERVER, status, body, {}))
    assert words in said
    assert "somebody" not in said and "<" not in said and KEY not in said


def test_what_a_server_says_is_one_short_line() -> None:
    long = {"error": {"message": "bad\x1b[31m\n\u202e news " * 200}}
    said = refused(SERVER, 400, long, {}).message
    assert len(said) < 500
    assert said.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {KEY}",
        f"{KEY}{KEY}",
        f"key '{KEY[:14]}' is wrong",
        f"ends in {KEY[-10:]}",
        KEY.upper(),
        f"…{KEY[5:15]}…",
    ],
)
def test_a_key_is_never_repeated(text: str) -> None:
    shown = redacted(text, KEY).casefold()
    assert "•••" in shown
    assert not [n for n in range(len(KEY) - 7) if KEY[n : n + 8].casefold() in shown]


def test_what_is_no_key_is_left() -> None:
    assert redacted("The key is wrong.", "") == "The key is wrong."
    assert redacted("Say none of it.", "no") == "Say none of it."


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_key_in_an_answer_is_hidden_however_it_is_cut(size: int) -> None:
    text = f"sk-proj: {KEY}, {KEY[:20]} and {KEY}{KEY[:5]}"
    veil = Veil(KEY)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    shown = "".join(map(veil.show, pieces)) + veil.rest()
    assert shown == text.replace(KEY, "•••")
    assert Veil("not-needed").show("It is not-needed.") == "It is not-needed."
