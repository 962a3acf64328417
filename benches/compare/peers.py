"""The balancers, each set up to do the same work.

The same headers for the backends, connections kept on both sides, round robin
over three backends, one worker thread, metrics on where there are any.
"""

import os
import pathlib
import re
import shutil
import subprocess

import configs

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "bench-venv"
# What a route may do beside forwarding, each with work to do on every request
# (of `/edge/small`, for which the backends know `/in/small` too) or answer.
MIDDLEWARES = {
    "allow": "127.0.0.0/8",
    "rate": "1000000/s",
    "cors": "https://bench.example",
    "body_limit": "1MiB",
    "strip_prefix": "/edge",
    "add_prefix": "/in",
    "headers.request.X-Bench": "one",
    "headers.response.X-Served-By": "bench",
    "security_headers": "true",
    "compress": "true",
}
# Of each: the labels, whether clients come by TLS, and what is behind.
SETUPS = {
    "plain": ({}, False, "http"),
    "gzip": ({"compress": "gzip"}, False, "http"),
    "middlewares": (MIDDLEWARES, False, "http"),
    "tls": ({}, True, "http"),
    "websocket": ({}, False, "websocket"),
    "grpc": ({}, True, "h2c"),
}
NAMES = ("evenkeel", "nginx", "haproxy", "traefik", "envoy", "caddy")


class Peer:
    """One balancer that is installed here."""

    def __init__(self, name, binary):
        self.name = name
        self.binary = str(binary)
        self.version = version(name, self.binary)

    @staticmethod
    def scheme(setup):
        """How clients of a balancer that is set up so come."""
        return "https" if SETUPS[setup][1] else "http"

    def prepare(self, folder, port, spare, backends, logs, setup, credentials):
        """(command, environment), having written what it reads into `folder`."""
        labels, is_secure, behind = SETUPS[setup]
        setup = configs.Setup(labels, credentials if is_secure else None, behind)
        job = configs.Job(folder, port, spare, backends[behind], logs, setup)
        path = configs.write(self.name, job)
        command = {
            "evenkeel": [self.binary, "run", *flags(job), *([f"--config={path}"] if path else [])],
            "nginx": [self.binary, "-c", str(path), "-p", str(folder)],
            "haproxy": [self.binary, "-db", "-q", "-f", str(path)],
            "traefik": [self.binary, f"--configfile={path}"],
            "envoy": [self.binary, "-c", str(path), "--concurrency", "1", "-l", "error"]
            + ["--use-dynamic-base-id"],
            "caddy": [self.binary, "run", "--config", str(path), "--adapter", "caddyfile"],
        }[self.name]
        environment = {
            "traefik": {"GOMAXPROCS": "1"},
            "caddy": {
                "GOMAXPROCS": "1",
                "XDG_CONFIG_HOME": str(folder),
                "XDG_DATA_HOME": str(folder),
            },
        }.get(self.name, {})
        return command, environment


def flags(job):
    """Evenkeel's, which has few things to write into a file."""
    tls = job.setup.tls
    at = f"127.0.0.1:{job.port}"
    doors = [f"--http={at}"]
    if tls:
        doors = ["--http=127.0.0.1:0", f"--https={at}"]
        doors += [f"--tls-cert={tls.certificate}", f"--tls-key={tls.key}"]
    return [
        "--docker=off",
        *doors,
        f"--admin=127.0.0.1:{job.spare}",
        "--workers=1",
        "--pool=bench=" + ",".join(f"127.0.0.1:{backend}" for backend in job.backends),
        f"--access-log={'combined' if job.logs else 'off'}",
    ]


def installed(names):
    """(the peers that are here, the names of those that are not)"""
    found = {name: locate(name) for name in names}
    here = [Peer(name, binary) for name, binary in found.items() if binary]
    return here, [name for name, binary in found.items() if not binary]


def locate(name):
    """The binary itself, so that no wrapper is measured with it."""
    if name == "evenkeel":
        binary = pathlib.Path(
            os.environ.get("EVK_BIN", ROOT / "target" / "release" / "evenkeel")
        )
        return binary if binary.is_file() else None
    for inside in sorted(VENV.glob(f"lib/python*/site-packages/**/_bin/{name}")):
        return inside
    scripts = VENV / "bin" / name
    return scripts if scripts.is_file() else shutil.which(name)


def version(name, binary):
    flag = {"nginx": "-v", "haproxy": "-v", "traefik": "version", "caddy": "version"}
    done = subprocess.run(
        [binary, flag.get(name, "--version")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "?"
