"""The JSON API of Google Cloud Storage, `/storage/v1/b/<bucket>/o/<object>`, as google-cloud-storage and gcsfs use it.

Source: https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tradewind.testing.gcs_buckets import Blob, Buckets, Conditions, Refusal, Upload
from tradewind.testing.gcs_exchange import Answer, Request, ranged

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", r"/storage/v1/b", "_make_bucket"),
    ("GET", r"/storage/v1/b/([^/]+)", "_get_bucket"),
    ("PATCH", r"/storage/v1/b/([^/]+)", "_change_bucket"),
    ("GET", r"/storage/v1/b/([^/]+)/storageLayout", "_get_layout"),
    ("GET", r"/storage/v1/b/([^/]+)/o/?", "_list"),
    ("GET", r"(?:/download)?/storage/v1/b/([^/]+)/o/(.+)", "_get"),
    ("PATCH", r"/storage/v1/b/([^/]+)/o/(.+)", "_change"),
    ("DELETE", r"/storage/v1/b/([^/]+)/o/(.+)", "_delete"),
    ("POST", r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/(.+)", "_rewrite"),
    ("POST", r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o", "_upload"),
    ("PUT", r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o", "_resume"),
    ("DELETE", r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o", "_cancel"),
    ("POST", r"/batch/storage/v1", "_batch"),
)


def answers_json(path: str) -> bool:
    return path.startswith(("/storage/v1", "/upload/", "/resumable/", "/download/", "/batch/"))


def answer_json(buckets: Buckets, request: Request) -> Answer:
    for method, pattern, name in ROUTES:
        found = re.fullmatch(pattern, request.path)
        if found and method == request.method:
            route: Callable[..., Answer] = globals()[name]
            return route(buckets, request, *(unquote(part) for part in found.groups()))
    raise Refusal(405, "methodNotAllowed", f"{request.method} {request.path} is not known here.")


def refusal_json(refusal: Refusal) -> Answer:
    reason = {404: "notFound", 412: "conditionNotMet", 409: "conflict"}.get(refusal.status, refusal.code)
    error = {"message": refusal.message, "domain": "global", "reason": reason}
    return _json({"error": {"code": refusal.status, "message": refusal.message, "errors": [error]}}, refusal.status)


def _make_bucket(buckets: Buckets, request: Request) -> Answer:
    name = json.loads(request.body)["name"]
    buckets.make(name)
    return _get_bucket(buckets, request, name)


def _get_bucket(buckets: Buckets, _request: Request, bucket: str) -> Answer:
    buckets.bucket(bucket)
    settings = buckets.settings[bucket]
    return _json({"kind": "storage#bucket", "id": bucket, "name": bucket, "storageClass": "STANDARD", **settings})


def _change_bucket(buckets: Buckets, request: Request, bucket: str) -> Answer:
    """Life-cycle rules are kept and given back; nobody acts on them."""
    buckets.bucket(bucket)
    buckets.settings[bucket].update(json.loads(request.body))
    return _get_bucket(buckets, request, bucket)


def _get_layout(buckets: Buckets, _request: Request, bucket: str) -> Answer:
    buckets.bucket(bucket)
    return _json({"kind": "storage#storageLayout", "bucket": bucket, "hierarchicalNamespace": {"enabled": False}})


def _list(buckets: Buckets, request: Request, bucket: str) -> Answer:
    query = request.query
    page = buckets.list(
        bucket,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        first=query.get("startOffset", ""),
        token=query.get("pageToken"),
        limit=int(query["maxResults"]) if "maxResults" in query else None,
    )
    end = query.get("endOffset")
    items = [_resource(blob, request) for blob in page.blobs if end is None or blob.name < end]
    found: dict[str, Any] = {"kind": "storage#objects", "items": items}
    found |= {"prefixes": page.prefixes} if page.prefixes else {}
    return _json(found | ({"nextPageToken": page.next_token} if page.next_token else {}))


def _get(buckets: Buckets, request: Request, bucket: str, name: str) -> Answer:
    blob = buckets.get(bucket, name, _conditions(request))
    if request.query.get("generation") not in (None, str(blob.generation)):
        raise Refusal(404, "notFound", f"No such object: {bucket}/{name}")
    if request.query.get("alt") != "media":
        return _json(_resource(blob, request))
    headers = {
        "Content-Type": blob.content_type,
        "ETag": blob.etag,
        "x-goog-generation": str(blob.generation),
        "x-goog-metageneration": str(blob.metageneration),
        "x-goog-storage-class": blob.storage_class,
        "x-goog-hash": f"crc32c={blob.crc32c},md5={base64.b64encode(blob.md5).decode()}",
    }
    return ranged(blob.data, request.headers.get("range"), headers)


def _change(buckets: Buckets, request: Request, bucket: str, name: str) -> Answer:
    wanted = json.loads(request.body)
    details = {key: wanted[field] for field, key in CHANGEABLE.items() if field in wanted}
    if "metadata" in details:
        before = buckets.get(bucket, name).metadata
        details["metadata"] = {
            key: value for key, value in {**before, **details["metadata"]}.items() if value is not None
        }
    return _json(_resource(buckets.change(bucket, name, _conditions(request), **details), request))


def _delete(buckets: Buckets, request: Request, bucket: str, name: str) -> Answer:
    buckets.delete(bucket, name, _conditions(request))
    return Answer(204)


def _rewrite(buckets: Buckets, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Answer:
    source = buckets.get(bucket, name)
    details = {
        "content_type": source.content_type,
        "storage_class": source.storage_class,
        "metadata": source.metadata,
        **_details(json.loads(request.body or b"{}")),
    }
    blob = buckets.put(to_bucket, to_name, source.data, _conditions(request), **details)
    resource, size = _resource(blob, request), str(len(blob.data))
    if "/copyTo/" in request.path:
        return _json(resource)
    rewrite = {"kind": "storage#rewriteResponse", "done": True, "totalBytesRewritten": size, "objectSize": size}
    return _json(rewrite | {"resource": resource})


def _upload(buckets: Buckets, request: Request, bucket: str) -> Answer:
    if "upload_id" in request.query:  # gcsfs sends pieces with POST
        return _resume(buckets, request, bucket)
    kind = request.query.get("uploadType")
    if kind == "media":
        details = _details({"contentType": request.headers.get("content-type", "application/octet-stream")})
        blob = buckets.put(bucket, request.query["name"], request.body, _conditions(request), **details)
        return _json(_resource(blob, request))
    if kind == "multipart":
        described, content_type, data = _two_parts(request)
        details = {"content_type": content_type, **_details(described)}
        name = described.get("name") or request.query["name"]
        return _json(_resource(buckets.put(bucket, name, data, _conditions(request), **details), request))
    if kind == "resumable":
        described = json.loads(request.body or b"{}")
        name = described.get("name") or request.query["name"]
        media = request.headers.get("x-upload-content-type", "application/octet-stream")
        upload = Upload(bucket, name, {"content_type": media, **_details(described)}, _conditions(request))
        key = buckets.begin(upload)
        place = f"{request.endpoint}{request.path}?uploadType=resumable&name={quote(name, safe='')}&upload_id={key}"
        return Answer(200, {"Location": place, "X-GUploader-UploadID": key})
    raise Refusal(400, "invalid", f"{kind} is no kind of upload.")


def _resume(buckets: Buckets, request: Request, _bucket: str) -> Answer:
    """A piece of a resumable upload; bytes that came before are not taken again."""
    key = request.query["upload_id"]
    upload = buckets.upload(key)
    if upload.finished:
        return _json(_resource(upload.finished, request))
    span = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("content-range") or "")
    start = int(span[1]) if span and span[1] else len(upload.received) if span else 0
    if start > len(upload.received):
        raise Refusal(400, "invalid", "There is a gap before this piece.")
    with buckets.lock:
        upload.received[start:] = request.body if not span or span[1] else upload.received[start:]
    total = span[3] if span else str(len(upload.received))
    if total != "*" and int(total) == len(upload.received):
        return _json(_resource(buckets.finish(key, bytes(upload.received), forget=False), request))
    return Answer(308, {"Range": f"bytes=0-{len(upload.received) - 1}"} if upload.received else {})


def _cancel(buckets: Buckets, request: Request, _bucket: str) -> Answer:
    buckets.cancel(request.query["upload_id"])
    return Answer(499)


def _batch(buckets: Buckets, request: Request) -> Answer:
    """Several requests in one, each in a part of its own."""
    answers = []
    for part in _mime_parts(request):
        text = bytes(part.get_payload(decode=True) or b"")
        head, _, body = text.replace(b"\r\n", b"\n").partition(b"\n\n")
        line, *lines = head.decode().split("\n")
        method, target, *_ = line.split()
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        url = urlsplit(target)
        inner = Request(method, url.path, dict(parse_qsl(url.query)), headers, body, request.endpoint)
        try:
            answer = answer_json(buckets, inner)
        except Refusal as refusal:
            answer = refusal_json(refusal)
        answers.append(_batched(part.get("Content-ID", ""), answer))
    body = b"".join(b"--batch\r\n" + answer for answer in answers) + b"--batch--\r\n"
    return Answer(200, {"Content-Type": "multipart/mixed; boundary=batch"}, body)


def _batched(content_id: str, answer: Answer) -> bytes:
    head = f"Content-Type: application/http\r\nContent-ID: <response-{content_id.strip('<>')}>\r\n\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    status = f"HTTP/1.1 {answer.status} {'OK' if answer.status < 300 else 'Error'}\r\n{lines}"
    return f"{head}{status}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body + b"\r\n"


CHANGEABLE = {"contentType": "content_type", "storageClass": "storage_class", "metadata": "metadata"}


def _details(described: dict[str, Any]) -> dict[str, Any]:
    return {key: described[field] for field, key in CHANGEABLE.items() if described.get(field)}


def _two_parts(request: Request) -> tuple[dict[str, Any], str, bytes]:
    """The description and the bytes, taken apart by hand: a mail parser would alter line ends."""
    found = re.search(r"boundary=\"?'?([^\"';]+)", request.headers.get("content-type") or "")
    if not found:
        raise Refusal(400, "badRequest", "There is no boundary between the parts.")
    mark = b"--" + found[1].encode()
    line_end = b"\r\n" if mark + b"\r\n" in request.body else b"\n"
    _, first, rest = request.body.split(mark + line_end, 2)
    described = json.loads(first.split(line_end * 2, 1)[1])
    second = rest[: rest.rindex(line_end + mark)]
    head, _, data = second.partition(line_end * 2)
    content_type = re.search(rb"content-type:\s*([^\r\n]+)", head, re.IGNORECASE)
    return described, content_type[1].decode() if content_type else "application/octet-stream", data


def _mime_parts(request: Request) -> list[Any]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + request.body).get_payload()
    return list(parts)


def _conditions(request: Request) -> Conditions:
    def number(name: str) -> int | None:
        value = request.query.get(name)
        return None if value is None else int(value)

    return Conditions(number("ifGenerationMatch"), number("ifGenerationNotMatch"), number("ifMetagenerationMatch"))


def _resource(blob: Blob, request: Request) -> dict[str, Any]:
    link = f"{request.endpoint}/storage/v1/b/{blob.bucket}/o/{quote(blob.name, safe='')}"
    return {
        "kind": "storage#object",
        "id": f"{blob.bucket}/{blob.name}/{blob.generation}",
        "selfLink": link,
        "mediaLink": f"{link.replace('/storage/', '/download/storage/', 1)}?generation={blob.generation}&alt=media",
        "name": blob.name,
        "bucket": blob.bucket,
        "generation": str(blob.generation),
        "metageneration": str(blob.metageneration),
        "contentType": blob.content_type,
        "storageClass": blob.storage_class,
        "size": str(len(blob.data)),
        "md5Hash": base64.b64encode(blob.md5).decode(),
        "crc32c": blob.crc32c,
        "etag": base64.b64encode(str(blob.generation).encode()).decode(),
        "timeCreated": blob.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "updated": blob.updated_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        **({"metadata": blob.metadata} if blob.metadata else {}),
    }


def _json(content: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(content).encode())
