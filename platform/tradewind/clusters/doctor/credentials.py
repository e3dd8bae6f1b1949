"""Whether each cloud knows who asks. No secret is printed; what does not answer within seconds is said so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tradewind.clusters.doctor.answer import Answer, ok, problem, unknown

TIMEOUT_S = 5
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CLOCK_CODES = ("RequestExpired", "RequestTimeTooSkewed", "InvalidSignatureException")


def check_credentials(clouds: Iterable[str]) -> Iterator[Answer]:
    """All clouds at once. A cloud whose library is missing is left to that check."""
    asked = [cloud for cloud in clouds if cloud in CHECKS]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        yield from pool.map(_check, asked)


def _check(cloud: str) -> Answer:
    what = f"{cloud} credentials"
    try:
        return CHECKS[cloud](what)
    except ImportError:
        return unknown(what, f"the libraries of {cloud} are missing")


def _aws(what: str) -> Answer:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        session = boto3.session.Session()
        found = session.get_credentials()
    except BotoCoreError as exc:
        return problem(what, str(exc), "repair ~/.aws/config, or unset AWS_PROFILE")
    if found is None:
        return problem(what, "none are found", "run `aws configure`, or set AWS_PROFILE")
    settings = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
    try:
        identity = session.client("sts", region_name="us-east-1", config=settings).get_caller_identity()
    except ClientError as exc:
        return _refused(what, exc.response["Error"].get("Code", "?"))
    except BotoCoreError as exc:
        return unknown(what, f"found by {found.method}; AWS does not answer: {type(exc).__name__}", "try again online")
    return ok(what, f"{identity['Arn']}, found by {found.method}")


def _refused(what: str, code: str) -> Answer:
    if code in CLOCK_CODES:
        return problem(what, f"refused with {code}: this machine's clock is wrong", "set the clock")
    return problem(what, f"refused with {code}", "renew them: `aws sso login`, or new keys")


def _gcp(what: str) -> Answer:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
    from google.auth.transport.requests import Request

    try:
        found, project = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as exc:
        first = str(exc).partition(".")[0]
        return problem(what, first, "run `gcloud auth application-default login`")
    try:
        found.refresh(_Hurried(Request()))  # type: ignore[no-untyped-call]
    except TransportError as exc:
        return unknown(what, f"found; Google does not answer: {type(exc).__name__}", "try again online")
    except GoogleAuthError as exc:
        said = f"refused: {str(exc).splitlines()[0][:100]}"
        return problem(what, said, "run `gcloud auth application-default login`")
    return ok(what, f"for project {project}" if project else "they name no project; the file does")


class _Hurried:
    """A transport of google-auth with an end."""

    def __init__(self, request: Callable[..., object]) -> None:
        self._request = request

    def __call__(self, *words: object, **options: object) -> object:
        return self._request(*words, **{**options, "timeout": TIMEOUT_S})


def _azure(what: str) -> Answer:
    """Ray asks the `az` program while it sets a cluster up."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import AzureCliCredential, CredentialUnavailableError

    login = "install the Azure CLI, and run `az login`"
    if shutil.which("az") is None:
        return problem(what, "the program az is not installed", login)
    if not _subscriptions():
        return problem(what, "az is not logged in", "run `az login`")
    try:
        AzureCliCredential(process_timeout=TIMEOUT_S).get_token("https://management.azure.com/.default")
    except (ClientAuthenticationError, CredentialUnavailableError) as exc:
        said = str(exc).splitlines()[0][:100]
        if "timed out" in said.lower() or "Failed to invoke" in said or "resolve" in said:
            return unknown(what, f"az does not answer in {TIMEOUT_S} s", "try again online")
        return problem(what, f"refused: {said}", "run `az login`")
    return ok(what, f"{len(_subscriptions())} subscriptions")


def check_subscription(written: Mapping[str, Any]) -> Answer:
    """Which one pays: that of an Azure provider's settings, or else what Ray's `ray up` takes, the default of `az`."""
    what = "azure subscription"
    if named := written.get("subscription_id"):
        return ok(what, f"{named}, from the file")
    default = next((one for one in _subscriptions() if one.get("isDefault")), None)
    if default is None:
        return problem(what, "the file names none, and az has no default", "add subscription_id, or `az account set`")
    return ok(what, f"{default.get('id')} ({default.get('name')}), the default of az; the file names none")


def _subscriptions() -> list[dict[str, Any]]:
    path = Path("~/.azure/azureProfile.json").expanduser()
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8-sig")).get("subscriptions", [])
    except (OSError, ValueError, AttributeError):
        return []
    return found


CHECKS: Mapping[str, Callable[[str], Answer]] = {"aws": _aws, "azure": _azure, "gcp": _gcp}
