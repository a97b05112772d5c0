"""What a tool's processes cost: CPU time and memory, from /proc.

A tool's processes are all that descend from the one that was started, without the agent and what it starts:
for cordon the supervisor, the translator and the guest's init.

CPU time is the scheduler's own (schedstat, nanoseconds); where the kernel does not keep it, the clock ticks of
stat. What the kernel does in a soft interrupt counts for whoever is interrupted, for all tools alike.
"""

import os
import pathlib

PROC = pathlib.Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def _read(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def _parents():
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            stat = _read(entry / "stat")
            if stat:
                parents[int(entry.name)] = int(stat[stat.rindex(")") + 2:].split()[1])
    return parents


def _is_agent(pid, agent):
    words = _read(PROC / str(pid) / "cmdline").split("\0")
    return len(words) > 2 and words[0].endswith("python3") and agent in words[:4]


def tree(roots, agent):
    """Ids of the roots and of all below them, the agent's own tree left out."""
    children = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found, queue = [], list(roots)
    while queue:
        pid = queue.pop()
        if _is_agent(pid, agent):
            continue
        found.append(pid)
        queue.extend(children.get(pid, []))
    return sorted(found)


def cpu_seconds(pids):
    return sum(_cpu_of(pid) for pid in pids)


def _cpu_of(pid):
    total = 0
    try:
        threads = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return 0.0
    for thread in threads:
        words = _read(thread / "schedstat").split()
        total += int(words[0]) if words else 0
    if total:
        return total / 1e9
    stat = _read(PROC / str(pid) / "stat")
    if not stat:
        return 0.0
    words = stat[stat.rindex(")") + 2:].split()
    return (int(words[11]) + int(words[12])) / TICKS


def resident_mb(pids):
    """Resident pages of all, shared ones counted for each."""
    kilobytes = 0
    for pid in pids:
        words = _read(PROC / str(pid) / "statm").split()
        kilobytes += int(words[1]) * PAGE_KB if words else 0
    return kilobytes / 1024


def proportional_mb(pids):
    """The same with shared pages divided among those that share them; None where that may not be read."""
    kilobytes = 0
    for pid in pids:
        lines = [line for line in _read(PROC / str(pid) / "smaps_rollup").splitlines() if line.startswith("Pss:")]
        if not lines:
            return None
        kilobytes += int(lines[0].split()[1])
    return kilobytes / 1024


def kernel_mb():
    """What the whole machine's kernel holds for itself: slab, stacks, page tables and socket buffers."""
    total = 0
    for line in (PROC / "meminfo").read_text().splitlines():
        name, value = line.split(":")
        if name in ("Slab", "KernelStack", "PageTables", "Percpu"):
            total += int(value.split()[0])
    return total / 1024
