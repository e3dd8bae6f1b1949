"""Real clients against small servers: what a cloud answers, refuses, or does not answer."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tradewind.clusters.doctor.credentials import check_credentials, check_subscription

SECRET = "wJalrXUtnFEMI0123456789"
IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::1:user/me</Arn><UserId>A</UserId><Account>1</Account></GetCallerIdentityResult>
<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""
REFUSAL = """<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>
<RequestId>r</RequestId></ErrorResponse>"""


@contextmanager
def answering(status: int, body: str, kind: str = "text/xml") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(autouse=True)
def nobody_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class TestAws:
    @pytest.fixture(autouse=True)
    def keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    def test_keys_that_work_say_whose_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with answering(200, IDENTITY) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            (found,) = check_credentials(["aws"])
        assert (found.state, found.said) == ("ok", "arn:aws:iam::1:user/me, found by env")
        assert SECRET not in str(found)

    @pytest.mark.parametrize(
        ("code", "fix"),
        [("InvalidClientTokenId", "new keys"), ("ExpiredToken", "aws sso login"), ("RequestExpired", "clock")],
    )
    def test_refused_keys_are_a_problem_with_the_reason(
        self, code: str, fix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with answering(403, REFUSAL.format(code=code)) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            (found,) = check_credentials(["aws"])
        assert found.state == "problem"
        assert code in found.said
        assert fix in found.fix

    def test_offline_nobody_can_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", nobody())
        (found,) = check_credentials(["aws"])
        assert (found.state, found.said) == ("unknown", "found by env; AWS does not answer: EndpointConnectionError")

    def test_no_keys_are_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        (found,) = check_credentials(["aws"])
        assert (found.state, found.said) == ("problem", "none are found")

    def test_profile_that_is_not_there_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "acme")
        (found,) = check_credentials(["aws"])
        assert found.state == "problem"
        assert "acme" in found.said


class TestGcp:
    def account(self, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        values = {
            "type": "service_account",
            "project_id": "acme-ml",
            "private_key_id": "1",
            "private_key": pem,
            "client_email": "me@acme-ml.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        }
        path = folder / "account.json"
        path.write_text(json.dumps(values))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    def test_account_that_works_says_its_project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        token = json.dumps({"access_token": SECRET, "expires_in": 3600, "token_type": "Bearer"})
        with answering(200, token, "application/json") as url:
            self.account(tmp_path, monkeypatch, url)
            (found,) = check_credentials(["gcp"])
        assert (found.state, found.said) == ("ok", "for project acme-ml")
        assert SECRET not in str(found)

    def test_refused_account_is_a_problem(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with answering(400, json.dumps({"error": "invalid_grant"}), "application/json") as url:
            self.account(tmp_path, monkeypatch, url)
            (found,) = check_credentials(["gcp"])
        assert found.state == "problem"
        assert "invalid_grant" in found.said

    def test_offline_nobody_can_say(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.account(tmp_path, monkeypatch, nobody())
        (found,) = check_credentials(["gcp"])
        assert found.state == "unknown"

    def test_no_account_is_a_problem(self) -> None:
        (found,) = check_credentials(["gcp"])
        assert found.state == "problem"
        assert found.fix == "run `gcloud auth application-default login`"


class TestAzure:
    def program(self, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        """An `az` that answers so, beside a login."""
        (folder / ".azure").mkdir()
        (folder / ".azure" / "azureProfile.json").write_text(json.dumps({"subscriptions": [{"id": "1"}]}))
        az = folder / "bin" / "az"
        az.parent.mkdir()
        az.write_text(f"#!/bin/sh\n{script}\n")
        az.chmod(0o755)
        monkeypatch.setenv("PATH", f"{az.parent}:/usr/bin:/bin")

    def test_login_that_works_is_all_right(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        token = json.dumps({"accessToken": SECRET, "expires_on": 4102444800, "expiresOn": "2100-01-01 00:00:00.000000"})
        self.program(tmp_path, monkeypatch, f"echo '{token}'")
        (found,) = check_credentials(["azure"])
        assert (found.state, found.said) == ("ok", "1 subscriptions")
        assert SECRET not in str(found)

    def test_login_that_has_ended_is_a_problem(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program(tmp_path, monkeypatch, "echo 'AADSTS700082: The refresh token has expired' >&2; exit 1")
        (found,) = check_credentials(["azure"])
        assert (found.state, found.fix) == ("problem", "run `az login`")

    def test_without_the_program_there_is_no_login(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        (found,) = check_credentials(["azure"])
        assert found.said == "the program az is not installed"

    def test_nobody_is_logged_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program(tmp_path, monkeypatch, "exit 1")
        (tmp_path / ".azure" / "azureProfile.json").unlink()
        (found,) = check_credentials(["azure"])
        assert found.said == "az is not logged in"

    def test_it_is_said_which_subscription_pays_and_who_says_so(self, tmp_path: Path) -> None:
        assert check_subscription({"type": "azure", "subscription_id": "7"}).said == "7, from the file"
        found = check_subscription({"type": "azure"})
        assert (found.state, found.said) == ("problem", "the file names none, and az has no default")
        (tmp_path / ".azure").mkdir()
        known = [{"id": "1", "name": "lab", "isDefault": False}, {"id": "2", "name": "port", "isDefault": True}]
        (tmp_path / ".azure/azureProfile.json").write_text(json.dumps({"subscriptions": known}), encoding="utf-8-sig")
        assert check_subscription({}).said == "2 (port), the default of az; the file names none"


def test_cloud_that_ray_has_no_client_for_is_not_asked() -> None:
    assert list(check_credentials(["static"])) == []
