"""Runs sides in turn on one broker and the same pictures, and prints what CPU each took for a job.

Usage: measure.py PORT PICTURES JOBS ROUNDS NAME=COMMAND...
A command that ends in `run` is this worker's; any other is run once a core, with the arguments PORT QUEUE EXCHANGE behind it.
CPU is user and system time of all of a side's processes. The first 500 jobs (JOBS, if that is fewer) come to a fresh process that has connected;
JOBS more follow.
"""
import json
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import time

import pika

port, pictures, jobs, rounds = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sides = dict(side.split("=", 1) for side in sys.argv[5:])
files = [p.read_bytes() for p in sorted(pictures.rglob("*.jpg"))] if pictures.is_dir() else [pictures.read_bytes()]
FIRST = min(500, jobs)
signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))


def connect():
    for _ in range(120):
        try:
            return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(port), heartbeat=0))
        except pika.exceptions.AMQPError:
            time.sleep(0.5)
    sys.exit("The broker does not answer.")


connection = connect()
channel = connection.channel()
channel.confirm_delivery()


def spent(processes):
    """CPU milliseconds of the processes and what they have started."""
    ticks = 0
    for process in processes:
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += sum(int(f) for f in fields[11:15])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def resident(processes):
    return sum(int(line.split()[1]) for p in processes for line in pathlib.Path(f"/proc/{p.pid}/status").read_text().splitlines() if line.startswith("VmRSS")) / 1000


def start(command, ours):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FaceEmbed__Broker__Uri": f"amqp://guest:guest@127.0.0.1:{port}/", "FaceEmbed__Health__Url": "",
                   "Logging__LogLevel__Default": os.environ.get("PEER_LOG", "Information")}
    arguments = shlex.split(command) if ours else [*shlex.split(command), port, "peer.jobs", "peer.results"]
    return [subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL) for _ in range(1 if ours else os.cpu_count())]


def run(exchange, key, results, count):
    for n in range(count):
        channel.basic_publish(exchange, key, files[n % len(files)], pika.BasicProperties(message_id=f"{n}", content_type="image/jpeg", delivery_mode=2))
    seen, faces, reader = set(), 0, connection.channel()
    for method, properties, body in reader.consume(results, auto_ack=True, inactivity_timeout=120):
        if method is None:
            sys.exit(f"{results}: {len(seen)} of {count} results, then none for two minutes.")
        if properties.message_id not in seen:
            seen.add(properties.message_id)
            faces += len(json.loads(body)["embeddings"])
        if len(seen) == count:
            break
    reader.cancel()
    reader.close()
    return faces / count


def measure(command):
    ours = command.split()[-1] == "run"
    exchange, key, queue, results = ("face.jobs", "job", "face.jobs", "face.results") if ours else ("", "peer.jobs", "peer.jobs", "peer.out")
    processes = start(command, ours)
    try:
        for _ in range(200):
            try:
                if connection.channel().queue_declare(queue, passive=True).method.consumer_count >= len(processes):
                    break
            except pika.exceptions.ChannelClosedByBroker:
                pass
            time.sleep(0.3)
        begin = spent(processes)
        run(exchange, key, results, FIRST)
        first, memory, clock = spent(processes), resident(processes), time.time()
        faces = run(exchange, key, results, jobs)
        return (first - begin) / FIRST, (spent(processes) - first) / jobs, jobs / (time.time() - clock), memory, resident(processes), faces
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


channel.exchange_declare("peer.results", "topic", durable=True)
for name in ("peer.jobs", "peer.out"):
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind("peer.out", "peer.results", "#")
figures = {name: [] for name in sides}
for _ in range(rounds):
    for name, command in sides.items():
        figures[name].append(measure(command))
        print(f"  {name}: {figures[name][-1][1]:.2f} CPU ms a job", file=sys.stderr, flush=True)
print(f"medians of {rounds} rounds of {jobs} jobs, {len(files)} pictures, load {os.getloadavg()[0]:.1f}")
print(f"{'':12}{'CPU ms a job':>14}{'first ' + str(FIRST):>11}{'jobs/s':>9}{'MB at ' + str(FIRST):>11}{'MB at end':>11}{'faces a job':>13}{'times first side':>18}")
base = None
for name, measured in figures.items():
    first, rest, rate, early, late, faces = (statistics.median(values) for values in zip(*measured))
    base = base or rest
    print(f"{name:12}{rest:14.2f}{first:11.2f}{rate:9.0f}{early:11.0f}{late:11.0f}{faces:13.2f}{rest / base:18.2f}")
connection.close()
