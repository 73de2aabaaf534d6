"""Signatures as Standard Webhooks wants them."""

import base64

from service.webhooks.signing import new_secret, signed_headers
from tests.service.webhooks.receivers import Received

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def signed(*keys: str, body: bytes = b'{"a": 1}') -> Received:
    return Received(method="POST", path="/", headers=signed_headers("msg_1", 1_700_000_000, body, keys), body=body)


def test_the_signature_is_the_reference_libraries_own() -> None:
    """The message that the reference libraries of the standard test themselves with, and their answer."""
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [_SECRET])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_has_its_signature() -> None:
    one, two = new_secret(), new_secret()
    message = signed(one, two)
    assert message.is_signed_with(one)
    assert message.is_signed_with(two)
    assert not message.is_signed_with(new_secret())


def test_another_body_has_another_signature() -> None:
    secret = new_secret()
    first, second = signed(secret), signed(secret, body=b'{"a": 2}')
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_a_secret_is_32_random_bytes() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in made} == {32}
