"""The error codes of three clouds for a request for a machine, and what each of them means.

Sources: Amazon EC2 API reference, "Error codes"; Google Cloud, "Troubleshooting resource availability errors" and
"Troubleshooting quota errors", and the reasons of its client libraries; Microsoft Learn, "Troubleshoot common Azure
deployment errors" and "Allocation failures".
"""

from __future__ import annotations

SOLD_OUT = frozenset(
    (
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientCapacity",
        "UnfulfillableCapacity",
        "SpotMaxPriceTooLow",
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "RESOURCE_POOL_EXHAUSTED",
        "RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "STOCKOUT",
        "SkuNotAvailable",
        "AllocationFailed",
        "ZonalAllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
        "SpotPriceGreaterThanProvidedMaxPrice",
    )
)

OVER_QUOTA = frozenset(
    (
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "SpotInstanceCountExceeded",
        "AddressLimitExceeded",
        "VolumeLimitExceeded",
        "InsufficientFreeAddressesInSubnet",
        "QUOTA_EXCEEDED",
        "quotaExceeded",
        "QUOTA_LIMIT_EXCEEDED",
        "LIMIT_EXCEEDED",
        "limitExceeded",
        "QuotaExceeded",
        "PublicIPCountLimitReached",
    )
)

REFUSED = frozenset(
    (
        "UnauthorizedOperation",
        "AuthFailure",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "OptInRequired",
        "Blocked",
        "AccessDenied",
        "AccessDeniedException",
        "PendingVerification",
        "MissingAuthenticationToken",
        "forbidden",
        "PERMISSIONS_ERROR",
        "authError",
        "required",
        "accessNotConfigured",
        "SERVICE_DISABLED",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "BILLING_NOT_ENABLED",
        "AuthorizationFailed",
        "LinkedAuthorizationFailed",
        "InvalidAuthenticationToken",
        "ExpiredAuthenticationToken",
        "InvalidAuthenticationTokenTenant",
        "ReadOnlyDisabledSubscription",
        "SubscriptionNotFound",
    )
)

NO_ANSWER = frozenset(
    (
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ServiceUnavailable",
        "Unavailable",
        "InternalError",
        "InternalFailure",
        "RequestTimeout",
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        "RESOURCE_OPERATION_RATE_EXCEEDED",
        "backendError",
        "internalError",
        "INTERNAL_ERROR",
        "TooManyRequests",
        "InternalServerError",
        "OperationPreempted",
        "ServerTimeout",
    )
)

MISFIT = frozenset(
    (
        "Unsupported",
        "UnsupportedOperation",
        "MissingParameter",
        "InvalidParameterValue",
        "InvalidParameterCombination",
        "notFound",
        "invalid",
        "badRequest",
        "RESOURCE_NOT_FOUND",
        "INVALID_FIELD_VALUE",
        "InvalidParameter",
        "ImageNotFound",
        "ResourceNotFound",
        "ResourceGroupNotFound",
        "NotSupported",
        "InvalidTemplate",
        "PlatformImageNotFound",
        "VMSizeNotSupported",
    )
)

REJECTED_BEFORE = frozenset(
    (
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "rateLimitExceeded",
        "TooManyRequests",
    )
)
"""Answers that are given before anything is made."""
