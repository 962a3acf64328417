"""Calls a server through the balancer: HOW ADDRESS AUTHORITY. Prints what has passed."""

import queue
import sys

import grpc

how, address, authority = sys.argv[1:]
options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
if how == "clear":
    channel = grpc.insecure_channel(address, options=options)
else:
    with open(authority, "rb") as pem:
        credentials = grpc.ssl_channel_credentials(root_certificates=pem.read())
    channel = grpc.secure_channel(address, credentials, options=options)

TIMEOUT = 15


def passed(check):
    print(check, flush=True)


def failure(call, *arguments, **more):
    try:
        told = call(*arguments, **more)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"no failure, but {told!r}")


def same(told, expected):
    assert told == expected, f"{told!r}, not {expected!r}"


def echo():
    """Enough calls that each replica would get some."""
    call = channel.unary_unary("/any.Service/Echo")
    for number in range(20):
        same(call(b"%d" % number, timeout=TIMEOUT), b"%d" % number)
    passed("echo")


def every_kind():
    unary = channel.unary_unary("/test.Calls/Unary")
    same(unary(b"hello", timeout=TIMEOUT), b"hello")
    same(unary(b"", timeout=TIMEOUT), b"")
    passed("unary")

    joined = channel.stream_unary("/test.Calls/ClientStream")
    same(joined(iter([b"a", b"b", b"c"]), timeout=TIMEOUT), b"a+b+c")
    passed("client stream")

    counted = channel.unary_stream("/test.Calls/ServerStream")
    same(list(counted(b"1000", timeout=TIMEOUT)), [b"%d" % number for number in range(1000)])
    passed("server stream")

    doubled = channel.stream_stream("/test.Calls/Bidirectional")
    requests = queue.SimpleQueue()
    answers = doubled(iter(requests.get, None), timeout=TIMEOUT)
    for number in range(10):
        # Each waits for the answer to the one before: nothing may be held back.
        requests.put(b"%d" % number)
        same(next(answers), b"%d" % number * 2)
    requests.put(None)
    same(list(answers), [])
    passed("bidirectional stream")

    calls = [unary.future(b"%d" % number, timeout=TIMEOUT) for number in range(300)]
    same([call.result() for call in calls], [b"%d" % number for number in range(300)])
    passed("many at once")

    large = bytes(range(256)) * (16 << 10)
    assert unary(large, timeout=TIMEOUT) == large
    passed("large message")

    error = failure(channel.unary_unary("/test.Calls/Fail"), b"", timeout=TIMEOUT)
    same(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
    same(error.details(), "not now: 100% \u00e9")
    trailers = dict(error.trailing_metadata())
    same((trailers["reason-bin"], trailers["field"]), (b"\x00\x01\xff", "text"))
    passed("status with details")

    silent = channel.unary_stream("/test.Calls/Silent")
    ended = channel.unary_unary("/test.Calls/HasEnded")
    error = failure(list, silent(b"", timeout=0.5))
    same(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    same(ended(b"", timeout=TIMEOUT), b"yes")
    passed("deadline")

    left = float(channel.unary_unary("/test.Calls/TimeLeft")(b"", timeout=9))
    # The library rounds up.
    assert 5 < left < 10, left
    passed("deadline is passed on")

    stream = silent(b"", timeout=TIMEOUT)
    same(next(stream), b"begun")
    stream.cancel()
    same(stream.code(), grpc.StatusCode.CANCELLED)
    same(ended(b"", timeout=TIMEOUT), b"yes")
    passed("cancellation")

    error = failure(channel.unary_unary("/other.Service/Method"), b"", timeout=TIMEOUT)
    same(error.code(), grpc.StatusCode.UNIMPLEMENTED)
    assert "no_route" in error.details(), error.details()
    passed("no route")

    compressed = grpc.Compression.Gzip
    same(unary(b"x" * 10_000, timeout=TIMEOUT, compression=compressed), b"x" * 10_000)
    passed("no compression of ours")


echo() if how == "echo" else every_kind()
