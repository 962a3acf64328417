"""WebSockets: a backend that echoes, and clients that count the echoes.

Usage: echo.py serve PORT..., or echo.py load PORT CONNECTIONS SECONDS, which
prints JSON. Both are one thread around epoll, and know no more of RFC 6455
than the comparison needs: short binary messages, one frame each.
"""

import base64
import hashlib
import json
import select
import socket
import statistics
import sys
import time

PAYLOAD = b"x" * 32
# A client masks; by a mask of zeros the payload stays as it is.
MASK = bytes(4)
MESSAGE = bytes([0x82, 0x80 | len(PAYLOAD)]) + MASK + PAYLOAD
ECHO = bytes([0x82, len(PAYLOAD)]) + PAYLOAD
KEY = base64.b64encode(bytes(16)).decode()
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BYTES_MAX = 64 * 1024


def main():
    if sys.argv[1] == "serve":
        serve([int(port) for port in sys.argv[2:]])
    else:
        print(json.dumps(load(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))


def serve(ports):
    """Echoes what comes; what is no WebSocket gets 200, as a health check wants."""
    poll = select.epoll()
    listeners, clients = {}, {}
    for port in ports:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        listeners[listener.fileno()] = listener
        poll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number in listeners:
                client, _ = listeners[number].accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[client.fileno()] = (client, None)
                poll.register(client, select.EPOLLIN)
                continue
            client, left = clients[number]
            try:
                came = client.recv(BYTES_MAX)
                left = step(client, left, came) if came else False
            except OSError:
                left = False
            if left is False:
                del clients[number]
                client.close()
            else:
                clients[number] = (client, left)


def step(client, left, came):
    """What is left to be read of a client; None before its request, False at its end."""
    if left is None:
        head = came.decode("latin-1").lower()
        name = "sec-websocket-key: "
        if name not in head:
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return None
        start = head.index(name) + len(name)
        key = came[start : came.index(b"\r", start)]
        accept = base64.b64encode(hashlib.sha1(key + GUID.encode()).digest())
        client.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        return b""
    came = left + came
    whole = len(came) // len(MESSAGE)
    if not all(came.startswith(MESSAGE, at * len(MESSAGE)) for at in range(whole)):
        return False
    client.sendall(ECHO * whole)
    return came[whole * len(MESSAGE) :]


def load(port, connections, seconds):
    """A closed loop: each connection waits for its echo and sends anew."""
    poll = select.epoll()
    clients = {}
    for _ in range(connections):
        client = upgraded(port)
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLIN)
    clock = time.perf_counter
    begin = clock()
    sent, left, took = {}, dict.fromkeys(clients, 0), []
    for number, client in clients.items():
        sent[number] = clock()
        client.send(MESSAGE)
    while (now := clock()) - begin < seconds:
        for number, _ in poll.poll(1):
            client = clients[number]
            left[number] += len(client.recv(BYTES_MAX)) or sys.exit("error: a connection ended")
            if left[number] < len(ECHO):
                continue
            now = clock()
            took.append(now - sent[number])
            left[number] = 0
            sent[number] = now
            client.send(MESSAGE)
    elapsed = clock() - begin
    shares = statistics.quantiles(took, n=100)
    told = {"count": len(took), "elapsed": elapsed}
    return {**told, "p50_ms": shares[49] * 1e3, "p99_ms": shares[98] * 1e3}


def upgraded(port):
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(
        (
            f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        ).encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(1) or sys.exit(f"error: no upgrade: {answer!r}")
    if not answer.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"error: no upgrade: {answer!r}")
    return client


if __name__ == "__main__":
    main()
