"""A server for online W&B runs: what W&B's own process needs to hear, and a note of what it said."""

import contextlib
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Request(NamedTuple):
    """What was asked for, a path or the name of a query, and with what."""

    name: str
    content: dict


class WandbServer(ThreadingHTTPServer):
    """Answers every question of an online run until it is told to stop."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        """Nothing listens any more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """Its process is killed at times."""

    def contents(self, name):
        """The content of all requests whose name ends so."""
        return [request.content for request in self.requests if request.name.endswith(name)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        content = {}
        with contextlib.suppress(ValueError):
            content = json.loads(body)
        answer, name = {}, self.path
        if self.path == "/graphql":
            name, variables = content["operationName"], content.get("variables", {})
            answer = {"data": self.data(name, variables)}
        self.server.requests.append(Request(name, variables if self.path == "/graphql" else content))
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST  # noqa: N815

    def data(self, name, variables):
        if name == "UpsertBucket":
            project = {"id": "p", "name": "tests", "entity": {"id": "e", "name": "team"}}
            bucket = {"id": "b", "name": variables["name"], "displayName": "shown", "project": project}
            rest = {"description": None, "config": None, "sweepName": None, "historyLineCount": 0}
            return {"upsertBucket": {"bucket": bucket | rest, "inserted": True}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.server.url}/{file}"} for file in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}

    def log_message(self, *arguments):
        pass
