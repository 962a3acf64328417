"""The load, and what a round of it measures."""

import collections
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

import rig
from scenarios import H2_CONNECTIONS, H2_STREAMS, SCENARIOS, path

CONNECTIONS = 64
WARM_UP_SECONDS = 1
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
# Of those who come back, so many must be known again.
RESUMED_LEAST = 0.95

Sample = collections.namedtuple("Sample", "user_us system_us cpu_us rate p50_ms p99_ms busy")


def measure(machine, process, scenario, seconds):
    """One round of load on one peer."""
    tool = TOOLS[SCENARIOS[scenario].tool]
    tool(machine, process, scenario, WARM_UP_SECONDS)
    before = process.cpu()
    done, elapsed, p50, p99 = tool(machine, process, scenario, seconds)
    after = process.cpu()
    user, system = after[0] - before[0], after[1] - before[1]
    return Sample(
        user_us=user / done * 1e6,
        system_us=system / done * 1e6,
        cpu_us=(user + system) / done * 1e6,
        rate=done / elapsed,
        p50_ms=p50,
        p99_ms=p99,
        busy=(user + system) / elapsed,
    )


def wrk(machine, process, scenario, seconds):
    """(requests, elapsed seconds, p50 ms, p99 ms), as of the other tools."""
    command = wrk_command(url(process, scenario), seconds, SCENARIOS[scenario].fields)
    output = run(machine, command, seconds)
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


def h2load(machine, process, scenario, seconds):
    with tempfile.TemporaryDirectory(dir=machine.folder) as folder:
        log, body = f"{folder}/log", f"{folder}/body"
        command = h2load_command(url(process, scenario), seconds, scenario, body)
        with open(body, "wb") as file:
            file.write(rig.GRPC_MESSAGE)
        output = run(machine, [*command, f"--log-file={log}"], seconds)
        with open(log, encoding="ascii") as lines:
            took = [int(line.split()[2]) / 1e3 for line in lines]
    done = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", output)
    if not done or int(done[3]) or int(done[2]) == 0 or len(took) < 2:
        raise rig.Failed(f"{' '.join(command)} failed:\n{output}")
    shares = statistics.quantiles(took, n=100)
    # In a run that is timed it counts those of its time.
    return int(done[2]), seconds, shares[49], shares[98]


def handshakes(machine, process, scenario, seconds):
    kind = "resumed" if scenario == "tls-resumed" else "full"
    what = path(scenario, process.setup)
    told = own(machine, "handshakes.py", [process.port, what, seconds, kind])
    resumed = told["resumed"] / told["count"]
    if kind == "resumed" and resumed < RESUMED_LEAST or kind == "full" and resumed:
        raise rig.Failed(f"{resumed:.0%} of the handshakes at {process.port} were resumed")
    return told["count"], told["elapsed"], told["p50_ms"], told["p99_ms"]


def echo(machine, process, scenario, seconds):
    told = own(machine, "echo.py", ["load", process.port, CONNECTIONS, seconds])
    return told["count"], told["elapsed"], told["p50_ms"], told["p99_ms"]


TOOLS = {"wrk": wrk, "h2load": h2load, "handshakes": handshakes, "echo": echo}


def own(machine, script, arguments):
    """What a client of ours prints, which is JSON."""
    command = [sys.executable, "-B", str(rig.HERE / script), *map(str, arguments)]
    output = run(machine, command, arguments[2])
    try:
        return json.loads(output)
    except ValueError:
        raise rig.Failed(f"{' '.join(command)} failed:\n{output}") from None


def run(machine, command, seconds):
    """What the command prints, pinned away from the balancer."""
    load = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OPENSSL_CONF": str(machine.credentials.client)},
        preexec_fn=lambda: rig.confine(machine.others),
    )
    try:
        output, _ = load.communicate(timeout=float(seconds) + 30)
    except BaseException:
        load.kill()
        load.wait()
        raise
    return output


def url(process, scenario):
    return f"{process.scheme}://127.0.0.1:{process.port}/{path(scenario, process.setup)}"


def wrk_command(at, seconds, fields=None):
    return ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers(fields), at]


def h2load_command(at, seconds, scenario, body):
    fields = SCENARIOS[scenario].fields
    posts = [f"--data={body}"] if fields else []
    streams = [f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}", f"-D{seconds}"]
    return ["h2load", "-t1", *streams, *headers(fields), *posts, at]


def headers(fields):
    return [part for field in (fields or {}).items() for part in ("-H", ": ".join(field))]
