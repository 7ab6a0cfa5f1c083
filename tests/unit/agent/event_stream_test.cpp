#include <hf/sandbox/agent/event_stream.hpp>

#include <catch2/catch_test_macros.hpp>

#include <span>
#include <string>
#include <vector>

using hf::detail::event_stream;
namespace wire = hf::wire;

namespace {

std::span<std::byte const> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// One line for an event, to compare whole streams.
std::string show(wire::event const& event) {
  if (auto const* start = std::get_if<wire::start_event>(&event))
    return "start " + std::to_string(start->pid) + " " + start->id;
  if (auto const* output = std::get_if<wire::output_event>(&event))
    return (output->stream == wire::output_stream::out ? "out " : "err ") +
           std::to_string(output->seq) + " " + output->data;
  if (auto const* exit = std::get_if<wire::exit_event>(&event))
    return "exit " + std::to_string(exit->exit_code.value_or(-1)) + " " +
           std::to_string(exit->signal.value_or(0)) + (exit->timed_out ? " timed out" : "") +
           (exit->output_open ? " open" : "") + " " + std::to_string(exit->duration_ms);
  return "ping";
}

std::vector<std::string> decode(std::vector<std::string_view> const& pieces) {
  event_stream stream;
  std::vector<std::string> seen;
  for (auto const piece : pieces)
    stream.feed(bytes(piece), [&](wire::event&& event) {
      seen.push_back(show(event));
      return true;
    });
  CHECK_FALSE(stream.mid_line());
  return seen;
}

// Streams as agents of both protocols send them.
std::vector<std::string> const recorded{
    "{\"event\":\"start\",\"pid\":42}\n"
    "{\"data\":\"hello\\n\",\"event\":\"stdout\"}\n"
    "{\"data\":\"warn \\u00e9 \\u2028 \xc3\xa9\",\"event\":\"stderr\"}\n"
    "{\"event\":\"ping\"}\n"
    "{\"duration_ms\":17,\"event\":\"exit\",\"exit_code\":3,\"signal\":null,\"timed_out\":false}\n",
    "{\"event\":\"start\",\"id\":\"p-7\",\"pid\":9}\r\n"
    "{\"b64\":\"AP8Ah/8=\",\"event\":\"stdout\",\"seq\":1}\n"
    "\n"
    "{\"event\":\"from_the_future\",\"seq\":2}\n"
    "{\"data\":\"line\xe2\x80\xa8separator\",\"event\":\"stdout\",\"seq\":3}\n"
    "{\"duration_ms\":5,\"event\":\"exit\",\"exit_code\":null,\"output_open\":true,\"seq\":4,"
    "\"signal\":9,\"timed_out\":true}\n"};

}  // namespace

TEST_CASE("event_stream decodes what agents send") {
  CHECK(decode({recorded[0]}) ==
        std::vector<std::string>{"start 42 ", "out 0 hello\n",
                                 "err 0 warn \xc3\xa9 \xe2\x80\xa8 \xc3\xa9", "ping",
                                 "exit 3 0 17"});
  CHECK(decode({recorded[1]}) ==
        std::vector<std::string>{"start 9 p-7", std::string("out 1 \0\xff\0\x87\xff", 11),
                                 "out 3 line\xe2\x80\xa8separator", "exit -1 9 timed out open 5"});
}

TEST_CASE("event_stream gives the same events wherever the stream is cut") {
  for (auto const& text : recorded) {
    auto const whole = decode({text});
    std::string_view const view(text);
    for (std::size_t first = 0; first <= view.size(); ++first)
      for (std::size_t second : {first, (first + view.size()) / 2, view.size()})
        REQUIRE(decode({view.substr(0, first), view.substr(first, second - first),
                        view.substr(second)}) == whole);
    std::vector<std::string_view> single;
    for (std::size_t i = 0; i < view.size(); ++i)
      single.push_back(view.substr(i, 1));
    REQUIRE(decode(single) == whole);
  }
}

TEST_CASE("event_stream refuses what is not an event stream") {
  for (std::string_view const line :
       {"not json\n", "[1]\n", "{\"event\":5}\n", "{\"pid\":5}\n", "{\"event\":\"stdout\"}\n",
        "{\"event\":\"stdout\",\"b64\":\"%%%\"}\n",
        "{\"event\":\"exit\",\"exit_code\":99999999999}\n",
        "{\"event\":\"stdout\",\"data\":\"x\",\"seq\":-4}\n"}) {
    INFO(line);
    event_stream stream;
    try {
      stream.feed(bytes(line), [](wire::event&&) { return true; });
      FAIL("accepted");
    } catch (hf::error const& e) {
      CHECK(e.kind() == hf::errc::protocol_error);
    }
  }
}

TEST_CASE("event_stream bounds the memory that an endless line takes") {
  event_stream stream;
  std::string const piece(1u << 20, 'x');
  bool refused = false;
  for (int i = 0; i < 32 && !refused; ++i) {
    try {
      stream.feed(bytes(piece), [](wire::event&&) { return true; });
    } catch (hf::error const& e) {
      refused = e.kind() == hf::errc::protocol_error;
    }
  }
  CHECK(refused);
}

TEST_CASE("event_stream stops where the receiver wants to") {
  event_stream stream;
  int seen = 0;
  stream.feed(bytes(recorded[0]), [&](wire::event&&) { return ++seen < 2; });
  CHECK(seen == 2);
}

TEST_CASE("output lines are read the same way as by the JSON parser") {
  std::vector<std::string> texts{"",
                                 "plain",
                                 "a\nb\n",
                                 "quote \" backslash \\ slash /",
                                 "\t\r\b\f",
                                 std::string("\0\x01\x1f\x7f", 4),
                                 "\xc3\xa9 \xe2\x82\xac",
                                 "\xf0\x9f\x98\x80",
                                 "\\\\\"\"\\\"",
                                 "\"",
                                 "\\"};
  std::string many;
  for (int i = 0; i < 5000; ++i)
    many += i % 3 == 0 ? "\"" : i % 3 == 1 ? "\\" : "line\n";
  texts.push_back(many);
  for (auto const& text : texts)
    for (bool const ascii : {false, true}) {
      wire::json j = {{"data", text}, {"event", "stderr"}, {"seq", 12}};
      auto const line = j.dump(-1, ' ', ascii);
      wire::output_event output;
      bool const fast = hf::detail::read_output_line(line, output);
      if (text == "\xf0\x9f\x98\x80" && ascii) {
        CHECK_FALSE(fast);  // surrogate pairs are left to the parser
        continue;
      }
      REQUIRE(fast);
      CHECK(output.data == text);
      CHECK(output.seq == 12);
      CHECK(output.stream == wire::output_stream::err);
    }
  wire::output_event bytes;
  REQUIRE(hf::detail::read_output_line("{\"b64\":\"AP8=\",\"event\":\"stdout\",\"seq\":3}", bytes));
  CHECK(bytes.data == std::string("\0\xff", 2));
  CHECK(bytes.seq == 3);
  for (std::string_view const line :
       {"{\"b64\":\"%%\",\"event\":\"stdout\"}", "{\"b64\":\"AP8=", "{\"data\":\"x",
        "{\"data\":\"x\\", "{\"data\":\"\\u12\",\"event\":\"stdout\"}",
        "{\"data\":\"x\",\"event\":\"stdout\",\"seq\":}", "{\"data\":\"x\",\"event\":\"start\"}",
        "{\"data\":\"x\",\"event\":\"stdout\",\"seq\":1", "{\"data\":\"\\x\",\"event\":\"stdout\"}",
        "{\"data\":\"x\",\"event\":\"stdout\",\"seq\":1}}", ""})
    CHECK_FALSE(hf::detail::read_output_line(line, bytes));
}
