"""Whether a balancer does the work that the others do; else it is not compared."""

import gzip
import http.client
import json
import re
import subprocess
import tempfile
import time

import credentials
import load
import rig
import scenarios

ROUNDS = 12


def check(name, process, backends, say):
    """Refuses a balancer that does less than its setup asks for."""
    wait_until_serving(name, process)
    if process.setup in ("plain", "tls"):
        forwarding(name, process, backends["http"])
    if process.setup == "tls":
        negotiation(name, process)
    if process.setup == "gzip":
        size = compression(name, process, rig.JSON)
        say(f"{name} makes {size} bytes of {len(rig.JSON)}")
    if process.setup == "middlewares":
        labels(name, process)
    if process.setup == "grpc":
        calls(name, process, backends["h2c"])


def forwarding(name, process, backends):
    """The headers, keep-alive, all backends."""
    ports = set()
    reused = False
    connection = connect(process)
    host = f"127.0.0.1:{process.port}"
    expected = [host, "127.0.0.1", process.scheme, host, str(process.port), "127.0.0.1"]
    for _ in range(ROUNDS):
        connection.request("GET", "/seen")
        answer = connection.getresponse()
        text = answer.read().decode().strip()
        if answer.status != 200:
            raise rig.Failed(f"{name} answers {answer.status}: {text}")
        port, *headers, requests = text.split("|")
        if headers != expected:
            raise rig.Failed(f"{name} forwards {headers}, not {expected}")
        ports.add(int(port))
        reused = reused or int(requests) > 1
    connection.close()
    all_kept(name, ports, backends, reused)


def all_kept(name, ports, backends, reused):
    if ports != set(backends):
        raise rig.Failed(f"{name} uses the backends {sorted(ports)} of {sorted(backends)}")
    if not reused:
        raise rig.Failed(f"{name} does not keep connections to the backends")


def negotiation(name, process):
    """TLS 1.3, and HTTP/2 for who wants it."""
    context = credentials.context(["h2", "http/1.1"])
    connection = http.client.HTTPSConnection(
        "127.0.0.1", process.port, timeout=10, context=context
    )
    connection.connect()
    agreed = connection.sock.version(), connection.sock.selected_alpn_protocol()
    connection.close()
    if agreed != ("TLSv1.3", "h2"):
        raise rig.Failed(f"{name} agrees to {agreed}")


def compression(name, process, plain):
    """The size of the compressed answer."""
    connection = connect(process)
    connection.request("GET", "/json", headers=scenarios.SCENARIOS["gzip"].fields)
    answer = connection.getresponse()
    packed = answer.read()
    connection.close()
    if answer.getheader("Content-Encoding") != "gzip":
        raise rig.Failed(f"{name} does not compress: {answer.status} {answer.getheaders()}")
    if gzip.decompress(packed) != plain:
        raise rig.Failed(f"{name} compresses something else")
    return len(packed)


def labels(name, process):
    """All of the labels are known: else it would do less."""
    connection = http.client.HTTPConnection("127.0.0.1", process.spare, timeout=10)
    connection.request("GET", "/api/v1/status")
    problems = json.load(connection.getresponse())["problems"]
    connection.close()
    if problems:
        raise rig.Failed(f"{name} has problems with its labels: {problems}")


def calls(name, process, backends):
    """Calls whose message and trailers come back, by kept connections to all backends."""
    ports, reused = set(), False
    for _ in range(ROUNDS):
        fields, length, told = call(process)
        if fields.get("grpc-status") != "0" or length != len(rig.GRPC_MESSAGE):
            raise rig.Failed(f"{name} answers a call with:\n{told}")
        port, requests = fields["x-seen"].split("|")
        ports.add(int(port))
        reused = reused or int(requests) > 1
    all_kept(name, ports, backends, reused)


def call(process):
    """(the fields of the answer, its trailers among them; the bytes of its body;
    what nghttp says of it)"""
    with tempfile.NamedTemporaryFile() as body:
        body.write(rig.GRPC_MESSAGE)
        body.flush()
        command = [
            *("nghttp", "-nv", "--no-verify-peer", "--timeout=10", f"--data={body.name}"),
            *load.headers(scenarios.SCENARIOS["grpc"].fields),
            f"https://127.0.0.1:{process.port}/{scenarios.GRPC_PATH}",
        ]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    fields = dict(re.findall(r"recv \(stream_id=\d+\) (:?[\w-]+): (.*)", done.stdout))
    length = sum(map(int, re.findall(r"recv DATA frame <length=(\d+)", done.stdout)))
    return fields, length, done.stdout + done.stderr


def wait_until_serving(name, process):
    """Some listen before they know their backends."""
    deadline = time.monotonic() + rig.READY_SECONDS
    while True:
        status = serving_status(process)
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise rig.Failed(f"{name} still answers {status} after {rig.READY_SECONDS} s")
        time.sleep(0.05)


def serving_status(process):
    if process.setup == "grpc":
        fields, _, told = call(process)
        return int(fields[":status"]) if ":status" in fields else told
    connection = connect(process)
    connection.request("GET", "/" + scenarios.path("small", process.setup))
    status = connection.getresponse().status
    connection.close()
    return status


def connect(process):
    if process.scheme == "http":
        return http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    context = credentials.context(["http/1.1"])
    return http.client.HTTPSConnection("127.0.0.1", process.port, timeout=10, context=context)
