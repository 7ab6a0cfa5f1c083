#!/usr/bin/env python3
"""Lists the skipped tests of a CTest JUnit file by the reason that each gave, and the end of what
each failed test printed."""

import re
import sys
import xml.etree.ElementTree as ElementTree

LINES_OF_A_FAILURE = 40
DETAILED_FAILURES = 10


def reason(case):
    output = case.findtext("system-out") or ""
    # Catch2's report of SKIP(), or a script's line.
    found = re.search(r"SKIPPED:\nexplicitly with message:\n\s*(.+)|^[Ss]kipped: (.+)$", output, re.M)
    if found:
        return (found.group(1) or found.group(2)).strip()
    return "no reason given"


def is_skipped(case):
    return case.get("status") in ("notrun", "disabled") or case.find("skipped") is not None


def list_skipped(cases):
    reasons = {}
    for case in filter(is_skipped, cases):
        reasons.setdefault(reason(case), []).append(case.get("name"))
    for text, names in sorted(reasons.items()):
        print(f"\nSkipped ({len(names)}): {text}")
        for name in names[:8]:
            print(f"  {name}")
        if len(names) > 8:
            print(f"  ... and {len(names) - 8} more")
    if reasons:
        print()


def list_failed(cases):
    failed = [case for case in cases if case.find("failure") is not None]
    for case in failed[:DETAILED_FAILURES]:
        output = (case.findtext("system-out") or "").rstrip().splitlines()
        print(f"\nFailed: {case.get('name')}")
        for line in output[-LINES_OF_A_FAILURE:]:
            print(f"  {line}")
    if len(failed) > DETAILED_FAILURES:
        print(f"\n... and {len(failed) - DETAILED_FAILURES} more failed")
    if failed:
        print()


def main():
    cases = list(ElementTree.parse(sys.argv[1]).iter("testcase"))
    list_skipped(cases)
    list_failed(cases)


if __name__ == "__main__":
    main()
