"""Processes on their CPUs, and what those cost."""

import ctypes
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

import scenarios

HERE = pathlib.Path(__file__).resolve().parent
BACKENDS = 3
READY_SECONDS = 20
STOP_SECONDS = 5
PR_SET_PDEATHSIG = 1
TICKS = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """The comparison cannot be made; the text says why and what to do."""


class Process:
    """One program that we started, its children included."""

    def __init__(self, command, cpus, log, environment=None):
        self.command = command
        self.log = log
        self.port = None
        self.setup, self.scheme = "plain", "http"
        self.spare = None
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=lambda: confine(cpus),
            )

    def wait_for(self, port):
        """Returns when somebody listens on the port of loopback."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                self.port = port
                return
            except OSError:
                time.sleep(0.02)
        tail = pathlib.Path(self.log).read_text(errors="replace")[-2000:]
        raise Failed(f"{' '.join(self.command)} does not listen on {port}; it wrote:\n{tail}")

    def cpu(self):
        """(user, system) seconds of the process and its living children."""
        ticks = [stat_of(pid) for pid in self.family()]
        return sum(t[0] for t in ticks) / TICKS, sum(t[1] for t in ticks) / TICKS

    def family(self):
        pids = [self.child.pid]
        for pid in pids:
            try:
                children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            except OSError:
                continue
            pids.extend(int(child) for child in children.split())
        return pids

    def stop(self):
        family = self.family()
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # A master that is killed leaves its workers behind.
            for pid in reversed(family):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.child.wait()


class Rig:
    """The machine: one CPU for what is measured, the others for the rest."""

    def __init__(self, folder, credentials):
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise Failed("two CPUs are needed: one for the balancer, one for the load")
        self.folder = folder
        self.measured = {cpus[-1]}
        self.others = set(cpus[:-1])
        self.processes = []
        self.credentials = credentials

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_all()

    def start_backends(self):
        """{kind: ports}. One nginx worker on several ports, as cheap as a backend
        can be, and a process that echoes WebSockets."""
        ports = free_ports(3 * BACKENDS)
        http, h2c, websocket = (ports[kind::3] for kind in range(3))
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        (files / "10k").write_bytes(b"x" * 10 * 1024)
        (files / "1m").write_bytes(b"x" * 1024 * 1024)
        (files / "json").write_bytes(JSON)
        for path in ("message", scenarios.GRPC_PATH):
            (files / path).parent.mkdir(exist_ok=True)
            (files / path).write_bytes(GRPC_MESSAGE)
        listens = {
            "listens": lines(f"listen 127.0.0.1:{port} backlog=1024;" for port in http),
            "h2c_listens": lines(f"listen 127.0.0.1:{port} http2 backlog=1024;" for port in h2c),
        }
        text = BACKEND.format(
            **listens,
            folder=self.folder,
            files=files,
            paths=nginx_paths(self.folder),
            user=nginx_user(),
        )
        config = self.folder / "backend.conf"
        config.write_text(text)
        process = self.start(["nginx", "-c", str(config), "-p", str(self.folder)], self.others)
        for port in [*http, *h2c]:
            process.wait_for(port)
        echo = [sys.executable, "-B", str(HERE / "echo.py"), "serve", *map(str, websocket)]
        process = self.start(echo, self.others)
        for port in websocket:
            process.wait_for(port)
        return {"http": http, "h2c": h2c, "websocket": websocket}

    def start_peer(self, peer, backends, logs, setup):
        """Starts one balancer on the measured CPU."""
        port, spare = free_ports(2)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{peer.name}-{setup}-", dir=self.folder))
        prepared = (folder, port, spare, backends, logs, setup, self.credentials)
        command, environment = peer.prepare(*prepared)
        process = self.start(command, self.measured, folder / "output", environment)
        process.setup, process.spare = setup, spare
        process.scheme = peer.scheme(setup)
        process.wait_for(port)
        return process

    def start(self, command, cpus, log=None, environment=None):
        settings = {**os.environ, **(environment or {})}
        process = Process(command, cpus, log or self.folder / "output", settings)
        self.processes.append(process)
        return process

    def plain(self, command):
        """The command line without the paths of this machine."""
        line = " ".join([pathlib.Path(command[0]).name, *command[1:]])
        return line.replace(str(self.folder), "DIR")

    def stop_all(self):
        while self.processes:
            self.processes.pop().stop()


def confine(cpus):
    """In the child: keep to these CPUs, and do not outlive us."""
    os.sched_setaffinity(0, cpus)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stat_of(pid):
    """utime and stime of proc(5), in ticks; nothing for one that has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0, 0
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[11]), int(fields[12])


def free_ports(count):
    """Ports nobody listens on, held together so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def nginx_user():
    """The worker must be able to read our private folder."""
    return "user root root;" if os.geteuid() == 0 else ""


def nginx_paths(folder):
    """Where nginx may write, so that it needs no folder of the system."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)


def json_list(size):
    """A list of records such as an API gives, just over `size`, always the same."""
    dice = random.Random(7)
    words = "alder birch cedar elder hazel larch maple rowan spruce willow".split()
    records = []
    while len(json.dumps(records)) < size:
        records.append(
            {
                "id": dice.randrange(10**9),
                "name": f"{dice.choice(words)} {dice.choice(words)}",
                "price": dice.randrange(10**5) / 100,
                "tags": dice.sample(words, 3),
                "updated_at": f"2026-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}",
            }
        )
    return json.dumps(records).encode()


def lines(texts):
    return "\n".join(f"        {text}" for text in texts)


# Its flag, its length, and a field 1 of text.
GRPC_MESSAGE = bytes([0, 0, 0, 0, 7, 0x0A, 5]) + b"hello"
JSON = json_list(10 * 1024)
BACKEND = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/backend.pid;
error_log {folder}/backend.log error;
events {{ worker_connections 4096; }}
http {{
{paths}
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    server {{
{h2c_listens}
        root {files};
        location = /message {{
            default_type application/grpc;
            add_header X-Seen "$server_port|$connection_requests";
            add_trailer grpc-status 0;
        }}
        # A file answers no POST, but another may stand for the refusal. Who
        # mirrors reads the body first, as a gRPC server does.
        location / {{ mirror /mirror; error_page 405 =200 /message; }}
        location = /mirror {{ internal; return 204; }}
    }}
    server {{
{listens}
        root {files};
        location = /small {{ return 200 "ok\\n"; }}
        location = /in/small {{ return 200 "ok\\n"; }}
        location = /edge/small {{ return 200 "ok\\n"; }}
        location = /json {{ default_type application/json; }}
        location = /seen {{
            return 200 "$server_port|$http_host|$http_x_forwarded_for|$http_x_forwarded_proto|$http_x_forwarded_host|$http_x_forwarded_port|$http_x_real_ip|$connection_requests\\n";
        }}
    }}
}}
"""
