#!/usr/bin/env python3
"""Turns the C++ blocks of README.md and docs/*.md into programs, so that they are compiled and run.

    tools/docs_snippets.py <output folder>

A block with main() is a program; any other is the body of a function that has `sb`, a sandbox, and
`path`, a scratch folder on this machine. A comment before a block changes that:

    <!-- snippet: declarations -->    the block stands at namespace scope, and later blocks see it
    <!-- snippet: compile -->         compiled, but not run (it needs the Hub, Docker, a GPU, ...)
    <!-- snippet: none: why -->       not C++ of ours (another library's code for comparison)

as_written.cpp has them as they are and is only compiled. run.cpp runs the others one after another
with `hf::sandbox` taken for a sandbox on the process launcher.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(?:<!-- snippet: ([^>]*?) -->\s*\n)?^```cpp[^\n]*\n(.*?)^```", re.M | re.S)


class Snippet:
    def __init__(self, path, line, kind, code):
        self.name = path.relative_to(ROOT).as_posix()
        self.line = line
        self.kind = kind
        self.includes = re.findall(r"^[ \t]*#[ \t]*include[^\n]*", code, re.M)
        # The lines stay in place so that messages name the right one.
        self.code = re.sub(r"^[ \t]*#[ \t]*include[^\n]*", "", code, flags=re.M)
        self.program = re.search(r"\bint main\(", code) is not None


def snippets():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            kind = (match.group(1) or "run").split(":")[0].strip()
            if kind not in ("run", "compile", "declarations", "none"):
                raise SystemExit(f"{path}: unknown snippet kind {kind}")
            if kind != "none":
                yield Snippet(path, text.count("\n", 0, match.start(2)) + 1, kind, match.group(2))


def local(code):
    """The same code on the process launcher."""
    return re.sub(r"\bhf::sandbox\b(?!_|/)", "local_sandbox", code)


def generate(found, run):
    out = ["#include <hf/sandbox.hpp>", "#include <cstdio>", "#include <filesystem>", "#include <iostream>"]
    out += sorted({i.strip() for s in found for i in s.includes} - set(out))
    out += [
        "",
        "using local_sandbox = hf::basic_sandbox<hf::curl_transport, snippet_launcher>;"
        if run else "using local_sandbox = hf::sandbox;",
        "namespace {",
    ]
    calls = []
    for number, snippet in enumerate(found):
        if run and snippet.kind == "compile":
            continue
        code = local(snippet.code) if run else snippet.code
        line = f'#line {snippet.line} "{snippet.name}"'
        if snippet.kind == "declarations":
            out += [line, code]
        elif snippet.program:
            code = re.sub(r"\bint main\(\s*\)", f"[[maybe_unused]] int program_{number}()", code)
            code = re.sub(r"\bint main\(", f"[[maybe_unused]] int program_{number}(", code)
            # Only main may end without a return.
            code = re.sub(r"\}\s*\Z", "return 0; }\n", code)
            out += [line, code]
            calls.append((snippet, f"program_{number}()"))
        else:
            out += [
                f"[[maybe_unused]] void snippet_{number}([[maybe_unused]] local_sandbox& sb, "
                "[[maybe_unused]] std::filesystem::path const& path) {{",
                line, code, "}}",
            ]
            calls.append((snippet, f"snippet_{number}(sb, path)"))
    out += ["}  // namespace", ""]
    out.insert(out.index("namespace {"), "")
    if run:
        out += [
            '#line 1 "run.cpp"',
            "int main() {",
            "  auto const path = std::filesystem::temp_directory_path() / "
            '("hf-sandbox-snippets-" + std::to_string(getpid()));',
            "  std::filesystem::create_directories(path);",
            "  std::filesystem::current_path(path);",
            "  int status = 0;",
            "  try {",
        ]
        for snippet, call in calls:
            out += [f'    std::printf("== {snippet.name}:{snippet.line}\\n"); std::fflush(stdout);']
            if call.startswith("snippet"):
                out += ["    {", "      auto sb = local_sandbox::create({});", f"      {call};", "    }"]
            else:
                out += [f"    {call};"]
        out += [
            "  } catch (hf::error const& e) {",
            '    std::printf("%s\\n", e.what());',
            "    status = e.code() == hf::errc::unsupported || e.code() == hf::errc::isolation_unavailable ? 4 : 1;",
            '    if (status == 4) std::printf("Skipped: %s\\n", e.what());',
            "  } catch (std::exception const& e) {",
            '    std::printf("%s\\n", e.what());',
            "    status = 1;",
            "  }",
            "  std::error_code ignored;",
            "  std::filesystem::remove_all(path, ignored);",
            "  return status;",
            "}",
        ]
        # The launcher of the snippets: the default, but quick to be found.
        at = next(i for i, l in enumerate(out) if l.startswith("using local_sandbox"))
        out.insert(at, "#include <unistd.h>\nusing snippet_launcher = hf::process_launcher;")
    return "\n".join(out) + "\n"


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    found = list(snippets())
    for name, run in (("as_written.cpp", False), ("run.cpp", True)):
        text = generate(found, run)
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    print(f"{len(found)} snippets")


if __name__ == "__main__":
    main()
