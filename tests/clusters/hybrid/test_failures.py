"""The bodies are those that the clouds send; what is made of them are the SDKs' own exceptions where they are here."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import click
import pytest
from azure.core.exceptions import HttpResponseError
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError, ReadTimeoutError
from ray.autoscaler.node_launch_exception import NodeLaunchException

from tradewind.clusters.hybrid.failures import HostsInUseError, understand
from tradewind.errors import AuthError, CapacityError, CloudError, QuotaError, SpecError


def aws(code: str, message: str = "No.", status: int = 400) -> ClientError:
    body: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(body, "RunInstances")


class GoogleError(Exception):
    """As googleapiclient.errors.HttpError: `resp` and `content`."""

    def __init__(self, status: int, reason: str, message: str = "No.") -> None:
        super().__init__(f"<HttpError {status} {message!r}>")
        self.resp = SimpleNamespace(status=status)
        error = {"code": status, "message": message, "errors": [{"message": message, "reason": reason}]}
        self.content = json.dumps({"error": error}).encode()


def operation(code: str) -> Exception:
    """What Ray raises for an operation that ended badly."""
    return Exception({"errors": [{"code": code, "message": "The zone does not have enough resources available."}]})


class AzureError(Exception):
    """As azure.core.exceptions.HttpResponseError: `status_code` and an ODataV4Format in `error`."""

    def __init__(self, status: int, code: str, message: str = "No.", *details: Any) -> None:
        super().__init__(f"({code}) {message}")
        self.status_code = status
        self.error = SimpleNamespace(code=code, message=message, details=details)


def deployment(code: str, message: str) -> AzureError:
    """A failed deployment holds the reason as a detail, whose message is JSON again."""
    inner = json.dumps({"error": {"code": code, "message": message}})
    detail = SimpleNamespace(code="Conflict", message=inner, details=None)
    return AzureError(409, "DeploymentFailed", "At least one resource deployment operation failed.", detail)


def nested(code: str, message: str) -> Exception:
    """azure-core's own exception for the end of a long operation: its answer is 200, its body three errors deep.

    The shape is that of https://github.com/microsoft/mwt-ds/issues/8.
    """
    inner = json.dumps({"status": "Failed", "error": {"code": code, "message": message}}, indent=2)
    deployment = {
        "code": "DeploymentFailed",
        "message": "At least one resource deployment operation failed.",
        "details": [{"code": "Conflict", "message": inner.replace("\n", "\r\n")}],
    }
    outer = {"code": "ResourceDeploymentFailure", "message": "The resource operation completed with terminal "}
    body = json.dumps({"status": "Failed", "error": {**outer, "details": [deployment]}})
    answer: Any = SimpleNamespace(status_code=200, reason="OK", text=lambda: body)
    return HttpResponseError(response=answer)


def detailed_operation() -> Exception:
    """As in https://github.com/kubernetes/k8s.io/issues/9834; Ray raises the operation's `error`."""
    reason = {"reason": "resource_availability", "domain": "compute.googleapis.com"}
    details = [
        {"help": {"links": [{"description": "Troubleshooting documentation"}]}},
        {"localizedMessage": {"locale": "en-US", "message": "A n1-standard-4 VM instance is currently unavailable"}},
        {"errorInfo": {**reason, "metadatas": {"zone": "us-central1-b", "vmType": "n1-standard-4"}}},
    ]
    message = "The zone does not have enough resources available to fulfill the request.  '(resource type:compute)'."
    code = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    return Exception({"errors": [{"code": code, "message": message, "errorDetails": details}]})


SOLD_OUT = [
    nested("AllocationFailed", "Allocation failed. We do not have sufficient capacity for the requested VM size."),
    nested("ZonalAllocationFailed", "Allocation failed. We do not have sufficient capacity in this zone."),
    detailed_operation(),
    aws("InsufficientInstanceCapacity", "We currently do not have sufficient p4d.24xlarge capacity"),
    aws("SpotMaxPriceTooLow", "Your Spot request price of 0.01 is lower than the minimum required Spot request price"),
    GoogleError(503, "ZONE_RESOURCE_POOL_EXHAUSTED"),
    operation("ZONE_RESOURCE_POOL_EXHAUSTED"),
    operation("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"),
    AzureError(409, "SkuNotAvailable", "The requested VM size is currently not available in location 'eastus'."),
    deployment("AllocationFailed", "Allocation failed. We do not have sufficient capacity."),
    deployment("OverconstrainedAllocationRequest", "Allocation failed. VM(s) with the following constraints"),
]
OVER_QUOTA = [
    nested("QuotaExceeded", "Operation could not be completed as it results in exceeding approved Cores quota"),
    nested("OperationNotAllowed", "results in exceeding approved LowPriorityCores quota. Current Limit: 3"),
    aws("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of 0 allows"),
    aws("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
    aws("InstanceLimitExceeded"),
    GoogleError(403, "quotaExceeded", "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region us-central1."),
    operation("QUOTA_EXCEEDED"),
    deployment("QuotaExceeded", "Operation could not be completed as it results in exceeding approved Cores quota"),
    AzureError(409, "OperationNotAllowed", "results in exceeding approved standardNCADSFamily Cores quota."),
]
REFUSED = [
    aws("UnauthorizedOperation", "You are not authorized to perform this operation.", 403),
    aws("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    aws("ExpiredToken"),
    NoCredentialsError(),
    GoogleError(403, "forbidden", "Required 'compute.instances.create' permission"),
    GoogleError(401, "authError", "Invalid Credentials"),
    AzureError(403, "AuthorizationFailed"),
    AzureError(401, "ExpiredAuthenticationToken"),
]
MISFIT = [
    aws("InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist"),
    aws("InvalidSubnetID.NotFound"),
    aws("InvalidKeyPair.NotFound"),
    aws("Unsupported", "Your requested instance type is not supported in your requested Availability Zone"),
    GoogleError(404, "notFound", "The resource 'projects/x/global/images/y' was not found"),
    GoogleError(400, "invalid"),
    AzureError(404, "ResourceGroupNotFound"),
    AzureError(409, "OperationNotAllowed", "The VM is being deleted."),
]
NOT_MADE = [
    aws("RequestLimitExceeded", status=503),
    GoogleError(403, "rateLimitExceeded"),
    AzureError(429, "TooManyRequests"),
    ConnectTimeoutError(endpoint_url="https://ec2.us-west-2.amazonaws.com"),
]
MADE_MAYBE = [
    aws("InternalError", status=500),
    ReadTimeoutError(endpoint_url="https://ec2.us-west-2.amazonaws.com"),
    GoogleError(503, "backendError"),
    TimeoutError("timed out"),
    BrokenPipeError(),
    AzureError(500, "InternalServerError"),
]


@pytest.mark.parametrize("exc", SOLD_OUT, ids=str)
def test_what_is_sold_out_is_to_be_had_elsewhere(exc: Exception) -> None:
    failure = understand(exc, where="aws: launch")
    assert (failure.outcome, type(failure.error), failure.made_maybe) == ("sold_out", CapacityError, False)
    assert failure.error.remedy == "move"


@pytest.mark.parametrize("exc", OVER_QUOTA, ids=str)
def test_quota_is_told_from_stock(exc: Exception) -> None:
    failure = understand(exc, where="aws: launch")
    assert (failure.outcome, type(failure.error), failure.made_maybe) == ("over_quota", QuotaError, False)


@pytest.mark.parametrize("exc", REFUSED, ids=str)
def test_bad_credentials_are_told(exc: Exception) -> None:
    failure = understand(exc, where="aws: launch")
    assert (failure.outcome, type(failure.error), failure.made_maybe) == ("refused", AuthError, False)


@pytest.mark.parametrize("exc", MISFIT, ids=str)
def test_requests_that_never_fit_are_told(exc: Exception) -> None:
    failure = understand(exc, where="aws: launch")
    assert (failure.outcome, type(failure.error), failure.made_maybe) == ("misfit", SpecError, False)


@pytest.mark.parametrize("exc", NOT_MADE, ids=str)
def test_request_that_was_turned_away_has_made_nothing(exc: Exception) -> None:
    failure = understand(exc, where="aws: launch")
    assert (failure.outcome, type(failure.error), failure.made_maybe) == ("no_answer", CloudError, False)
    assert failure.error.remedy == "retry"


@pytest.mark.parametrize("exc", MADE_MAYBE, ids=str)
def test_request_without_an_answer_may_have_made_machines(exc: Exception) -> None:
    failure = understand(exc, where="aws: launch")
    assert (failure.outcome, failure.made_maybe) == ("no_answer", True)


def test_error_is_found_through_rays_own_exception() -> None:
    exc = NodeLaunchException("InsufficientInstanceCapacity", "No m5.large in this zone.", None)
    assert understand(exc, where="aws").outcome == "sold_out"


def test_error_is_found_behind_an_abort_of_rays_command_line() -> None:
    def abort() -> None:
        try:
            raise aws("UnauthorizedOperation", status=403)
        except ClientError:
            raise click.ClickException("Exiting due to cli_logger.abort()") from None

    with pytest.raises(click.ClickException) as caught:
        abort()
    assert understand(caught.value, where="aws").outcome == "refused"


def test_message_says_where_and_what() -> None:
    failure = understand(aws("InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist"), where="west: launch")
    assert failure.reason.startswith("west: launch: ")
    assert "InvalidAMIID.NotFound" in failure.reason
    assert "ami-1" in failure.reason


def test_error_of_ours_is_passed_on() -> None:
    error = HostsInUseError("no host is free")
    failure = understand(error, where="berlin")
    assert (failure.outcome, failure.error) == ("in_use", error)
