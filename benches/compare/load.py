"""The load, and what a round of it measures."""

import collections
import gzip
import http.client
import json
import re
import subprocess
import time

import rig

SCENARIOS = {
    "small": "GET, 3 bytes",
    "10k": "GET, 10 KiB",
    "1m": "GET, 1 MiB",
    "gzip": "GET, 10 KiB of JSON, compressed with gzip",
    "middlewares": "GET, 3 bytes, through middlewares",
}
# The scenarios of each setup; the others are of the plain one.
SPECIAL = ("gzip", "middlewares")
FIELDS = {"gzip": {"Accept-Encoding": "gzip"}}
CONNECTIONS = 64
WARM_UP_SECONDS = 1
CHECKS = 12
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}

Sample = collections.namedtuple("Sample", "user_us system_us cpu_us rate p50_ms p99_ms busy")


def check_same_work(name, process, backends):
    """Refuses a peer that does less than the others: the headers, keep-alive, all backends."""
    wait_until_serving(name, process)
    ports = set()
    reused = False
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    host = f"127.0.0.1:{process.port}"
    expected = [host, "127.0.0.1", "http", host, str(process.port), "127.0.0.1"]
    for _ in range(CHECKS):
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
    if ports != set(backends):
        raise rig.Failed(f"{name} uses the backends {sorted(ports)} of {sorted(backends)}")
    if not reused:
        raise rig.Failed(f"{name} does not keep connections to the backends")


def check_gzip(name, process, plain):
    """The size of the compressed answer; refuses a peer that does not compress."""
    wait_until_serving(name, process)
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    connection.request("GET", "/json", headers=FIELDS["gzip"])
    answer = connection.getresponse()
    packed = answer.read()
    connection.close()
    if answer.getheader("Content-Encoding") != "gzip":
        raise rig.Failed(f"{name} does not compress: {answer.status} {answer.getheaders()}")
    if gzip.decompress(packed) != plain:
        raise rig.Failed(f"{name} compresses something else")
    return len(packed)


def check_middlewares(name, process):
    """Refuses a balancer that does not know all of the labels: it would do less."""
    wait_until_serving(name, process)
    connection = http.client.HTTPConnection("127.0.0.1", process.spare, timeout=10)
    connection.request("GET", "/api/v1/status")
    problems = json.load(connection.getresponse())["problems"]
    connection.close()
    if problems:
        raise rig.Failed(f"{name} has problems with its labels: {problems}")


def wait_until_serving(name, process):
    """Some listen before they know their backends."""
    deadline = time.monotonic() + rig.READY_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
        connection.request("GET", "/" + path("middlewares", process.setup))
        status = connection.getresponse().status
        connection.close()
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise rig.Failed(f"{name} still answers {status} after {rig.READY_SECONDS} s")
        time.sleep(0.05)


def measure(machine, process, scenario, seconds):
    """One round of load on one peer."""
    wrk(machine, process, scenario, WARM_UP_SECONDS)
    before = process.cpu()
    requests, elapsed, p50, p99 = wrk(machine, process, scenario, seconds)
    after = process.cpu()
    user, system = after[0] - before[0], after[1] - before[1]
    return Sample(
        user_us=user / requests * 1e6,
        system_us=system / requests * 1e6,
        cpu_us=(user + system) / requests * 1e6,
        rate=requests / elapsed,
        p50_ms=p50,
        p99_ms=p99,
        busy=(user + system) / elapsed,
    )


def wrk(machine, process, scenario, seconds):
    """(requests, elapsed seconds, p50 ms, p99 ms)"""
    url = f"http://127.0.0.1:{process.port}/{path(scenario, process.setup)}"
    command = wrk_command(url, seconds, FIELDS.get(scenario, {}))
    load = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: rig.confine(machine.others),
    )
    try:
        output, _ = load.communicate(timeout=seconds + 30)
    except BaseException:
        load.kill()
        load.wait()
        raise
    done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", output)
    percentile = {
        share: float(value) * UNITS[unit]
        for share, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)", output)
    }
    wrong = re.search(r"(Socket errors|Non-2xx).*", output)
    if wrong or not done or int(done[1]) == 0 or len(percentile) != 2:
        raise rig.Failed(f"{' '.join(command)} failed:\n{output}")
    elapsed = float(done[2]) * UNITS[done[3]] / 1e3
    return int(done[1]), elapsed, percentile["50"], percentile["99"]


def path(scenario, setup):
    """What is asked for. Middlewares have a path of their own to rewrite."""
    if scenario == "middlewares":
        return "edge/small" if setup == "middlewares" else "small"
    return "json" if scenario == "gzip" else scenario


def wrk_command(url, seconds, fields=None):
    headers = [part for field in (fields or {}).items() for part in ("-H", ": ".join(field))]
    return ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, url]
