"""Runs inside a guest (or, for the direct path, in host) and starts load programs there on request.

Requests and answers are lines of JSON on stdin and stdout:

    {"run": [words], "seconds": 5}      → {"status": 0, "out": "…", "err": "…"}
    {"start": [words], "seconds": 5}    → {"id": 1, "line": "its first line"}
    {"finish": 1, "seconds": 5}         → its stdin is closed; {"status": 0, "out": "the rest", "err": "…"}
    {"kill": 1}                         → {}
"""

import json
import select
import subprocess
import sys

running = {}


def outcome(process, seconds):
    try:
        out, err = process.communicate(timeout=seconds)
        return {"status": process.returncode, "out": out, "err": err}
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return {"status": None, "out": out or "", "err": (err or "") + f"not done after {seconds} s"}


def start(words):
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_line(process, seconds):
    if select.select([process.stdout], [], [], seconds)[0]:
        return process.stdout.readline()
    return ""


def answer(request):
    seconds = request.get("seconds", 30)
    if "run" in request:
        return outcome(start(request["run"]), seconds)
    if "start" in request:
        process = start(request["start"])
        line = first_line(process, seconds)
        if not line:
            process.kill()
            return {"id": None, "line": "", "err": outcome(process, 5)["err"]}
        running[process.pid] = process
        return {"id": process.pid, "line": line}
    process = running.pop(request.get("finish") or request.get("kill"))
    if "kill" in request:
        process.kill()
    return outcome(process, seconds)


if __name__ == "__main__":
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
