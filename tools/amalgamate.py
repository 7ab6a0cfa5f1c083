#!/usr/bin/env python3
"""Writes single_include/hf/sandbox.hpp from include/hf/sandbox.hpp and everything it includes.

    tools/amalgamate.py            write the file
    tools/amalgamate.py --check    exit 1 when the committed file differs from what would be written
    tools/amalgamate.py --list     print the headers that the single header contains

The result depends on the headers alone. Each project header is emitted once, at its first use, with
its guard; directives inside raw strings and comments are text. Only the umbrella header may include
project headers conditionally: those become guarded sections after all shared headers.
"""

import argparse
import difflib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZE_LIMIT = 700 * 1024
# What the part that every program sees may include, beside the standard library and the system.
SHARED_THIRD_PARTY = ("nlohmann/", "openssl/")
KNOWN_THIRD_PARTY = SHARED_THIRD_PARTY + ("curl/", "boost/", "httplib.h", "catch2/", "benchmark/")

DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(\w+)(.*)$", re.S)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:<([^>]+)>|"([^"]+)")')


class AmalgamationError(Exception):
    pass


def code_mask(text):
    """One bool per character: True where a preprocessor would look for directives, i.e. outside
    comments and outside string, character and raw string literals."""
    mask = bytearray(b"\x01") * len(text)
    raw_prefix = re.compile(r'(?:u8|[uUL])?R"([^ ()\\\t\v\f\n]{0,16})\(')
    i, n = 0, len(text)
    previous_is_word = False
    while i < n:
        c = text[i]
        if c == "/" and text.startswith("//", i):
            end = text.find("\n", i)
            end = n if end < 0 else end
            while end < n and text[end - 1] == "\\":  # a continued line comment
                end = text.find("\n", end + 1)
                end = n if end < 0 else end
        elif c == "/" and text.startswith("/*", i):
            end = text.find("*/", i + 2)
            if end < 0:
                raise AmalgamationError("unterminated comment")
            end += 2
        elif not previous_is_word and (raw := raw_prefix.match(text, i)):
            end = text.find(")" + raw.group(1) + '"', raw.end())
            if end < 0:
                raise AmalgamationError("unterminated raw string")
            end += len(raw.group(1)) + 2
        elif c == '"' or (c == "'" and not previous_is_word):  # 1'000 is a number
            end = i + 1
            while end < n and text[end] != c and text[end] != "\n":
                end += 2 if text[end] == "\\" else 1
            end += 1
        else:
            previous_is_word = c.isalnum() or c == "_"
            i += 1
            continue
        # The first character stays visible so that `#include "x"` is still seen as a directive.
        for k in range(i + 1, min(end, n)):
            mask[k] = 0
        previous_is_word = False
        i = end
    return mask


# Folders that users read; elsewhere comments are left in the headers they come from.
DOCUMENTED = {"hf", "hf/sandbox", "hf/sandbox/http", "hf/sandbox/launchers", "hf/sandbox/testing",
              "hf/sandbox/transports"}


class Line:
    def __init__(self, text, directive, argument, include, prose=False):
        self.text = text
        self.prose = prose  # a comment or an empty line, outside of any literal
        self.directive = directive  # "include", "if", ... or None
        self.argument = argument
        self.include = include


def read_lines(path):
    """The file as logical lines: a directive with its continuation lines is one."""
    text = path.read_text(encoding="utf-8")
    if "\r" in text:
        raise AmalgamationError(f"{path}: carriage return")
    mask = code_mask(text)
    lines = []
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end]
        match = DIRECTIVE.match(line)
        hash_at = position + (len(line) - len(line.lstrip(" \t")))
        if match and mask[hash_at]:
            while text[end - 1 : end] == "\\":
                end = text.find("\n", end + 1)
                end = len(text) if end < 0 else end
            line = text[position:end]
            match = DIRECTIVE.match(line)
            include = None
            if match.group(1) == "include":
                found = INCLUDE.match(line)
                if not found:
                    raise AmalgamationError(f"{path}: computed include: {line}")
                include = found.group(1) or found.group(2)
            lines.append(Line(line, match.group(1), match.group(2).strip(), include))
        else:
            bare = line.strip()
            start = position + len(line) - len(line.lstrip())
            prose = bool((not bare or bare.startswith("//")) and (start >= len(mask) or mask[start]))
            lines.append(Line(line, None, None, None, prose and not bare.endswith("\\")))
        position = end + 1
    return lines


class Header:
    """A parsed header: every line with the conditions around it (its own guard left out)."""

    def __init__(self, path, name):
        self.path = path
        self.name = name
        self.lines = read_lines(path)
        directives = [l for l in self.lines if l.directive]
        if (
            len(directives) < 3
            or directives[0].directive != "ifndef"
            or directives[1].directive != "define"
            or directives[0].argument != directives[1].argument
            or directives[-1].directive != "endif"
        ):
            raise AmalgamationError(f"{path}: no include guard")
        self.guard = directives[0].argument
        self.conditions = []
        stack = []
        for line in self.lines:
            if line.directive in ("if", "ifdef", "ifndef"):
                self.conditions.append(tuple(stack[1:]))
                stack.append(f"{line.directive} {line.argument}")
                continue
            if line.directive in ("elif", "else", "elifdef", "elifndef"):
                stack[-1] = f"{stack[-1]} | {line.directive} {line.argument}"
            if line.directive == "endif":
                if not stack:
                    raise AmalgamationError(f"{path}: #endif without #if")
                stack.pop()
            self.conditions.append(tuple(stack[1:]))
        if stack:
            raise AmalgamationError(f"{path}: unterminated {stack[-1]}")

    def items(self):
        return zip(self.lines, self.conditions)


class Amalgamation:
    def __init__(self, include_dir, umbrella):
        self.include_dir = include_dir.resolve()
        self.headers = {}
        self.emitted = set()  # real paths
        self.guards = {}
        self.shared_includes = set()  # third-party and standard, already included unconditionally
        self.umbrella = self.header((self.include_dir / umbrella).resolve())

    def header(self, path):
        if path not in self.headers:
            header = Header(path, path.relative_to(self.include_dir).as_posix())
            other = self.guards.setdefault(header.guard, header.name)
            if other != header.name:
                raise AmalgamationError(f"{header.name} and {other} share the guard {header.guard}")
            self.headers[path] = header
        return self.headers[path]

    def resolve(self, including, include):
        """The real path of a project header, None for any other include."""
        for directory in (including.path.parent, self.include_dir):
            candidate = (directory / include).resolve()
            if candidate.is_file() and candidate.is_relative_to(self.include_dir):
                return candidate
        if include.startswith("hf/"):
            raise AmalgamationError(f"{including.name}: <{include}> does not exist")
        return None

    def reach(self, path, seen):
        """All project headers that `path` needs, itself included."""
        if path in seen:
            return
        seen.add(path)
        header = self.header(path)
        for line, conditions in header.items():
            if line.include is None:
                continue
            target = self.resolve(header, line.include)
            if target is None:
                continue
            if conditions and header is not self.umbrella:
                raise AmalgamationError(
                    f"{header.name}: conditional include of <{line.include}>; "
                    f"only {self.umbrella.name} may do that"
                )
            self.reach(target, seen)

    def emit(self, path, out, shared):
        if path in self.emitted:
            return
        self.emitted.add(path)
        header = self.header(path)
        targets = [self.resolve(header, line.include) if line.include else None
                   for line in header.lines]
        for target in targets:
            if target is not None:
                self.emit(target, out, shared)
        body = []
        documented = header.name.rpartition("/")[0] in DOCUMENTED
        for (line, conditions), target in zip(header.items(), targets):
            if line.prose and not documented:
                continue
            if line.include is None:
                body.append(line.text)
            elif target is None and self.keep_include(header, line, conditions, shared):
                body.append(line.text)
        out.append(f"\n// {header.name}\n")
        out.extend(trim(body))

    def keep_include(self, header, line, conditions, shared):
        name = line.include
        third_party = name.startswith(KNOWN_THIRD_PARTY)
        if shared and third_party and not name.startswith(SHARED_THIRD_PARTY):
            raise AmalgamationError(f"{header.name}: <{name}> in the part that every program sees")
        if conditions:
            return True
        if name in self.shared_includes:
            return False
        if shared:
            self.shared_includes.add(name)
        return True

    def run(self):
        umbrella = self.umbrella
        self.emitted.add(umbrella.path)
        shared, sections = [], {}
        for line, conditions in umbrella.items():
            if line.include is None:
                continue
            target = self.resolve(umbrella, line.include)
            if target is None:
                continue
            if not conditions:
                shared.append(target)
            else:
                sections.setdefault(conditions, []).append(target)

        # A header that two sections with different conditions need belongs to the shared part.
        users = {}
        for conditions, targets in sections.items():
            needed = set()
            for target in targets:
                self.reach(target, needed)
            for path in needed:
                users.setdefault(path, set()).add(conditions)
        reached = set()
        for target in shared:
            self.reach(target, reached)
        between = sorted(p for p, c in users.items() if len(c) > 1 and p not in reached)

        out = []
        shared_out = []
        for target in shared + between:
            self.emit(target, shared_out, True)
        shared_done = False
        for line, conditions in umbrella.items():
            if line.include is None:
                out.append(line.text)
                continue
            target = self.resolve(umbrella, line.include)
            if target is None:
                if self.keep_include(umbrella, line, conditions, not conditions):
                    out.append(line.text)
            elif not conditions:
                if not shared_done:
                    out.extend(shared_out)
                    shared_done = True
            else:
                if not shared_done:
                    raise AmalgamationError(f"{umbrella.name}: shared headers come first")
                self.emit(target, out, False)
        return out


def trim(lines):
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def version_of(include_dir):
    text = (include_dir / "hf/sandbox/version.hpp").read_text(encoding="utf-8")
    return re.search(r'HF_SANDBOX_VERSION_STRING "([^"]+)"', text).group(1)


def contents(include_dir, umbrella):
    """The names of the headers that the single header contains."""
    amalgamation = Amalgamation(include_dir, umbrella)
    amalgamation.run()
    root = amalgamation.include_dir
    return sorted(path.relative_to(root).as_posix() for path in amalgamation.emitted)


def amalgamate(include_dir, umbrella):
    body = "\n".join(Amalgamation(include_dir, umbrella).run())
    head = (
        f"// hf-sandbox {version_of(include_dir)}, the whole library in one header.\n"
        "// SPDX-License-Identifier: Apache-2.0\n"
        "// Generated by tools/amalgamate.py from include/hf/; changes belong there.\n"
        "//\n"
        "//   g++ -std=c++20 main.cpp -lcurl -lcrypto\n\n"
    )
    return head + body.strip("\n") + "\n"


def main():
    parser = argparse.ArgumentParser(description="Writes the single header.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--list", action="store_true", help="print the headers it contains")
    parser.add_argument("--include-dir", type=Path, default=ROOT / "include")
    parser.add_argument("--umbrella", default="hf/sandbox.hpp")
    parser.add_argument("--output", type=Path, default=ROOT / "single_include/hf/sandbox.hpp")
    arguments = parser.parse_args()
    try:
        if arguments.list:
            print("\n".join(contents(arguments.include_dir, arguments.umbrella)))
            return 0
        text = amalgamate(arguments.include_dir, arguments.umbrella)
    except AmalgamationError as error:
        print(f"amalgamate: {error}", file=sys.stderr)
        return 1
    size = len(text.encode("utf-8"))
    if size > SIZE_LIMIT:
        print(f"amalgamate: {size} bytes, more than {SIZE_LIMIT}", file=sys.stderr)
        return 1
    old = arguments.output.read_text(encoding="utf-8") if arguments.output.exists() else ""
    if arguments.check:
        if old == text:
            return 0
        difference = difflib.unified_diff(
            old.splitlines(), text.splitlines(), "committed", "generated", lineterm="", n=1)
        for number, line in enumerate(difference):
            if number == 40:
                print("...")
                break
            print(line)
        print(f"{arguments.output} is out of date; run tools/amalgamate.py", file=sys.stderr)
        return 1
    if old != text:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8", newline="\n")
        print(f"{arguments.output}: {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
