"""A client of one request a connection: handshakes one after another.

Usage: handshakes.py PORT PATH SECONDS full|resumed. Prints JSON. It runs as a
process of its own, pinned away from the balancer.
"""

import json
import socket
import statistics
import sys
import time

import credentials


def main():
    port, path, seconds, kind = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
    context = credentials.context(["http/1.1"])
    request = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    took, resumed, session = [], 0, None
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        started = time.perf_counter()
        session, reused = exchange(context, port, request, session if kind == "resumed" else None)
        took.append(time.perf_counter() - started)
        resumed += reused
    elapsed = time.perf_counter() - begin
    shares = statistics.quantiles(took, n=100)
    told = {"count": len(took), "elapsed": elapsed, "resumed": resumed}
    print(json.dumps({**told, "p50_ms": shares[49] * 1e3, "p99_ms": shares[98] * 1e3}))


def exchange(context, port, request, session):
    """(the session to come back with, whether this one was a return)"""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(plain, server_hostname="localhost", session=session) as stream:
        stream.sendall(request)
        answer = b""
        # The tickets come before the answer.
        while piece := stream.recv(4096):
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"error: {answer[:300]!r}")
        return stream.session, stream.session_reused


if __name__ == "__main__":
    main()
