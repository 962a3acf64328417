"""Compares Evenkeel with its peers: the same load, one CPU each, in turn.

Run it by `make bench`. Settings come from the environment:
ROUNDS, SECONDS_PER_ROUND, PEERS (names), SCENARIOS (those of scenarios.py), EVK_BIN,
RESULTS (a file; empty: print only).
"""

import collections
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import checks
import credentials
import load
import peers
import report
import rig
from scenarios import SCENARIOS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    settings = Settings(os.environ)
    chosen, missing = peers.installed(settings.peers)
    if missing:
        say(f"not installed, left out: {', '.join(missing)} (make bench-peers)")
    if not chosen:
        sys.exit("error: none of the peers is installed; run: make bench-peers")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="evenkeel-bench-"))
    try:
        with rig.Rig(folder, credentials.make(folder)) as machine:
            tables = [run(machine, plan, settings) for plan in plans_of(chosen, settings)]
        page = report.page(tables, chosen, machine, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(page)
    if settings.results:
        settings.results.parent.mkdir(parents=True, exist_ok=True)
        settings.results.write_text(page)
        say(f"written to {settings.results}")


class Settings:
    """What can be chosen from outside."""

    def __init__(self, environment):
        self.rounds = int(environment.get("ROUNDS", "3"))
        self.seconds = int(environment.get("SECONDS_PER_ROUND", "3"))
        self.peers = environment.get("PEERS", " ".join(peers.NAMES)).replace(",", " ").split()
        self.scenarios = (
            environment.get("SCENARIOS", " ".join(SCENARIOS)).replace(",", " ").split()
        )
        results = environment.get("RESULTS", str(ROOT / "docs" / "BENCHMARKS.md"))
        self.results = pathlib.Path(results) if results else None
        unknown = [name for name in self.peers if name not in peers.NAMES]
        unknown += [name for name in self.scenarios if name not in SCENARIOS]
        if unknown or self.rounds < 1 or self.seconds < 1:
            sys.exit(
                f"error: unknown: {unknown}. Peers are {' '.join(peers.NAMES)}, scenarios "
                f"{' '.join(SCENARIOS)}; ROUNDS and SECONDS_PER_ROUND are at least 1"
            )


# Those that compress at the level that is compared.
PACKERS = ("evenkeel", "nginx", "haproxy")

Plan = collections.namedtuple("Plan", "title rows logs scenarios")
Row = collections.namedtuple("Row", "name peer setup")


def plans_of(chosen, settings):
    """The tables that were asked for, in the order of the page."""
    def of(setup):
        return [name for name in settings.scenarios if SCENARIOS[name].setup == setup]

    def rows(setup, names=peers.NAMES):
        return [Row(peer.name, peer, setup) for peer in chosen if peer.name in names]

    plain = of("plain")
    dressed = rows("plain", ("evenkeel",)) + [
        row._replace(name=f"evenkeel, {len(peers.MIDDLEWARES)} labels")
        for row in rows("middlewares", ("evenkeel",))
    ]
    plans = [
        Plan("Access logs off everywhere", rows("plain"), False, plain),
        Plan("Access logs on everywhere", rows("plain"), True, plain[:1]),
        Plan("TLS 1.3", rows("tls"), False, of("tls")),
        Plan("WebSockets", rows("websocket"), False, of("websocket")),
        Plan("gRPC", rows("grpc"), False, of("grpc")),
        Plan("Compression", rows("gzip", PACKERS), False, of("gzip")),
        Plan("Middlewares", dressed, False, of("middlewares")),
    ]
    return [plan for plan in plans if plan.rows and plan.scenarios]


def run(machine, plan, settings):
    """All rounds of one table: {scenario: {row: [Sample]}}.

    Rounds are interleaved, so that whatever else the machine does meets every
    peer alike.
    """
    backends = machine.start_backends()
    running = {
        row.name: machine.start_peer(row.peer, backends, plan.logs, row.setup) for row in plan.rows
    }
    for name, process in running.items():
        checks.check(name, process, backends, say)
    samples = {scenario: {name: [] for name in running} for scenario in plan.scenarios}
    for number in range(settings.rounds):
        for scenario in plan.scenarios:
            for name, process in running.items():
                sample = load.measure(machine, process, scenario, settings.seconds)
                samples[scenario][name].append(sample)
                say(
                    f"{plan.title}, round {number + 1}, {scenario:>5}, "
                    f"{name:>8}: {sample.cpu_us:7.1f} us each, {sample.rate:8.0f}/s"
                )
    machine.stop_all()
    commands = [machine.plain(process.command) for process in running.values()]
    return report.Table(title=plan.title, samples=samples, commands=commands)


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except rig.Failed as failure:
        sys.exit(f"error: {failure}")
