#!/usr/bin/python3
"""The help of each verb, the man pages and the completion name the same options, and the program knows them.

    options_documented.py CORDON SOURCE_FOLDER
"""

import pathlib
import re
import subprocess
import sys

VERBS = ("run", "learn", "replay", "policy", "ps", "flows", "allow", "deny", "events", "ask", "doctor", "audit")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
# Every verb has them, and one line of cordon(1) says so.
COMMON = {"-h", "--help", "--version"}


def listed(text):
    """The options that lines of a list begin with: "  -q, --quiet   words"."""
    found = set()
    for line in text.splitlines():
        if entry := re.match(r"\s+((?:-[a-z], )?--[a-z-]+)", line):
            found |= set(OPTION.findall(entry[1]))
    return found


def in_brackets(text):
    """Those of a synopsis: "[--write FILE]", "[--write | --check]"."""
    return {option for bracket in re.findall(r"\[[^]]*\]", text) for option in OPTION.findall(bracket)}


def of_help(cordon, verb):
    done = subprocess.run([cordon, verb, "--help"], capture_output=True, text=True, timeout=20, check=True)
    usage = "\n".join(line for line in done.stdout.splitlines() if re.match(r"(Usage:)?\s+cordon |Usage:", line))
    return (listed(done.stdout) | in_brackets(usage)) - COMMON


def of_page(page, verb):
    """What the page says of the verb: a list's entries for run and audit, the heading lines of all others."""
    if verb in ("run", "audit"):
        entries = [line for line in page.splitlines() if re.match(r"\*-", line)]
        return {option for line in entries for option in OPTION.findall(line.replace("*", " "))} - COMMON
    synopsis = page.index("# DESCRIPTION")  # before it the options are only hinted at
    headings = [line.replace("*", "").replace("|", " | ") for line in page[synopsis:].splitlines()
                if re.match(r"\*cordon [a-z]", line)]
    mine = [line for line in headings if re.match(rf"cordon (\w+ \| )*{verb}\b", line)]
    return {option for line in mine for option in in_brackets(line)} - COMMON


def is_known(cordon, verb, option):
    """The program may refuse what follows, but not the option."""
    words = [verb, "show", option] if verb == "policy" else [verb, option]
    if option in ("--list", "--compare"):  # each instead of an audit
        done = subprocess.run([cordon, verb, option], capture_output=True, text=True, timeout=20, check=False)
        return "unknown option" not in done.stderr
    for more in ([], ["add"], ["fmt"]) if verb == "policy" else ([],):
        done = subprocess.run([cordon, *([verb, *more, option] if more else words), "--help"], capture_output=True,
                              text=True, timeout=20, check=False)
        if "unknown option" not in done.stderr:
            return True
    return False


def main(cordon, source):
    man = pathlib.Path(source) / "packaging/man"
    pages = {verb: (man / ("cordon-audit.1.scd" if verb == "audit" else "cordon.1.scd")).read_text()
             for verb in VERBS}
    completion = (pathlib.Path(source) / "packaging/completions/cordon.bash").read_text()
    helps = {verb: of_help(cordon, verb) for verb in VERBS}
    faults = []
    for verb, options in helps.items():
        page = of_page(pages[verb], verb)
        faults += [f"{verb}: {option} is in the help and not in the man page" for option in options - page]
        faults += [f"{verb}: {option} is in the man page and not in the help" for option in page - options]
        faults += [f"{verb}: {option} is unknown to the program" for option in options
                   if not is_known(cordon, verb, option)]
        faults += [f"{verb}: {option} is not in the completion" for option in options
                   if option.startswith("--") and not re.search(re.escape(option) + r"\b", completion)]
    known = set().union(*helps.values()) | COMMON
    offered = re.sub(r"mapfile|compgen -[^\n]*? --(?= )|<\([^\n]*", "", completion)
    faults += [f"completion: {option} is no verb's" for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", offered))
               - known]
    print("\n".join(sorted(faults)) or f"{len(known)} options are told alike")
    if len(known) < 30:
        sys.exit("too few options were found: the pages or the help have another form than this test reads")
    sys.exit(1 if faults else 0)


main(*sys.argv[1:])
