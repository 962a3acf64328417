"""What is measured, one row each."""

import collections

Scenario = collections.namedtuple(
    "Scenario", "title setup tool path unit fields", defaults=("request", {})
)

# What h2load keeps busy.
H2_CONNECTIONS = 10
H2_STREAMS = 10
GRPC_PATH = "bench.Echo/Say"

SCENARIOS = {
    "small": Scenario("GET, 3 bytes", "plain", "wrk", "small"),
    "10k": Scenario("GET, 10 KiB", "plain", "wrk", "10k"),
    "1m": Scenario("GET, 1 MiB", "plain", "wrk", "1m"),
    "gzip": Scenario(
        "GET, 10 KiB of JSON, compressed with gzip",
        "gzip",
        "wrk",
        "json",
        fields={"Accept-Encoding": "gzip"},
    ),
    "middlewares": Scenario("GET, 3 bytes, through middlewares", "middlewares", "wrk", "small"),
    "tls-kept": Scenario("Kept alive, GET, 3 bytes", "tls", "wrk", "small"),
    "1m-tls": Scenario("Kept alive, GET, 1 MiB", "tls", "wrk", "1m"),
    "h2-tls": Scenario(
        f"HTTP/2, {H2_CONNECTIONS} connections × {H2_STREAMS} streams, GET, 3 bytes",
        "tls",
        "h2load",
        "small",
    ),
    "tls-full": Scenario(
        "A full handshake and one GET, 3 bytes", "tls", "handshakes", "small", "connection"
    ),
    "tls-resumed": Scenario(
        "A resumed handshake and one GET, 3 bytes", "tls", "handshakes", "small", "connection"
    ),
    "websocket": Scenario(
        "A message of 32 bytes and its echo", "websocket", "echo", "echo", "echo"
    ),
    "grpc": Scenario(
        f"A unary call over TLS, {H2_CONNECTIONS} connections × {H2_STREAMS} streams",
        "grpc",
        "h2load",
        GRPC_PATH,
        "call",
        {"Content-Type": "application/grpc", "TE": "trailers"},
    ),
}
# Middlewares have a path of their own to rewrite.
PATHS = {"middlewares": "edge/small"}


def path(scenario, setup):
    """What is asked for of a balancer that is set up so."""
    return PATHS.get(setup, SCENARIOS[scenario].path)
