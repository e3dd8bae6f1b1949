from __future__ import annotations

import pytest

from tradewind.storage.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "GET https://acc.blob.core.windows.net/c/k?sv=2026&sig=abc%2Fdef in 3 ms",
            "GET https://acc.blob.core.windows.net/c/k?*** in 3 ms",
        ),
        (
            "https://bucket.s3.amazonaws.com/k?X-Amz-Signature=abcdef failed",
            "https://bucket.s3.amazonaws.com/k?*** failed",
        ),
        ("cannot log in to sftp://user:hush@host/path", "cannot log in to sftp://***@host/path"),
        ("AccountName=a;AccountKey=abcdef==;EndpointSuffix=x", "AccountName=a;AccountKey=***;EndpointSuffix=x"),
        ("SharedAccessSignature=sv=1&sig=abc", "SharedAccessSignature=***&sig=***"),
        ("Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.abc.def", "Authorization: Bearer ***"),
        ("Authorization: SharedKey acc:abcdefgh=", "Authorization: SharedKey ***"),
        ("plain words? yes: 3 = 3, s3://bucket/key", "plain words? yes: 3 = 3, s3://bucket/key"),
    ],
)
def test_nothing_that_gives_access_is_left(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_values_of_secret_variables_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSSPEC_SFTP_PASSWORD", "correct horse")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=0123456789")
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "ya29.secret")
    text = redacted("tried 'correct horse', sv=1&sig=0123456789, ya29.secret at /home/me/key.json")
    assert text == "tried '***', ***, *** at /home/me/key.json"


def test_variables_that_only_sound_secret_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token")
    monkeypatch.setenv("SOME_TOKEN", "short")
    assert redacted("/var/run/token short") == "/var/run/token short"
