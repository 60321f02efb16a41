#!/usr/bin/env python3
"""Turnover: a steady load of claims with a short ttl, the worker sweeping beside it.

turnover.py BIN SOCKET OUT [TTL SECONDS RATE]  uses a server with pg_once preloaded and nothing else to do.
It writes OUT.md and OUT.svg: sizes against what a table of the live claims alone would take, and the
latency of a claim with and without sweeps.
"""
import subprocess, sys, tempfile, time
from pathlib import Path

bin_dir, socket, out = sys.argv[1:4]
ttl, seconds, rate = (int(value) for value in (sys.argv[4:] or ["6", "240", "800"]))
clients = 2


def sql(text, database="turnover"):
    command = [f"{bin_dir}/psql", "-X", "-A", "-t", "-q", "-h", socket, "-U", "postgres", "-d", database, "-c", text]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def load(directory, name, duration):
    """The load in the background; its latencies are in files called `name`."""
    script = Path(directory) / "claim.sql"
    script.write_text(
        f"\\set key random(1, 9000000000000000000)\nSELECT claim_once_per('{ttl} s', 'turnover', :key);\n"
    )
    return subprocess.Popen(
        [f"{bin_dir}/pgbench", "-n", "-h", socket, "-U", "postgres", "-M", "prepared", "-c", str(clients), "-j", "1",
         "-R", str(rate), "-T", str(duration), "-f", str(script), "-l", f"--log-prefix={directory}/{name}", "turnover"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def quantile(directory, name, share):
    """Of the time from the planned start to the answer, less the delay of the schedule, in milliseconds."""
    times = sorted(
        (int(fields[2]) - (int(fields[6]) if len(fields) > 6 else 0)) / 1000
        for log in Path(directory).glob(f"{name}*")
        for fields in (line.split() for line in log.read_text().splitlines())
        if fields[2].isdigit()
    )
    return times[int(len(times) * share)], len(times)


def plot(samples, per_claim):
    width, height, highest = 720, 300, max(2.0, max(s[1] / (s[2] * per_claim) for s in samples if s[2]))
    x = lambda at: 50 + at * (width - 70) / samples[-1][0]
    y = lambda ratio: height - 30 - ratio * (height - 50) / highest
    line = " ".join(f"{x(at):.1f},{y(size / (live * per_claim)):.1f}" for at, size, live in samples if live)
    marks = "".join(
        f'<text x="10" y="{y(r) + 4:.1f}">{r}×</text><line x1="45" x2="{width - 15}" y1="{y(r):.1f}" y2="{y(r):.1f}" stroke="{"#c33" if r == 1.5 else "#ccc"}"/>'
        for r in (0, 0.5, 1, 1.5, 2))
    ends = f'<text x="45" y="{height - 10}">0 s</text><text x="{width - 60}" y="{height - 10}">{samples[-1][0]:.0f} s</text>'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>{marks}{ends}'
            f'<polyline points="{line}" fill="none" stroke="#258" stroke-width="1.5"/></svg>\n')


sql("DROP DATABASE IF EXISTS turnover", "postgres")
sql("CREATE DATABASE turnover", "postgres")
sql("CREATE EXTENSION pg_once")
with tempfile.TemporaryDirectory() as logs:
    sql("ALTER SYSTEM SET pg_once.sweep_interval = 0")
    sql("SELECT pg_reload_conf()")
    load(logs, "warm", 5).wait()
    sql("TRUNCATE once.claim")
    load(logs, "without", 8 * ttl).wait()
    sql("TRUNCATE once.claim")
    sql("ALTER SYSTEM SET pg_once.sweep_interval = 1")
    sql("SELECT pg_reload_conf()")
    running, begun, samples = load(logs, "with", seconds), time.monotonic(), []
    while running.poll() is None:
        size, live = sql(
            "SELECT pg_table_size('once.claim') + pg_indexes_size('once.claim'),"
            " (SELECT count(*) FROM once.claim WHERE expires_at > clock_timestamp())").split("|")
        samples.append((time.monotonic() - begun, int(size), int(live)))
        time.sleep(1)
    sql("ALTER SYSTEM RESET pg_once.sweep_interval")
    without, claims_without = quantile(logs, "without", 0.99)
    swept, claims = quantile(logs, "with", 0.99)
# What the live claims take in a table that has never held others, its index filled in the order of arrival.
sql("CREATE TABLE alone (LIKE once.claim INCLUDING ALL)")
rows = 20000
sql(f"INSERT INTO alone SELECT gen_random_uuid(), now(), now(), NULL, 'turnover', (random() * 9e18)::bigint::text FROM generate_series(1, {rows})")
per_claim = int(sql("SELECT pg_table_size('alone') + pg_indexes_size('alone')")) / rows
settled = [size / (live * per_claim) for at, size, live in samples if at > 4 * ttl and live]
Path(out + ".svg").write_text(plot(samples, per_claim))
Path(out + ".md").write_text(f"""# Turnover

A ttl of {ttl} seconds, {seconds} seconds, so {seconds // ttl} turnovers: {claims} claims by {clients} clients, planned at {rate} a second.
PostgreSQL {sql("SHOW server_version")}, `pg_once.sweep_interval = 1`, `autovacuum_naptime = {sql("SHOW autovacuum_naptime")}`.
Made by `benches/turnover.py`.

| | |
|---|---|
| bytes of a live claim in a table of its own | {per_claim:.0f} |
| size of table and indexes, times that of the live claims: median | {sorted(settled)[len(settled) // 2]:.2f} |
| the same, at the end | {settled[-1]:.2f} |
| the same, highest after four ttl | {max(settled):.2f} |
| 99th percentile of a claim without sweeps ({claims_without} claims) | {without:.2f} ms |
| 99th percentile of a claim with sweeps | {swept:.2f} ms, {swept / without:.2f} times |

Size of table and indexes, times that of the live claims:

![sizes](turnover.svg)
""")
print(Path(out + ".md").read_text())
