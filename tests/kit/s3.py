"""A real S3 server (moto's, in a process of its own) behind a gate that can be shut, slowed down and opened again."""

import contextlib
import json
import os
import re
import select
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config

from tests.kit.ports import free_port

ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
_RUNNING = re.compile(rb"Running on http://127\.0\.0\.1:(\d+)")
_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class S3:
    """``with S3(folder) as s3:``. ``s3.url`` leads through the gate, which ``Gate`` describes."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._users: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONWARNINGS": ""})
        port = self._port()
        self.gate = Gate(port)
        self.url = f"http://127.0.0.1:{self.gate.port}"
        self._direct = f"http://127.0.0.1:{port}"
        self.client = self._client("s3")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.gate.close()
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def make_bucket(self, name: str) -> None:
        self.client.create_bucket(Bucket=name)

    def keys(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """The objects and their sizes."""
        found = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return {each["Key"]: each["Size"] for each in found.get("Contents", [])}

    def read(self, bucket: str, key: str) -> bytes:
        with contextlib.closing(self.client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            content = body.read()
        assert isinstance(content, bytes)
        return content

    def content_type(self, bucket: str, key: str) -> str:
        return str(self.client.head_object(Bucket=bucket, Key=key)["ContentType"])

    def open_uploads(self, bucket: str) -> list[str]:
        found = self.client.list_multipart_uploads(Bucket=bucket)
        return [each["Key"] for each in found.get("Uploads", [])]

    def abort_uploads(self, bucket: str) -> None:
        """As a rule of the bucket does with those that nobody finishes."""
        for each in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])

    def puts(self) -> list[str]:
        """Of the log: the paths of requests that stored a whole object, in order."""
        return re.findall(r'"(?:\x1b\[\d+m)*PUT (/\S+?)(?:\?x-id=PutObject)? HTTP/1.1(?:\x1b\[\d+m)*" 200', self.log())

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def take_only(self, user: str) -> tuple[str, str]:
        """From now on every request must be signed by a key that the server knows; gives a user's keys."""
        if user not in self._users:
            self.take_anyone()
            iam = self._client("iam")
            iam.create_user(UserName=user)
            iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=json.dumps(_EVERYTHING))
            key = iam.create_access_key(UserName=user)["AccessKey"]
            iam.close()
            self._users[user] = key["AccessKeyId"], key["SecretAccessKey"]
        self._authenticate(0)
        self.client.close()
        self.client = self._client("s3", *self._users[user])
        return self._users[user]

    def revoke(self, user: str) -> None:
        """That key of ``take_only`` is not known any more."""
        access_key, _ = self._users.pop(user)
        self.take_anyone()
        iam = self._client("iam")
        iam.delete_access_key(UserName=user, AccessKeyId=access_key)
        iam.close()
        self._authenticate(0)

    def take_anyone(self) -> None:
        self._authenticate(float("inf"))

    def _authenticate(self, after: float) -> None:
        asked = Request(
            f"{self._direct}/moto-api/reset-auth",
            data=str(after).encode(),
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        with urlopen(asked) as answer:
            assert answer.status == 200

    def _client(self, service: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._direct,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def _port(self) -> int:
        deadline = time.monotonic() + 60
        assert self._process is not None
        while time.monotonic() < deadline:
            if found := _RUNNING.search(self._log.read_bytes()):
                return int(found[1])
            assert self._process.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(f"the S3 server does not start\n{self.log()}")


class Gate:
    """Passes connections to a port of this machine. ``shut``: they are refused. ``bytes_per_second``: what comes in
    passes so slowly; 0 stops it, and the connections hang."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.bytes_per_second = float("inf")
        self._sockets: set[socket.socket] = set()
        self._server: socketserver.ThreadingTCPServer | None = None
        self.port = free_port()
        self.open()

    def open(self) -> None:
        gate = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                gate._pass(self.request)

        class GateServer(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None: ...

        self._server = GateServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def shut(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    close = shut

    def _pass(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            self._sockets |= {client, server}
            try:
                self._pump(client, server)
            except OSError:
                pass
            finally:
                self._sockets -= {client, server}

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            if (speed := self.bytes_per_second) <= 0:
                time.sleep(0.05)
                if client.fileno() < 0:
                    return
                continue
            for source in select.select([client, server], [], [], 0.2)[0]:
                data = source.recv(16_384)
                if not data:
                    return
                if source is client:
                    time.sleep(min(len(data) / speed, 5))
                    server.sendall(data)
                else:
                    client.sendall(data)
