"""tools/amalgamate.py on small trees made for the purpose."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import amalgamate  # noqa: E402


def guarded(name, body):
    guard = "HF_" + name.upper().replace("/", "_").replace(".", "_")
    return f"#ifndef {guard}\n#define {guard}\n{body}\n#endif\n"


class Amalgamate(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = Path(self.directory.name)
        self.write("sandbox/version.hpp", '#define HF_SANDBOX_VERSION_STRING "1.2.3"')

    def write(self, name, body):
        path = self.root / "hf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(guarded(name, body), encoding="utf-8")

    def run_tool(self):
        return amalgamate.amalgamate(self.root, "hf/sandbox.hpp")

    def test_every_header_is_emitted_once_before_its_users(self):
        self.write("sandbox.hpp", "#include <hf/sandbox/b.hpp>\n#include <hf/sandbox/c.hpp>")
        self.write("sandbox/a.hpp", "struct a {};")
        self.write("sandbox/b.hpp", '#include "a.hpp"\nstruct b : a {};')
        self.write("sandbox/c.hpp", "#include <hf/sandbox/../sandbox/a.hpp>\nstruct c : a {};")
        text = self.run_tool()
        self.assertEqual(text.count("struct a {};"), 1)
        self.assertLess(text.index("struct a"), text.index("struct b"))
        self.assertNotIn("#include", text)

    def test_standard_headers_are_included_once_and_early_enough(self):
        self.write("sandbox.hpp", "#include <hf/sandbox/b.hpp>")
        self.write("sandbox/a.hpp", "#include <string>\nstd::string a();")
        self.write("sandbox/b.hpp", "#include <string>\n#include <hf/sandbox/a.hpp>\nstd::string b();")
        text = self.run_tool()
        self.assertEqual(text.count("#include <string>"), 1)
        self.assertLess(text.index("#include <string>"), text.index("a();"))

    def test_raw_strings_and_comments_are_text(self):
        script = (
            'inline auto s = R"sh(\n#include <hf/sandbox/missing.hpp>\n#if x\n"\n)" // )sh";\n'
            "/*\n#include <hf/sandbox/missing.hpp>\n#endif\n*/\n"
            "// \\\n#include <hf/sandbox/missing.hpp>\n"
            "inline int n = 1'000; inline char q = '\"'; inline auto e = \"\\\"\";\n"
        )
        self.write("sandbox.hpp", "#include <hf/sandbox/a.hpp>")
        self.write("sandbox/a.hpp", script)
        self.assertIn(script.strip(), self.run_tool())

    def test_sections_of_the_umbrella_keep_their_guard_and_follow_shared_headers(self):
        self.write(
            "sandbox.hpp",
            "#include <hf/sandbox/a.hpp>\n#ifndef NO_X\n#include <hf/sandbox/x.hpp>\n#endif\n"
            "#ifdef USE_Y\n#include <hf/sandbox/y.hpp>\n#endif",
        )
        self.write("sandbox/a.hpp", "struct a {};")
        self.write("sandbox/both.hpp", "struct both {};")
        self.write("sandbox/only_x.hpp", "struct only_x {};")
        self.write("sandbox/x.hpp", "#include <hf/sandbox/both.hpp>\n#include <hf/sandbox/only_x.hpp>\n"
                                    "#include <curl/curl.h>\nstruct x {};")
        self.write("sandbox/y.hpp", "#include <hf/sandbox/both.hpp>\nstruct y {};")
        text = self.run_tool()
        order = ["struct a", "struct both", "#ifndef NO_X", "struct only_x", "<curl/curl.h>", "struct x",
                 "#ifdef USE_Y", "struct y"]
        self.assertEqual(sorted(order, key=text.index), order)

    def test_conditional_project_includes_elsewhere_are_refused(self):
        self.write("sandbox.hpp", "#include <hf/sandbox/a.hpp>")
        self.write("sandbox/a.hpp", "#ifdef X\n#include <hf/sandbox/b.hpp>\n#endif")
        self.write("sandbox/b.hpp", "")
        with self.assertRaisesRegex(amalgamate.AmalgamationError, "conditional include"):
            self.run_tool()

    def test_conditional_project_includes_inside_a_section_are_refused(self):
        self.write("sandbox.hpp", "#include <hf/sandbox/v.hpp>\n#ifdef Y\n#include <hf/sandbox/a.hpp>\n#endif")
        self.write("sandbox/v.hpp", "")
        self.write("sandbox/a.hpp", "#ifdef X\n#include <hf/sandbox/b.hpp>\n#endif")
        self.write("sandbox/b.hpp", "")
        with self.assertRaisesRegex(amalgamate.AmalgamationError, "conditional include"):
            self.run_tool()

    def test_a_transport_library_in_the_shared_part_is_refused(self):
        self.write("sandbox.hpp", "#include <hf/sandbox/a.hpp>")
        self.write("sandbox/a.hpp", "#include <boost/asio.hpp>")
        with self.assertRaisesRegex(amalgamate.AmalgamationError, "boost/asio.hpp"):
            self.run_tool()

    def test_missing_headers_and_guards_are_refused(self):
        self.write("sandbox.hpp", "#include <hf/sandbox/a.hpp>")
        with self.assertRaisesRegex(amalgamate.AmalgamationError, "does not exist"):
            self.run_tool()
        (self.root / "hf/sandbox/a.hpp").write_text("#pragma once\n", encoding="utf-8")
        with self.assertRaisesRegex(amalgamate.AmalgamationError, "no include guard"):
            self.run_tool()

    def test_the_same_tree_gives_the_same_bytes(self):
        self.write("sandbox.hpp", "#include <hf/sandbox/a.hpp>")
        self.write("sandbox/a.hpp", "struct a {};")
        self.assertEqual(self.run_tool(), self.run_tool())


if __name__ == "__main__":
    unittest.main()
