"""Signatures, judged by the reference library of Standard Webhooks."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from rhapsode.domain.deliveries import SigningKey
from rhapsode.domain.webhooks import (
    MOST_KEYS,
    OVERLAP,
    headers,
    key_of,
    rotated,
    signature,
    signing,
)

BODY = json.dumps({"type": "job.finished", "data": {"name": "Grüße ☕"}}).encode()


def key(number: int) -> str:
    return key_of(bytes([number]) * 32)


def verified(secret: str, body: bytes, sent: dict[str, str]) -> Any:
    return Webhook(secret).verify(body, sent)


@given(random=st.binary(min_size=24, max_size=64), text=st.text(max_size=200))
def test_the_reference_library_verifies_what_we_sign(random: bytes, text: str) -> None:
    secret, body = key_of(random), json.dumps({"text": text}).encode()

    sent = headers([SigningKey(secret)], uuid4(), body, datetime.now(UTC))

    assert verified(secret, body, sent) == {"text": text}


def test_the_example_of_the_specification() -> None:
    # https://github.com/standard-webhooks/standard-webhooks: its libraries' own test vector
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    message_id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
    made = signature(secret, message_id, 1614265330, body)

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_both_keys_sign_during_a_rotation_and_then_only_the_new_one() -> None:
    moment = datetime.now(UTC)
    keys = rotated([SigningKey(key(1))], key(2), moment)
    later = moment + OVERLAP

    during = headers(keys, uuid4(), BODY, moment)
    after = headers(keys, uuid4(), BODY, later)

    assert [verified(key(n), BODY, during) for n in (1, 2)] == [json.loads(BODY)] * 2
    assert len(during["webhook-signature"].split(" ")) == 2
    assert signing(keys, later) == (SigningKey(key(2)),)
    assert after["webhook-signature"].count("v1,") == 1


def test_a_key_that_is_rotated_out_keeps_its_end_when_the_next_one_follows() -> None:
    moment = datetime.now(UTC)
    first = rotated([SigningKey(key(1))], key(2), moment)

    second = rotated(first, key(3), moment + timedelta(hours=1))

    assert second == (
        SigningKey(key(3)),
        SigningKey(key(2), moment + timedelta(hours=25)),
        SigningKey(key(1), moment + OVERLAP),
    )


def test_rotating_again_and_again_does_not_make_the_header_grow() -> None:
    keys: tuple[SigningKey, ...] = (SigningKey(key(0)),)
    for number in range(1, 20):
        keys = rotated(keys, key(number), datetime.now(UTC))

    assert [item.secret for item in keys] == [key(n) for n in (19, 18, 17, 16)]
    assert len(keys) == MOST_KEYS


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body", "key"])
def test_the_reference_library_refuses_what_was_tampered_with(changed: str) -> None:
    sent = headers([SigningKey(key(1))], uuid4(), BODY, datetime.now(UTC))
    body, secret = BODY, key(1)
    if changed == "body":
        body = BODY.replace(b"finished", b"canceled")
    elif changed == "key":
        secret = key(2)
    elif changed == "webhook-id":
        sent[changed] = str(uuid4())
    else:
        sent[changed] = str(int(sent[changed]) + 1)

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verified(secret, body, sent)


@pytest.mark.parametrize(("minutes", "words"), [(-6, "too old"), (6, "too new")])
def test_the_reference_library_refuses_what_is_of_another_time(
    minutes: int, words: str
) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    sent = headers([SigningKey(key(1))], uuid4(), BODY, moment)

    with pytest.raises(WebhookVerificationError, match=words):
        verified(key(1), BODY, sent)


@pytest.mark.parametrize("size", [0, 23, 65])
def test_keys_of_another_length_are_none(size: int) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        key_of(b"x" * size)


def test_a_key_is_its_bytes_in_base64() -> None:
    assert base64.b64decode(key(7).removeprefix("whsec_")) == bytes([7]) * 32
