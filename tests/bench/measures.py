"""What is measured. A measure is a function of one Bench; it runs its cases so that the tools take turns run by
run, and files what it finds in tables.

A figure of TCP bulk is what arrived at the far end in a window after a warm-up. CPU is the time of the tool's
processes during the whole load, by what was moved. Goodput of UDP without loss is the highest rate at which at most one
datagram in a thousand is lost, found by bisection (RFC 2544 section 26.1 with a little mercy for a machine
with other things to do); goodput of a flood is what arrives from a sender that does not care.
"""

import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
import time

import processes
from results import Results, Table
from tools import BEST_MTU, KINDS, WIRE_MTU, Setting, Stalled, new_sandbox
from world import SERVERS, endpoint, most_flows

LOSS_ALLOWED = 0.001
WARMUP = 0.1


@dataclasses.dataclass
class Plan:
    repeats: int = 5
    tries: int = 1  # a run that fails is a result; only a quick run tries again
    seconds: float = 2.0
    mtus: tuple = (WIRE_MTU, BEST_MTU)
    streams: tuple = (1, 4, 16)
    concurrencies: tuple = (1, 16, 128)
    datagrams: tuple = ((64, ""), (1200, ""), (8900, ""), (1200, "train"))
    published_streams: tuple = (1, 4)
    published_datagrams: tuple = ((1200, ""), (1200, "train"))
    trial: float = 0.3  # one try of the search for a rate
    searches: int = 6
    starts: int = 20
    idle: tuple = (0, 1000, 10000)
    curve_flows: tuple = (0, 1000, 3000, 10000)
    curve_rules: tuple = (0, 100, 1000, 10000, 100000)
    small_flows: int = 1000
    small_rate: int = 2000

    @classmethod
    def quick(cls):
        """Shows that everything works; its figures mean nothing."""
        return cls(repeats=1, tries=2, seconds=0.2, mtus=(BEST_MTU,), streams=(1, 4), concurrencies=(1, 16),
                   datagrams=((1200, ""), (1200, "train")), published_streams=(1,),
                   published_datagrams=((1200, ""),), trial=0.1, searches=2, starts=3, idle=(0, 500),
                   curve_flows=(0, 500), curve_rules=(0, 100, 1000), small_flows=200, small_rate=500)


class Bench:
    """The world, the tools, the plan and the results. Guests stay open from measure to measure: a tool that has
    nothing to do costs the others nothing."""

    def __init__(self, world, plan, tools, policy_benchmark=None):
        self.world, self.plan, self.tools, self.policy_benchmark = world, plan, tools, policy_benchmark
        # Idle and many flows go to all servers: no tool is asked for thousands of new ones to one address.
        self.to, self.to_all = to_servers(6 if world.is_ipv6 else 4)
        self.results = Results(make_tables())
        self._open = {}
        self._counter = itertools.count()
        self.remarks = []

    def best(self):
        return [Setting(tool) for tool in self.tools]

    def with_relay(self):
        """What is measured of TCP: by the bare relay, too."""
        return [Setting("direct"), Setting("relay"), *self.best()[1:]]

    def fresh(self, setting):
        return new_sandbox(self.world, setting, self._counter)

    def sandbox(self, setting):
        known = self._open.get(setting)
        if known is None or known.is_dead:
            self._open[setting] = known = self.fresh(setting)
        return known

    @contextlib.contextmanager
    def fresh_with_flows(self, setting, count):
        """A guest of its own that holds `count` idle connections."""
        sandbox = self.fresh(setting)
        try:
            holder = sandbox.start_load("flows", *self.to_all, "--count", count, seconds=30) if count else None
            yield sandbox
            if holder:
                sandbox.finish_load(holder)
        finally:
            sandbox.close()

    @property
    def host(self):
        """Runs loads in host: the clients of published ports, and commands."""
        return self.sandbox(Setting("direct"))

    def turns(self, table, settings, cases, measure, repeats=None):
        """Calls measure(sandbox, row, case), each case by all settings before the next run of any, and another of
        them first each time."""
        for turn in range(repeats or self.plan.repeats):
            first = turn % len(settings)
            for case in cases:
                for setting in settings[first:] + settings[:first]:
                    self.attempt(table, setting, case,
                                 lambda setting, row, case: measure(self.sandbox(setting), row, case))

    def attempt(self, table, setting, case, measure):
        """Calls measure(setting, row, case); what does not work is filed as a failure under the case's column."""
        row, column = row_of(setting), describe(case)
        for left in reversed(range(self.plan.tries)):
            self.say(f"{table}: {row}: {column}")
            try:
                return measure(setting, row, case)
            except Stalled as error:
                if left == 0:
                    self.fail(table, row, column, error)

    def fail(self, table, row, column, error):
        self.results.fail(table, row, column, str(error))
        self.say(f"{table}: {row}: {column}: failed: {error}", is_lasting=True)

    def say(self, text, is_lasting=False):
        """A line on stderr; one that does not last is for a terminal, where the next takes its place."""
        is_terminal = sys.stderr.isatty()
        if is_lasting or is_terminal:
            clear, end = ("\r\033[K" if is_terminal else ""), ("\n" if is_lasting else "")
            print(f"{clear}{text}", end=end, file=sys.stderr, flush=True)

    def remark(self, text):
        if text not in self.remarks:
            self.remarks.append(text)
            self.say(text, is_lasting=True)

    def close(self):
        for sandbox in self._open.values():
            sandbox.close()


def to_servers(family):
    """The words for the first server, and for all of them."""
    words = [("--to", endpoint(address)) for address in SERVERS[family]]
    return words[0], sum(words, ())


def row_of(setting):
    if setting.tool in ("direct", "relay"):
        return setting.tool
    return setting.tool if setting.mtu == BEST_MTU else f"{setting.tool} {setting.mtu}"


def describe(case):
    """A case is the words of a column, empty ones left out."""
    return " ".join(str(part) for part in case if part != "") if isinstance(case, tuple) else str(case)


def make_tables():
    return {
        "tcp": Table("TCP throughput by direction and streams", "Gb/s", digits=1,
                     note="Rows without a number: guest MTU 65520. relay: a bare splice(), no sandbox."),
        "cpu": Table("CPU time of the tool's processes per gigabyte", "s/GB", is_more_better=False, digits=3),
        "crr": Table("Connect, request, response, close, by how many at once", "connections/s", digits=0,
                     note="to many: the connections go to fourteen servers in turn, otherwise to one."),
        "crr-cpu": Table("CPU time of the tool's processes per connection", "µs", is_more_better=False, digits=1),
        "rr": Table("Latency of a request and its response on an open flow", "µs", is_more_better=False, digits=1),
        "udp": Table("UDP goodput without loss, by octets of a datagram", "Gb/s", digits=3,
                     note="train: the sender uses UDP_SEGMENT, as QUIC does."),
        "udp-flood": Table("UDP goodput where the sender does not care", "Gb/s", digits=3),
        "udp-loss": Table("Loss in that flood", "%", is_more_better=False, digits=1),
        "published": Table("Published port on loopback, throughput", "Gb/s", digits=2),
        "published-crr": Table("Published port on loopback, connections", "connections/s", digits=0),
        "dns": Table("DNS questions by how many at once", "answers/s", digits=0),
        "start": Table("Start-up: a run of true(1)", "ms", is_more_better=False, digits=1),
        "memory": Table("Resident size of the tool's processes by idle TCP flows", "MB", is_more_better=False,
                        digits=1, axis="idle flows", note="Shared pages count for each process."),
        "memory-pss": Table("The same, shared pages divided", "MB", is_more_better=False, digits=1, axis="idle flows"),
        "memory-kernel": Table("Growth of the kernel's own memory, both ends of the load included", "MB",
                               is_more_better=False, digits=1, axis="idle flows"),
        "flows-crr": Table("Connections beside idle flows, 16 at once", "connections/s", digits=0, axis="idle flows"),
        "flows-tcp": Table("One stream upwards beside idle flows", "Gb/s", digits=1, axis="idle flows"),
        "rules-crr": Table("Connections by rules present, 16 at once", "connections/s", digits=0, axis="rules"),
        "rules-tcp": Table("One stream upwards by rules present", "Gb/s", digits=1, axis="rules"),
        "rules-start": Table("Start-up by rules present", "ms", is_more_better=False, digits=1, axis="rules"),
        "policy": Table("A decision with 100,000 prefixes and 100,000 names", "ns", is_more_better=False, digits=0),
        "fair": Table("Small requests of many flows alone, and beside one bulk stream", "ms", is_more_better=False,
                      digits=2),
        "fair-bulk": Table("The bulk stream alone, and beside the small flows", "Gb/s", digits=1),
    }


# TCP.

def tcp(bench):
    plan = bench.plan
    settings = [Setting("direct"), Setting("relay")]
    settings += [Setting(tool, mtu) for tool in bench.tools if tool != "direct" for mtu in plan.mtus]
    cases = [(direction, streams) for direction in ("up", "down") for streams in plan.streams]

    def measure(sandbox, row, case):
        gbit, cpu = stream(bench, sandbox, sandbox, bench.to, *case)
        bench.results.add("tcp", row, describe(case), gbit)
        if row != "direct":
            bench.results.add("cpu", row, describe(case), cpu)

    bench.turns("tcp", settings, cases, measure)


def stream(bench, tool, client, to, direction, streams):
    """Gb/s, and CPU seconds of the tool per GB."""
    before = tool.cpu_seconds()
    done = client.load("stream", *to, "--direction", direction, "--streams", streams,
                       "--seconds", bench.plan.seconds, "--warmup", min(0.3, bench.plan.seconds),
                       seconds=bench.plan.seconds + 10)
    if done["gbit"] <= 0:
        raise Stalled("nothing arrived")
    return done["gbit"], (tool.cpu_seconds() - before) / (done["octets"] / 1e9)


# Connections and latency.

def crr(bench):
    def measure(sandbox, row, case):
        at_once, where = case
        before = sandbox.cpu_seconds()
        rate = connections(bench, sandbox, bench.to_all if where else bench.to, at_once)
        bench.results.add("crr", row, describe(case), rate)
        if row != "direct":
            made = rate * (bench.plan.seconds + WARMUP)  # the warm-up is paid for, too
            bench.results.add("crr-cpu", row, describe(case), (sandbox.cpu_seconds() - before) / made * 1e6)

    cases = [(at_once, where) for where in ("", "to many") for at_once in bench.plan.concurrencies]
    bench.turns("crr", bench.with_relay(), cases, measure)


def connections(bench, client, to, at_once):
    done = client.load("connections", *to, "--concurrency", at_once, "--seconds", bench.plan.seconds,
                       "--warmup", WARMUP, seconds=bench.plan.seconds + 10)
    if done["failures"]:
        bench.say(f"{done['failures']} connections failed", is_lasting=True)
    if done["rate"] <= 0:
        raise Stalled("no connection succeeded")
    return done["rate"]


def rr(bench):
    def measure(sandbox, row, protocol):
        done = sandbox.load("requests", *bench.to, "--protocol", protocol, "--seconds", bench.plan.seconds)
        for name, column in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")):
            bench.results.add("rr", row, f"{protocol} {column}", done[name])

    bench.turns("rr", bench.with_relay(), ("tcp",), measure)
    bench.turns("rr", bench.best(), ("udp",), measure)


# UDP. A case is (octets, "train" or "", direction).

def udp(bench):
    def measure(sandbox, row, case):
        words = [*bench.to, *datagram_words(*case)]
        flood = datagrams(bench, sandbox, words)
        bench.results.add("udp-flood", row, describe(case), flood["gbit"])
        bench.results.add("udp-loss", row, describe(case), flood["loss"] * 100)
        bench.results.add("udp", row, describe(case), highest_rate(bench, sandbox, words, flood))

    cases = [(*shape, direction) for shape in bench.plan.datagrams for direction in ("up", "down")]
    repeats = min(bench.plan.repeats, 3)
    bench.turns("udp", bench.best(), [case for case in cases if case[0] <= 1472], measure, repeats)
    large = [case for case in cases if case[0] > 1472]
    if large:
        # A wire on which they need no fragments: what is measured is the tool, not the host's reassembly.
        bench.world.set_uplink_mtu(9000)
        bench.turns("udp", bench.best(), large, measure, repeats)
        bench.world.set_uplink_mtu(WIRE_MTU)


def datagram_words(octets, train, direction):
    return ["--octets", octets, "--train", "yes" if train else "no", "--direction", direction]


def datagrams(bench, client, words, rate=0):
    return client.load("datagrams", *words, "--seconds", bench.plan.trial, "--rate", rate, seconds=15)


def highest_rate(bench, client, words, flood):
    """Goodput in Gb/s at the highest rate that loses next to nothing. What the flood brought says where to look."""
    if flood["loss"] <= LOSS_ALLOWED:
        return flood["gbit"]
    best, failed = 0.0, None
    rate = max(flood["gbit"], 0.001)
    left = bench.plan.searches
    while left > 0:
        done = datagrams(bench, client, words, rate * 1e9)
        is_good = done["loss"] <= LOSS_ALLOWED
        if is_good:
            best = max(best, done["gbit"])
            if done["offered"] < 0.9 * rate:
                break  # the sender itself can do no more
        else:
            failed = rate
        # Down by halves until one is good, then between the best and the worst.
        rate = (best + failed) / 2 if failed else rate * 1.5
        left -= 1 if best or rate < flood["gbit"] / 1000 else 0
    if not best:
        raise Stalled("no rate without loss was found")
    return best


# Published ports.

def published(bench):
    serving = {}
    for setting in bench.best():
        bench.attempt("published", setting, "server inside", lambda setting, *_: serving.update(
            {setting: start_server(bench.sandbox(setting))}))
    plan = bench.plan
    cases = [("tcp", direction, streams) for direction in ("up", "down") for streams in plan.published_streams]
    cases += [("udp", *shape, direction) for shape in plan.published_datagrams for direction in ("up", "down")]
    bench.turns("published", list(serving), cases, lambda *words: measure_published(bench, *words))
    bench.turns("published-crr", list(serving), plan.concurrencies, lambda sandbox, row, at_once: bench.results.add(
        "published-crr", row, at_once, connections(bench, bench.host, to_published(sandbox), at_once)))
    for setting, number in serving.items():
        bench.sandbox(setting).kill_load(number)


def start_server(sandbox):
    here = f"{'127.0.0.1' if sandbox.setting.tool == 'direct' else '0.0.0.0'}:{sandbox.guest_port}"
    return sandbox.start_load("serve", "--tcp", here, "--udp", here)


def to_published(sandbox):
    return ("--to", f"127.0.0.1:{sandbox.published}")


def measure_published(bench, sandbox, row, case):
    protocol, *words = case
    if protocol == "tcp":
        value, _ = stream(bench, sandbox, bench.host, to_published(sandbox), *words)
    else:
        load = [*to_published(sandbox), *datagram_words(*words)]
        value = highest_rate(bench, bench.host, load, datagrams(bench, bench.host, load))
    bench.results.add("published", row, describe(case), value)


# Names and start-up.

def dns(bench):
    def measure(sandbox, row, concurrency):
        done = sandbox.load("questions", *sandbox.dns, "--concurrency", concurrency, "--seconds", bench.plan.seconds)
        if done["rate"] <= 0:
            raise Stalled(f"no answers; {done['failed']} refusals")
        bench.results.add("dns", row, concurrency, done["rate"])

    bench.turns("dns", bench.best(), (1, 32), measure)


def start(bench):
    for _ in range(bench.plan.starts):
        for setting in bench.best():
            bench.attempt("start", setting, "time", lambda *words: measure_start(bench, *words))


def measure_start(bench, setting, row, _):
    done = start_once(bench, setting.tool)
    bench.results.add("start", row, "time", done["milliseconds"][0])
    bench.results.add("start", row, "CPU", done["cpu"][0])


def start_once(bench, tool, extra=()):
    words = [] if tool == "direct" else KINDS[tool].command(bench.world, WIRE_MTU, extra)
    return bench.host.load("starts", "--count", 1, "--", *words, "true")


# Cost as it grows.

def memory(bench):
    counts = fitting(bench, bench.plan.idle)
    for _ in range(min(bench.plan.repeats, 3)):
        for setting in bench.best():
            for count in counts:
                bench.attempt("memory", setting, count, lambda *words: measure_memory(bench, *words))


def fitting(bench, counts):
    most = most_flows()
    if counts[-1] > most:
        bench.remark(f"the descriptor limit (ulimit -Hn) has room for {most} flows: no more are held")
    return sorted({min(count, most) for count in counts})


def measure_memory(bench, setting, row, count):
    kernel = processes.kernel_mb()
    with bench.fresh_with_flows(setting, count) as sandbox:
        time.sleep(0.3)
        bench.results.add("memory-kernel", row, count, processes.kernel_mb() - kernel)
        pids = sandbox.pids()
        if pids:
            bench.results.add("memory", row, count, processes.resident_mb(pids))
            bench.results.add("memory-pss", row, count, processes.proportional_mb(pids))


def flows(bench):
    counts = fitting(bench, bench.plan.curve_flows)
    for _ in range(min(bench.plan.repeats, 3)):
        for count in counts:
            for setting in bench.best():
                bench.attempt("flows-crr", setting, count, lambda *words: measure_beside_flows(bench, *words))


def measure_beside_flows(bench, setting, row, count):
    with bench.fresh_with_flows(setting, count) as sandbox:
        bench.results.add("flows-crr", row, count, connections(bench, sandbox, bench.to_all, 16))
        bench.results.add("flows-tcp", row, count, stream(bench, sandbox, sandbox, bench.to, "up", 1)[0])


def rules(bench):
    has_files = reads_policy_files(bench)
    counts = [count for count in bench.plan.curve_rules if has_files or count <= 1000]
    settings = {count: Setting("cordon", BEST_MTU, rule_words(bench, count, has_files)) for count in counts}
    for _ in range(min(bench.plan.repeats, 3)):
        for count, setting in settings.items():
            bench.attempt("rules-crr", setting, count, lambda *words: measure_beside_rules(bench, *words))


def measure_beside_rules(bench, setting, row, count):
    with bench.fresh_with_flows(setting, 0) as sandbox:
        bench.results.add("rules-crr", row, count, connections(bench, sandbox, bench.to_all, 16))
        bench.results.add("rules-tcp", row, count, stream(bench, sandbox, sandbox, bench.to, "up", 1)[0])
    bench.results.add("rules-start", row, count, start_once(bench, "cordon", setting.extra)["milliseconds"][0])


def reads_policy_files(bench):
    try:
        start_once(bench, "cordon", rule_words(bench, 2, True))
    except Stalled as error:
        bench.remark("this cordon reads no policy files, so rules are measured up to the thousand that fit a command "
                     f"line: {error}")
        return False
    return True


def rule_words(bench, count, has_files):
    """Options that give cordon `count` rules, none of which is about the servers: half are prefixes of both
    families, half names where it knows names."""
    prefixes = [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" if i % 2 else f"2001:db8:8000:{i & 0xffff:x}::/64"
                for i in range(1, count + 1)]
    if not has_files:
        return tuple(word for prefix in prefixes for word in ("--deny", prefix))
    if not count:
        return ()
    denied = prefixes[:count - count // 2] + [f"n{i}.telemetry.example" for i in range(count // 2)]
    lines = ["version = 1", 'default = "allow-public"', "deny = [", *(f'  "{one}",' for one in denied), "]", ""]
    return ("--policy", bench.world.scratch_file(f"rules-{count}.toml", "\n".join(lines)))


def policy(bench):
    """What a decision costs with 100,000 prefixes and 100,000 names: Google Benchmark's own repetitions."""
    program = bench.policy_benchmark
    if not program:
        bench.remark("policy_benchmark is not built (it needs Google Benchmark), so decisions are not measured")
        return
    words = [program, "--benchmark_format=json", f"--benchmark_repetitions={bench.plan.repeats}",
             "--benchmark_min_time=0.05", "--benchmark_filter=^(evaluate|judge)"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        bench.fail("policy", "cordon", "all", done.stderr.strip())
        return
    for one in json.loads(done.stdout)["benchmarks"]:
        if one["run_type"] == "iteration":
            bench.results.add("policy", "cordon", one["run_name"].replace("_", " "), one["cpu_time"])


# Fairness.

def fair(bench):
    def measure(sandbox, row, _):
        plan = bench.plan
        small = ("flows", *bench.to_all, "--count", plan.small_flows, "--rate", plan.small_rate)
        alone = sandbox.load(*small, "--seconds", plan.seconds)
        bench.results.add("fair-bulk", row, "alone", stream(bench, sandbox, sandbox, bench.to, "up", 1)[0])
        # The small ones are at it before the stream begins and after it ends.
        number = sandbox.start_load(*small, "--seconds", plan.seconds + 1)
        bench.results.add("fair-bulk", row, "beside", stream(bench, sandbox, sandbox, bench.to, "up", 1)[0])
        beside = sandbox.finish_load(number)
        for when, found in (("alone", alone), ("beside", beside)):
            for name, column in (("p50", "p50"), ("p99", "p99"), ("max", "worst")):
                bench.results.add("fair", row, f"{column} {when}", found[name] / 1000)
        if beside["late"]:
            bench.say(f"fair: {row}: {beside['late']} requests waited longer than a turn", is_lasting=True)

    bench.turns("fair", bench.best(), ("flows",), measure, min(bench.plan.repeats, 3))


MEASURES = {"tcp": tcp, "crr": crr, "rr": rr, "udp": udp, "published": published, "dns": dns, "start": start,
            "memory": memory, "flows": flows, "rules": rules, "policy": policy, "fair": fair}
