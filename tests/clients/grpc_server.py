"""A gRPC server without generated code: messages are bytes. Prints its port."""

import threading
from concurrent import futures

import grpc

ended = threading.Event()


def unary(request, context):
    return request


def client_stream(requests, context):
    return b"+".join(requests)


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def bidirectional(requests, context):
    for request in requests:
        yield request * 2


def fail(request, context):
    context.set_trailing_metadata((("reason-bin", b"\x00\x01\xff"), ("field", "text")))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: 100% \u00e9")


def time_left(request, context):
    return b"%f" % context.time_remaining()


def silent(request, context):
    """Answers nothing until it is broken off, and notes that it was."""
    ended.clear()
    broken_off = threading.Event()
    context.add_callback(broken_off.set)
    yield b"begun"
    broken_off.wait(20)
    ended.set()


def has_ended(request, context):
    return b"yes" if ended.wait(10) else b"no"


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "Bidirectional": grpc.stream_stream_rpc_method_handler(bidirectional),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "TimeLeft": grpc.unary_unary_rpc_method_handler(time_left),
    "Silent": grpc.unary_stream_rpc_method_handler(silent),
    "HasEnded": grpc.unary_unary_rpc_method_handler(has_ended),
}

server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=32),
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", HANDLERS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
