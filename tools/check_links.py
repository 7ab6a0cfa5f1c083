#!/usr/bin/env python3
"""Checks that every link inside the repository resolves: files, folders and headings.

    tools/check_links.py    every tracked or new .md file; links to the web are not followed
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.M)


def without_code(text):
    text = re.sub(r"^(```|~~~).*?^\1[ \t]*$", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """The anchors that GitHub makes of a file's headings."""
    found, seen = set(), {}
    text = re.sub(r"^(```|~~~).*?^\1[ \t]*$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    found.update(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    return found


def markdown_files():
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
            cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        return [p for p in ROOT.rglob("*.md") if "build" not in p.relative_to(ROOT).parts[:1]]


def main():
    problems, count = [], 0
    for path in markdown_files():
        text = without_code(path.read_text(encoding="utf-8"))
        for match in list(LINK.finditer(text)) + list(REFERENCE.finditer(text)):
            link = match.group(1)
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            count += 1
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            line = text.count("\n", 0, match.start()) + 1
            where = f"{path.relative_to(ROOT)}:{line}: {link}"
            if not target.exists():
                problems.append(f"{where}: no such file")
            elif not target.is_relative_to(ROOT):
                problems.append(f"{where}: outside the repository")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                problems.append(f"{where}: no such heading")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{count} links, {len(problems)} broken")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
