"""The results as a page for people."""

import collections
import os
import pathlib
import platform
import shutil
import statistics
import subprocess

import load
from scenarios import SCENARIOS

Table = collections.namedtuple("Table", "title samples commands")


def page(tables, chosen, machine, settings):
    """docs/BENCHMARKS.md, whole."""
    h2load = load.h2load_command("https://127.0.0.1:PORT/small", settings.seconds, "h2-tls", "")
    versions = ", ".join(f"{peer.name} {peer.version}" for peer in chosen)
    parts = [
        INTRODUCTION,
        f"- Machine: {cpu_name()}, {os.cpu_count()} CPUs; Linux {platform.release()}\n"
        f"- Versions: {versions}; load: wrk {wrk_version()}, h2load {h2load_version()}; "
        f"backends: nginx\n"
        f"- {settings.rounds} interleaved rounds of {settings.seconds} s after "
        f"{load.WARM_UP_SECONDS} s of warm-up; medians\n"
        f"- Load: `{' '.join(load.wrk_command('http://127.0.0.1:PORT/small', settings.seconds))}`\n"
        f"- HTTP/2: `{' '.join(h2load)}`\n"
        f"- The balancer on CPU {sorted(machine.measured)}, load and backends on "
        f"{sorted(machine.others)}\n",
    ]
    for table in tables:
        parts.append(f"## {table.title}\n")
        for scenario, samples in table.samples.items():
            parts.append(f"### {SCENARIOS[scenario].title}\n")
            parts.append(rows(samples, SCENARIOS[scenario].unit))
    commands = "\n".join(tables[0].commands) if tables else ""
    parts.append(f"## Command lines\n\n```\n{commands}\n```\n")
    parts.append(FOOTNOTES)
    return "\n".join(parts)


def rows(samples, unit):
    medians = {name: median(rounds) for name, rounds in samples.items()}
    base = medians.get("nginx")
    lines = [
        f"| | CPU µs/{unit} | user | system | × nginx | {unit}s/s | p50 ms | p99 ms | CPU busy |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, sample in sorted(medians.items(), key=lambda item: item[1].cpu_us):
        ratio = f"{sample.cpu_us / base.cpu_us:.2f}" if base else ""
        lines.append(
            f"| {name} | {sample.cpu_us:.1f} | {sample.user_us:.1f} | {sample.system_us:.1f} "
            f"| {ratio} | {sample.rate:,.0f} | {sample.p50_ms:.2f} | {sample.p99_ms:.2f} "
            f"| {sample.busy:.0%} |"
        )
    return "\n".join(lines) + "\n"


def median(rounds):
    """Of each column by itself."""
    return load.Sample(*(statistics.median(column) for column in zip(*rounds)))


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def h2load_version():
    done = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().rsplit("/", 1)[-1] or "?"


def wrk_version():
    done = subprocess.run(
        [shutil.which("wrk"), "-v"], capture_output=True, text=True, timeout=10, check=False
    )
    words = (done.stdout + done.stderr).split()
    return words[1] if len(words) > 1 else "?"


INTRODUCTION = """\
# Benchmarks

Written by `make bench`; the peers are installed by `make bench-peers`. What is
compared is the work of a CPU per request, which says how many requests a
machine can carry; throughput and latency are those of a closed loop that keeps
64 connections busy.
"""

FOOTNOTES = """\
## What is compared

All balancers forward to the same three backends by round robin, keep
connections on both sides, forward `Host` as it came and set `X-Forwarded-For`,
`-Proto`, `-Host`, `-Port` and `X-Real-IP`; before every run one request after
another checks that they do. Each has one worker (`worker_processes 1`,
`nbthread 1`, `--concurrency 1`, `GOMAXPROCS=1`, `--workers 1`), is pinned to a
CPU of its own, and has its metrics on: Prometheus, or `stub_status` in nginx.
Their configurations are in `benches/compare/configs/`.

Over TLS all show the same certificate (ECDSA, P-256), with session tickets as
they come by default. Clients insist on TLS 1.3, AES-128-GCM and X25519, since
balancers differ in what they prefer. A handshake is one connection with one
request, its answer and its end, one connection after another; full ones by a
client that knows nothing, resumed ones by one that shows its newest ticket, and
those that are not resumed fail the run. Backends are spoken to in the clear:
HTTP/1.1, and HTTP/2 with prior knowledge for gRPC.

An echo is a WebSocket message from a client through the balancer to a backend
and back: 64 connections, each with one message on its way. Clients and backend
are Python, so that echoes/s says little.

Compression is gzip at level 6 of 10 KiB of JSON from 256 bytes on. Debian builds
HAProxy with libslz, which has one level: it is faster than zlib's level 1 and
makes larger answers, so that its row is not the same work. The row of
middlewares compares a pool with the labels of `MIDDLEWARES` in
`benches/compare/peers.py` to one without any.

CPU time is `utime` and `stime` from `/proc/PID/stat` over the process and its
children. *CPU busy* is the share of its CPU that the balancer used: where it
stays well below 100 %, the load generator or the backends were the limit, and
requests/s says little. Access logs go to files, in each one's own default
format and buffering (Envoy buffers, the others write each line; HAProxy and
Evenkeel write to their standard output, which is a file).
"""
