"""Who asks: the key given, or that of the environment."""

import pytest

from service.client import Client
from tests.service.client.flaky import Answer, answering


@pytest.mark.parametrize(
    ("given", "of_environment", "sent"),
    [("mine", None, "Bearer mine"), (None, "its", "Bearer its"), ("mine", "its", "Bearer mine"), (None, None, None)],
)
def test_the_key_is_the_one_given_or_that_of_the_environment(
    given: str | None, of_environment: str | None, sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("L0_API_KEY", raising=False)
    if of_environment is not None:
        monkeypatch.setenv("L0_API_KEY", of_environment)
    with answering(Answer()) as (url, asked), Client(url, api_key=given) as client:
        client.capabilities()
        assert asked[0].headers.get("authorization") == sent
        assert "mine" not in repr(client.job("job_1"))
