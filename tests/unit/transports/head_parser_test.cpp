#include <hf/sandbox/detail/head_parser.hpp>

#include <catch2/catch_test_macros.hpp>

#include <initializer_list>
#include <string>

using hf::detail::head_parser;
using outcome = head_parser::outcome;

namespace {

outcome feed(head_parser& parser, std::initializer_list<char const*> lines) {
  auto last = outcome::more;
  for (auto const* line : lines) {
    last = parser.line(line);
    if (last != outcome::more)
      break;
  }
  return last;
}

}  // namespace

TEST_CASE("a head is built from its lines") {
  head_parser parser;
  CHECK(feed(parser, {"HTTP/1.1 204 No Content\r\n", "A: 1\r\n", "B:\r\n", "A:  2 \t\r\n",
                      "C: folded\r\n", "  value\r\n", "\r\n"}) == outcome::done);
  CHECK(parser.head().status == 204);
  CHECK(parser.head().fields ==
        hf::http::headers{{"A", "1"}, {"B", ""}, {"A", "2"}, {"C", "folded value"}});
}

TEST_CASE("1xx heads are dropped with their fields") {
  head_parser parser;
  CHECK(feed(parser, {"HTTP/1.1 103 Early\r\n", "A: 1\r\n", "\r\n", "HTTP/1.0 200\r\n", "\r\n"}) ==
        outcome::done);
  CHECK(parser.head().status == 200);
  CHECK(parser.head().fields.empty());
}

TEST_CASE("malformed and endless heads are noticed") {
  for (char const* const line : {"", "HTTP/2 200", "HTTP/1.1 20", "HTTP/1.1 abc", "HTTP/1.1 2000",
                                 "HTTP/1.1 099 x", "ICY 200 OK"}) {
    head_parser parser;
    CAPTURE(line);
    CHECK(parser.line(line) == outcome::malformed);
  }
  head_parser switching;
  CHECK(feed(switching, {"HTTP/1.1 101 Switching\r\n", "\r\n"}) == outcome::malformed);
  head_parser endless;
  CHECK(endless.line("HTTP/1.1 200 OK") == outcome::more);
  auto last = outcome::more;
  for (int i = 0; i < 100 && last == outcome::more; ++i)
    last = endless.line("A: " + std::string(4000, 'a'));
  CHECK(last == outcome::too_large);
}

TEST_CASE("a head is limited in its lines, its fields, and all 1xx heads together") {
  head_parser line;
  CHECK(feed(line, {"HTTP/1.1 200 OK"}) == outcome::more);
  CHECK(line.line("A: " + std::string(60'000, 'a')) == outcome::more);
  CHECK(line.line("A: " + std::string(66'000, 'a')) == outcome::too_large);
  head_parser folded;
  CHECK(feed(folded, {"HTTP/1.1 200 OK", "A: b"}) == outcome::more);
  CHECK(folded.line(" " + std::string(40'000, 'a')) == outcome::more);
  CHECK(folded.line(" " + std::string(40'000, 'a')) == outcome::too_large);
  head_parser fields;
  CHECK(feed(fields, {"HTTP/1.1 200 OK"}) == outcome::more);
  for (int i = 0; i < 1000; ++i)
    REQUIRE(fields.line("A: b") == outcome::more);
  CHECK(fields.line("A: b") == outcome::too_large);
  head_parser interim;
  auto last = outcome::more;
  for (int i = 0; i < 20'000 && last == outcome::more; ++i)
    last = feed(interim, {"HTTP/1.1 100 Continue", ""});
  CHECK(last == outcome::too_large);
}

TEST_CASE("what cannot be a field's name or value is malformed") {
  for (std::string const bad : {"no colon", ": v", "a b: v", "a : v", "a: \x01", "a: b\rc",
                                "a\x7f: v", " begins folded"}) {
    head_parser parser;
    CAPTURE(bad);
    CHECK(feed(parser, {"HTTP/1.1 200 OK"}) == outcome::more);
    CHECK(parser.line(bad + "\r\n") == outcome::malformed);
  }
}

TEST_CASE("the length of a body is read from its head, and contradictions are noticed") {
  using hf::detail::announced_length;
  using hf::detail::framing_is_ambiguous;
  CHECK(announced_length({200, {{"Content-Length", "12"}}}, false) == 12);
  CHECK(announced_length({200, {{"Content-Length", "12"}}}, true) == 0);
  CHECK(announced_length({304, {{"Content-Length", "12"}}}, false) == 0);
  CHECK_FALSE(announced_length({200, {}}, false));
  CHECK_FALSE(announced_length({200, {{"Transfer-Encoding", "chunked"}}}, false));
  CHECK_FALSE(framing_is_ambiguous({200, {{"Content-Length", "3"}, {"content-length", "3"}}}));
  CHECK(framing_is_ambiguous({200, {{"Content-Length", "3"}, {"content-length", "4"}}}));
  CHECK(framing_is_ambiguous({200, {{"Content-Length", "-3"}}}));
  CHECK(framing_is_ambiguous({200, {{"Content-Length", "18446744073709551616"}}}));
}
