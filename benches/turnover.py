#!/usr/bin/env python3
"""Turnover: a steady load of claims with a short ttl, the worker sweeping beside it.

turnover.py NN OUT [TTL SECONDS RATE]  on a private cluster of PostgreSQL NN, in which an optimized build is
installed (pgrx-config/install.sh NN --release) and which has nothing else to do. It writes OUT.md and OUT.svg:
sizes against what a table of the live claims alone would take, and the latency of a claim with and without sweeps.
"""
import subprocess, sys, tempfile, time
from bisect import bisect_left
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = "turnover"
CLIENTS = 2

major, out = sys.argv[1], Path(sys.argv[2])
ttl, seconds, rate = (int(value) for value in (sys.argv[3:] or ["6", "360", "800"]))


def said(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def program(name):
    return str(Path(said(ROOT / "pgrx-config/pg_config.sh", major)).parent / name)


def start(settings):
    said(ROOT / "pgrx-config/cluster.sh", "drop", CLUSTER)
    file = Path(settings) / "preload.conf"
    file.write_text("shared_preload_libraries = 'pg_once'\n")
    return said(ROOT / "pgrx-config/cluster.sh", "start", CLUSTER, major, file)


def client(name, *arguments):
    return [program(name), "-h", socket, "-U", "postgres", *arguments]


def sql(text, database="turnover"):
    return said(*client("psql", "-X", "-A", "-t", "-q", "-d", database, "-c", text))


def sweep_interval(value):
    sql(f"ALTER SYSTEM SET pg_once.sweep_interval = {value}")
    sql("SELECT pg_reload_conf()")


class Load:
    """Claims at a steady rate, in the background, and a look fifty times a second at whether a sweeper is there."""

    def __init__(self, directory, name, duration):
        self.logs, self.seen = Path(directory) / name, Path(directory) / f"{name}.seen"
        script = Path(directory) / "claim.sql"
        script.write_text(
            f"\\set key random(1, 9000000000000000000)\nSELECT claim_once_per('{ttl} s', 'turnover', :key);\n")
        looks = Path(directory) / "look.sql"
        looks.write_text("SELECT extract(epoch FROM clock_timestamp()), count(*) FROM pg_stat_activity"
                         " WHERE backend_type = 'pg_once sweeper' \\watch 0.02\n")
        self.claims = subprocess.Popen(
            client("pgbench", "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "1", "-R", str(rate), "-T", str(duration),
                   "-f", str(script), "-l", f"--log-prefix={self.logs}", "turnover"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.looks = subprocess.Popen(
            client("psql", "-X", "-A", "-t", "-q", "-F", " ", "-d", "turnover", "-f", str(looks)),
            stdout=self.seen.open("w"), stderr=subprocess.DEVNULL)

    def running(self):
        return self.claims.poll() is None

    def wait(self):
        if self.claims.wait():
            sys.exit("pgbench failed")
        self.looks.terminate()
        self.looks.wait()
        return self

    def latencies(self):
        """Of each claim when it was answered, and how long that took from when it was sent, in milliseconds."""
        for log in self.logs.parent.glob(f"{self.logs.name}.*"):
            if log == self.seen:
                continue
            for fields in (line.split() for line in log.read_text().splitlines()):
                if fields[2].isdigit():
                    yield int(fields[4]) + int(fields[5]) / 1e6, (int(fields[2]) - int(fields[6])) / 1000

    def while_sweeping(self):
        """The latencies of claims that were answered while a sweeper was seen."""
        looks = [line.split() for line in self.seen.read_text().splitlines() if len(line.split()) == 2]
        times, there = [float(at) for at, _ in looks], [count != "0" for _, count in looks]
        for at, took in self.latencies():
            place = bisect_left(times, at)
            if 0 < place < len(there) and (there[place - 1] or there[place]):
                yield took


def p99(times):
    times = sorted(times)
    return times[int(len(times) * 0.99)] if times else 0.0


def plot(samples, per_claim):
    ratios = [(at, size / (live * per_claim)) for at, size, live in samples if live]
    width, height, highest = 720, 300, max(2.0, *(ratio for at, ratio in ratios if at > ttl))
    x = lambda at: 50 + at * (width - 70) / samples[-1][0]
    y = lambda ratio: height - 30 - min(ratio, highest) * (height - 50) / highest
    line = " ".join(f"{x(at):.1f},{y(ratio):.1f}" for at, ratio in ratios)
    marks = "".join(
        f'<text x="10" y="{y(r) + 4:.1f}">{r}×</text><line x1="45" x2="{width - 15}" y1="{y(r):.1f}" y2="{y(r):.1f}" '
        f'stroke="{"#c33" if r == 1.5 else "#ccc"}"/>'
        for r in (0, 0.5, 1, 1.5, 2))
    ends = (f'<text x="45" y="{height - 10}">0 s</text>'
            f'<text x="{width - 60}" y="{height - 10}">{samples[-1][0]:.0f} s</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
            f'font-size="12"><rect width="100%" height="100%" fill="white"/>{marks}{ends}'
            f'<polyline points="{line}" fill="none" stroke="#258" stroke-width="1.5"/></svg>\n')


def measure(logs):
    sql("CREATE DATABASE turnover", "postgres")
    sql("CREATE EXTENSION pg_once")
    # Without sweeps before and after, so that a machine that grows busier or calmer counts for both.
    sweep_interval(0)
    Load(logs, "warm", 5).wait()
    sql("TRUNCATE once.claim")
    without = [Load(logs, "before", 6 * ttl).wait()]
    sql("TRUNCATE once.claim")
    sweep_interval(60)
    swept, begun, samples = Load(logs, "swept", seconds), time.monotonic(), []
    while swept.running():
        size, live = sql(
            "SELECT pg_total_relation_size('once.claim'),"
            " (SELECT count(*) FROM once.claim WHERE expires_at > clock_timestamp())").split("|")
        samples.append((time.monotonic() - begun, int(size), int(live)))
        time.sleep(1)
    swept.wait()
    sweep_interval(0)
    sql("TRUNCATE once.claim")
    without.append(Load(logs, "after", 6 * ttl).wait())
    # What the live claims take in a table that has never held others, filled in the order of arrival.
    rows = max(1000, sorted(live for at, size, live in samples)[len(samples) // 2])
    sql("CREATE TABLE alone (LIKE once.claim INCLUDING ALL)")
    sql("INSERT INTO alone SELECT gen_random_uuid(), now(), now(), NULL, 'turnover', (random() * 9e18)::bigint::text"
        f" FROM generate_series(1, {rows})")
    per_claim = int(sql("SELECT pg_total_relation_size('alone')")) / rows
    return without, swept, samples, per_claim


def page(without, swept, samples, per_claim):
    settled = [size / (live * per_claim) for at, size, live in samples if at > 4 * ttl and live]
    calm = [took for load in without for at, took in load.latencies()]
    beside = [took for at, took in swept.latencies()]
    during = list(swept.while_sweeping())
    base = p99(calm)
    load = open("/proc/loadavg").read().split()[0]
    return f"""# Turnover

A ttl of {ttl} seconds for {seconds} seconds, so {seconds // ttl} turnovers, as many as in an hour with a ttl of
{3600 * ttl // seconds} seconds: {len(beside)} claims by {CLIENTS} clients, planned at {rate} a second. The worker with its default settings.
It sweeps no more often than once a second, and about eight times in a ttl of more than that many seconds.
PostgreSQL {sql("SHOW server_version")}, load average {load} at the end. Made by

```
pgrx-config/install.sh {major} --release && benches/turnover.py {major} docs/benchmarks/turnover {ttl} {seconds} {rate}
```

| | |
|---|---|
| bytes of a live claim in a table of its own, index included | {per_claim:.0f} |
| size of table and index, times that of the live claims: median | {sorted(settled)[len(settled) // 2]:.2f} |
| the same, at the end | {settled[-1]:.2f} |
| the same, highest after four ttl | {max(settled):.2f} |
| 99th percentile of a claim without a worker ({len(calm)} claims, before and after) | {base:.2f} ms |
| with the worker | {p99(beside):.2f} ms, {p99(beside) / base:.2f} times |
| those of them answered while a sweeper was there ({len(during)} claims) | {p99(during):.2f} ms, {p99(during) / base:.2f} times |

Size of table and index, times that of the live claims:

![sizes](turnover.svg)
"""


with tempfile.TemporaryDirectory() as logs:
    socket = start(logs)
    try:
        found = measure(logs)
        text = page(*found)
    finally:
        said(ROOT / "pgrx-config/cluster.sh", "drop", CLUSTER)
    out.with_suffix(".svg").write_text(plot(found[2], found[3]))
    out.with_suffix(".md").write_text(text)
    print(text)
