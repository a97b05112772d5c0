"""The targets: ratios of one run against the newest peer at hand at its best settings, and a few absolute
figures. What was not measured is said to be so, never guessed.
"""

import dataclasses


@dataclasses.dataclass
class Target:
    what: str
    found: float  # None: not measured
    least: float
    aim: float = None
    unit: str = "×"
    is_more_better: bool = True

    @property
    def verdict(self):
        if self.found is None:
            return "not measured"
        return "met" if self._reaches(self.least) else "not met"

    @property
    def reaches_aim(self):
        return self.found is not None and self.aim is not None and self._reaches(self.aim)

    def _reaches(self, bound):
        return self.found >= bound if self.is_more_better else self.found <= bound

    def json(self):
        return {"what": self.what, "found": self.found, "least": self.least, "aim": self.aim, "unit": self.unit,
                "verdict": self.verdict, "aim_reached": self.reaches_aim}


def ratio(results, table, column, row, other, other_column=None):
    ours = results.median(table, row, column)
    theirs = results.median(table, other, column if other_column is None else other_column)
    return ours / theirs if ours is not None and theirs else None


def judge(results, peer="pasta"):
    """All targets, in the order of the design's table."""
    return [*_tcp(results, peer), *_latency(results, peer), *_udp(results, peer), *_published(results, peer),
            *_size(results), *_decisions(results), *_growth(results)]


def _tcp(results, peer):
    for way in ("up 1", "down 1"):
        yield Target(f"TCP {way} at MTU 1500, by {peer} at 1500",
                     ratio(results, "tcp", way, "cordon 1500", f"{peer} 1500"), 10)
        yield Target(f"TCP {way} at MTU 1500, by {peer} at 65520",
                     ratio(results, "tcp", way, "cordon 1500", peer), 1.3)
        yield Target(f"TCP {way} at MTU 1500, by direct", ratio(results, "tcp", way, "cordon 1500", "direct"), 0, 0.9)
    for way in ("up 4", "down 4"):
        yield Target(f"TCP {way}, by {peer}", ratio(results, "tcp", way, "cordon", peer), 1.3)
        yield Target(f"TCP {way}, by direct", ratio(results, "tcp", way, "cordon", "direct"), 0, 0.85)
    for way in ("up 1", "down 1"):
        yield Target(f"CPU per GB {way}, by {peer}", ratio(results, "cpu", way, "cordon", peer), 0.4, 0.25,
                     is_more_better=False)


def _latency(results, peer):
    for at_once, least, aim in ((1, 1.0, 1.2), (16, 1.1, 1.5)):
        yield Target(f"connections, {at_once} at once, by {peer}",
                     ratio(results, "crr", at_once, "cordon", peer), least, aim)
    for percentile in ("p50", "p99"):
        yield Target(f"request and response {percentile}, by {peer}",
                     ratio(results, "rr", f"tcp {percentile}", "cordon", peer), 0.8, is_more_better=False)
        yield Target(f"request and response {percentile}, by direct",
                     ratio(results, "rr", f"tcp {percentile}", "cordon", "direct"), float("inf"), 1.1,
                     is_more_better=False)


def _udp(results, peer):
    for way in ("1200 up", "1200 down"):
        yield Target(f"UDP {way}, by {peer}", ratio(results, "udp", way, "cordon", peer), 2, 4)


def _published(results, peer):
    for way in ("tcp up 1", "tcp down 1"):
        yield Target(f"published {way}, by {peer}", ratio(results, "published", way, "cordon", peer), 1.0)
    for at_once in (1, 16):
        yield Target(f"published connections, {at_once} at once, by {peer}",
                     ratio(results, "published-crr", at_once, "cordon", peer), 1.0)


def _size(results):
    most = largest(results, "memory")
    yield Target("cordon run -- true", results.median("start", "cordon", "time"), 15, 6, "ms", is_more_better=False)
    yield Target("resident size, idle", results.median("memory", "cordon", 0), 12, 6, "MB", is_more_better=False)
    yield Target(f"resident size, {most:,} idle flows", results.median("memory", "cordon", most), 20, 12, "MB",
                 is_more_better=False)


def _decisions(results):
    for column in ("evaluate by address", "evaluate by name"):
        yield Target(f"a decision, {column}", results.median("policy", "cordon", column), 1000, 200, "ns",
                     is_more_better=False)


def _growth(results):
    for table, unit in (("flows", "idle flows"), ("rules", "rules")):
        for kind, what in (("crr", "connections"), ("tcp", "throughput")):
            name = f"{table}-{kind}"
            most = largest(results, name)
            yield Target(f"{what} beside {most:,} {unit}, by without",
                         ratio(results, name, most, "cordon", "cordon", 0), 0.95, 1.0)


def largest(results, table):
    """The most that cordon was asked for, whether it could or not; the design's figure where nothing was."""
    asked = [int(column) for column in results.tables[table].cells.get("cordon", {})]
    return max(asked, default=100000 if table.startswith("rules") else 10000)
