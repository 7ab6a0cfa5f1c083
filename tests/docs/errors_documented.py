"""Every code of hf::errc has a row in docs/errors.md, and no row is about a code that is not there."""

import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
header = (root / "include/hf/sandbox/error.hpp").read_text(encoding="utf-8")
body = re.search(r"enum class errc \{(.*?)\n\};", header, re.S).group(1)
codes = set(re.findall(r"^\s*([a-z_]+)(?: = \d+)?,", body, re.M))
table = (root / "docs/errors.md").read_text(encoding="utf-8").split("## Every code")[1].split("\n## ")[0]
rows = set(re.findall(r"^\| `([a-z_]+)` \|", table, re.M))
for code in sorted(codes - rows):
    print(f"docs/errors.md says nothing of {code}")
for code in sorted(rows - codes):
    print(f"docs/errors.md explains {code}, which does not exist")
print(f"{len(codes)} codes")
sys.exit(1 if codes != rows or not codes else 0)
