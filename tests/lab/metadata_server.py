"""EC2's metadata service on its real address, for a host of the lab. An interruption starts when a file appears."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NOTICE = Path("/tmp/interrupt")
WARNING_S = 120


class Handler(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self.say(200, "a-token")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
            return self.say(401)
        if self.path.endswith("/spot/instance-action") and NOTICE.exists():
            end = datetime.fromtimestamp(NOTICE.stat().st_mtime + WARNING_S, UTC)
            return self.say(200, f'{{"action": "terminate", "time": "{end:%Y-%m-%dT%H:%M:%SZ}"}}')
        return self.say(404)

    def say(self, status: int, text: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Stay silent."""


if __name__ == "__main__":
    print(f"{time.time()}: {sys.argv}", flush=True)
    ThreadingHTTPServer(("169.254.169.254", 80), Handler).serve_forever()
