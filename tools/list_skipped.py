#!/usr/bin/env python3
"""Lists the skipped tests of a CTest JUnit file by the reason that each gave."""

import re
import sys
import xml.etree.ElementTree as ElementTree


def reason(case):
    output = case.findtext("system-out") or ""
    # Catch2's report of SKIP(), or a script's line.
    found = re.search(r"SKIPPED:\nexplicitly with message:\n\s*(.+)|^[Ss]kipped: (.+)$", output, re.M)
    if found:
        return (found.group(1) or found.group(2)).strip()
    return "no reason given"


def main():
    reasons = {}
    for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
        if case.get("status") in ("notrun", "disabled") or case.find("skipped") is not None:
            reasons.setdefault(reason(case), []).append(case.get("name"))
    for text, names in sorted(reasons.items()):
        print(f"\nSkipped ({len(names)}): {text}")
        for name in names[:8]:
            print(f"  {name}")
        if len(names) > 8:
            print(f"  ... and {len(names) - 8} more")
    if reasons:
        print()


if __name__ == "__main__":
    main()
