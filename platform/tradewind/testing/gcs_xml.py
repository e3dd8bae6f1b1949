"""The XML API of Google Cloud Storage, `/<bucket>/<object>`, as obstore and S3-like clients use it.

Source: https://cloud.google.com/storage/docs/xml-api/reference-methods
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import format_datetime
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tradewind.testing.gcs_buckets import Blob, Buckets, Conditions, Refusal, Upload
from tradewind.testing.gcs_exchange import Answer, Request, ranged

NAMESPACE = "http://doc.s3.amazonaws.com/2006-03-01"


def answer_xml(buckets: Buckets, request: Request) -> Answer:
    _, bucket, *rest = request.path.split("/", 2)
    bucket, name = unquote(bucket), unquote(rest[0]) if rest else ""
    if name:
        return _route(request)(buckets, request, bucket, name)
    if request.method == "PUT":
        buckets.make(bucket)
        return Answer(200)
    if request.method in ("GET", "HEAD"):
        return _list(buckets, request, bucket)
    raise Refusal(405, "MethodNotAllowed", f"{request.method} is not known here.")


def refusal_xml(refusal: Refusal) -> Answer:
    return _xml("Error", f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>", refusal.status)


def _route(request: Request) -> Callable[[Buckets, Request, str, str], Answer]:
    if "uploadId" in request.query or "uploads" in request.query:
        routes = {"POST": _begin_or_complete, "PUT": _put_part, "DELETE": _abort}
    else:
        routes = {"GET": _get, "HEAD": _get, "PUT": _put, "DELETE": _delete}
    if request.method not in routes:
        raise Refusal(405, "MethodNotAllowed", f"{request.method} is not known here.")
    return routes[request.method]


def _get(buckets: Buckets, request: Request, bucket: str, name: str) -> Answer:
    blob = buckets.get(bucket, name, _conditions(request))
    if request.query.get("generation") not in (None, str(blob.generation)):
        raise Refusal(404, "NoSuchKey", f"No such object: {bucket}/{name}")
    if request.headers.get("if-match") not in (None, "*", blob.etag):
        raise Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    if request.headers.get("if-none-match") in ("*", blob.etag):
        return Answer(304, _headers(blob))
    return ranged(blob.data, request.headers.get("range"), _headers(blob))


def _put(buckets: Buckets, request: Request, bucket: str, name: str) -> Answer:
    data, details = request.body, _details(request)
    source = request.headers.get("x-goog-copy-source")
    if source:
        source_bucket, _, source_name = unquote(source).lstrip("/").partition("/")
        copied = buckets.get(source_bucket, source_name)
        data = copied.data
        details = {"content_type": copied.content_type, "metadata": copied.metadata} | (
            {"storage_class": details["storage_class"]} if "storage_class" in details else {}
        )
    blob = buckets.put(bucket, name, data, _conditions(request), **details)
    if source:
        when = blob.updated_at.isoformat()
        return _xml("CopyObjectResult", f"<LastModified>{when}</LastModified><ETag>{escape(blob.etag)}</ETag>")
    return Answer(200, _headers(blob))


def _delete(buckets: Buckets, request: Request, bucket: str, name: str) -> Answer:
    buckets.delete(bucket, name, _conditions(request))
    return Answer(204)


def _list(buckets: Buckets, request: Request, bucket: str) -> Answer:
    query = request.query
    after = query.get("start-after") or query.get("marker") or ""
    page = buckets.list(
        bucket,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        first=f"{after}\0" if after else "",
        token=query.get("continuation-token"),
        limit=int(query["max-keys"]) if "max-keys" in query else None,
    )
    items = "".join(
        f"<Contents><Key>{escape(blob.name)}</Key><Generation>{blob.generation}</Generation>"
        f"<LastModified>{blob.updated_at.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}</LastModified>"
        f"<ETag>{escape(blob.etag)}</ETag><Size>{len(blob.data)}</Size>"
        f"<StorageClass>{blob.storage_class}</StorageClass></Contents>"
        for blob in page.blobs
    )
    prefixes = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in page.prefixes)
    token = f"<NextContinuationToken>{page.next_token}</NextContinuationToken>" if page.next_token else ""
    is_more = str(page.next_token is not None).lower()
    return _xml(
        "ListBucketResult",
        f"<Name>{bucket}</Name><Prefix>{escape(query.get('prefix', ''))}</Prefix>"
        f"<IsTruncated>{is_more}</IsTruncated>{token}{items}{prefixes}",
    )


def _begin_or_complete(buckets: Buckets, request: Request, bucket: str, name: str) -> Answer:
    if "uploads" in request.query:
        key = buckets.begin(Upload(bucket, name, _details(request), _conditions(request)))
        fields = f"<Bucket>{bucket}</Bucket><Key>{escape(name)}</Key><UploadId>{key}</UploadId>"
        return _xml("InitiateMultipartUploadResult", fields)
    key = request.query["uploadId"]
    parts = buckets.upload(key).parts
    numbers = [int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)\s*</PartNumber>", request.body)]
    if not numbers or not parts.keys() >= set(numbers):
        raise Refusal(400, "InvalidPart", "One or more of the specified parts could not be found.")
    blob = buckets.finish(key, b"".join(parts[number] for number in sorted(numbers)), forget=True)
    fields = f"<Bucket>{bucket}</Bucket><Key>{escape(name)}</Key><ETag>{escape(blob.etag)}</ETag>"
    return _xml("CompleteMultipartUploadResult", fields, headers={"x-goog-generation": str(blob.generation)})


def _put_part(buckets: Buckets, request: Request, _bucket: str, _name: str) -> Answer:
    buckets.upload(request.query["uploadId"]).parts[int(request.query["partNumber"])] = request.body
    return Answer(200, {"ETag": f'"{len(request.body)}-{request.query["partNumber"]}"'})


def _abort(buckets: Buckets, request: Request, _bucket: str, _name: str) -> Answer:
    buckets.cancel(request.query["uploadId"])
    return Answer(204)


def _conditions(request: Request) -> Conditions:
    def number(name: str) -> int | None:
        value = request.headers.get(name)
        return None if value is None else int(value)

    return Conditions(
        generation=number("x-goog-if-generation-match"),
        metageneration=number("x-goog-if-metageneration-match"),
    )


def _details(request: Request) -> dict[str, object]:
    names = {"content_type": "content-type", "storage_class": "x-goog-storage-class"}
    found: dict[str, object] = {key: request.headers[name] for key, name in names.items() if name in request.headers}
    prefix = "x-goog-meta-"
    found["metadata"] = {
        name.removeprefix(prefix): value for name, value in request.headers.items() if name.startswith(prefix)
    }
    return found


def _headers(blob: Blob) -> dict[str, str]:
    return {
        "ETag": blob.etag,
        "Last-Modified": format_datetime(blob.updated_at, usegmt=True),
        "Content-Type": blob.content_type,
        "x-goog-generation": str(blob.generation),
        "x-goog-metageneration": str(blob.metageneration),
        "x-goog-storage-class": blob.storage_class,
        "x-goog-stored-content-length": str(len(blob.data)),
        **{f"x-goog-meta-{name}": value for name, value in blob.metadata.items()},
    }


def _xml(name: str, fields: str, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    text = f"<?xml version='1.0' encoding='UTF-8'?><{name} xmlns='{NAMESPACE}'>{fields}</{name}>"
    if name == "Error":
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error>{fields}</Error>"
    return Answer(status, {"Content-Type": "application/xml; charset=UTF-8", **(headers or {})}, text.encode())
