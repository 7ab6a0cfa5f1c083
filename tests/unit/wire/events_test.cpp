#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/parse_requests.hpp>
#include <hf/sandbox/wire/processes.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <utility>

using namespace hf::wire;

namespace {

template <class Event>
Event round_trip(Event const& event) {
  auto j = event_to_json(event);
  return std::get<Event>(event_from_json(json::parse(j.dump())).value());
}

bool is_malformed(char const* text) {
  try {
    (void)event_from_json(json::parse(text));
  } catch (hf::error const& e) {
    return e.kind() == hf::errc::protocol_error;
  }
  return false;
}

}  // namespace

TEST_CASE("events survive the way through JSON", "[wire]") {
  CHECK(round_trip(start_event{7, "p-1"}).id == "p-1");
  CHECK(round_trip(start_event{7, ""}).pid == 7);
  output_event const binary{output_stream::err, std::string("\xff\0", 2), 3};
  CHECK(round_trip(binary).data == binary.data);
  CHECK(round_trip(binary).stream == output_stream::err);
  CHECK(round_trip(binary).seq == 3);
  CHECK(round_trip(output_event{output_stream::out, "a\xff", 0}).data == "a\xef\xbf\xbd");
  exit_event exit;
  exit.signal = 9;
  exit.timed_out = true;
  exit.duration_ms = 12;
  exit.output_open = true;
  exit.unattributed = 2;
  exit.dropped_bytes = 1'000'000'000'000;
  exit.seq = 5;
  auto const back = round_trip(exit);
  CHECK_FALSE(back.exit_code);
  CHECK(back.signal == 9);
  CHECK(back.timed_out);
  CHECK(back.output_open);
  CHECK(back.unattributed == 2);
  CHECK(back.dropped_bytes == exit.dropped_bytes);
  CHECK(back.seq == 5);
}

TEST_CASE("a plain exit event has exactly the members of the common protocol", "[wire]") {
  exit_event exit;
  exit.exit_code = 0;
  CHECK(event_to_json(exit).dump() ==
        R"({"duration_ms":0,"event":"exit","exit_code":0,"signal":null,"timed_out":false})");
}

TEST_CASE("unknown events are passed over, malformed ones are errors", "[wire]") {
  CHECK_FALSE(event_from_json(json::parse(R"({"event":"news"})")));
  for (char const* text :
       {"7", "{}", R"({"event":7})", R"({"event":"stdout"})", R"({"event":"stdout","b64":"!"})",
        R"({"event":"exit","exit_code":99999999999})", R"({"event":"exit","exit_code":"0"})",
        R"({"event":"stdout","data":"","seq":-1})"}) {
    INFO(text);
    CHECK(is_malformed(text));
  }
}

TEST_CASE("an exit says whether anybody knows how the command ended", "[wire]") {
  auto const known = [](char const* text) {
    return std::get<exit_event>(*event_from_json(json::parse(text))).is_known();
  };
  CHECK(known(R"({"event":"exit","exit_code":0})"));
  CHECK(known(R"({"event":"exit","signal":9})"));
  CHECK(known(R"({"event":"exit","timed_out":true})"));
  CHECK_FALSE(known(R"({"event":"exit","exit_code":null,"signal":null})"));
  CHECK_FALSE(known(R"({"event":"exit"})"));
}

TEST_CASE("process entries and run states survive the way through JSON", "[wire]") {
  process_entry entry;
  entry.id = "p-3";
  entry.pid = 10;
  entry.cmd = json::array({"a"});
  entry.tag = "t";
  entry.running = false;
  entry.exit_code = 4;
  auto const back = process_entry_from_json(process_entry_to_json(entry));
  CHECK(back.id == "p-3");
  CHECK(back.cmd == entry.cmd);
  CHECK(back.tag == "t");
  CHECK_FALSE(back.running);
  CHECK(back.exit_code == 4);

  run_status status;
  status.id = "p-1";
  status.exited = true;
  status.first_seq = 2;
  status.last_seq = 9;
  status.exit.exit_code = 1;
  auto const again = run_status_from_json(run_status_to_json(status));
  CHECK(again.exited);
  CHECK(again.last_seq == 9);
  CHECK(again.exit.exit_code == 1);
  CHECK_THROWS_AS(run_status_from_json(json::parse(R"({"state":"exited"})")), hf::error);
}

TEST_CASE("a run that goes on has no exit, whatever else the answer says", "[wire]") {
  auto const status = run_status_from_json(
      json::parse(R"({"state":"running","last_seq":3,"exit":{"exit_code":7}})"));
  CHECK_FALSE(status.exited);
  CHECK(status.last_seq == 3);
  CHECK_FALSE(status.exit.exit_code);
  run_status going;
  going.exit.exit_code = 7;
  CHECK_FALSE(run_status_to_json(going).contains("exit"));
}

TEST_CASE("signal requests are read strictly", "[wire]") {
  CHECK(parse_signal_request(R"({"signal":9,"scope":"tree"})").scope == "tree");
  CHECK(parse_signal_request(R"({"signal":9})").scope == "process");
  for (char const* body : {"{}", "[]", R"({"signal":0})", R"({"signal":65})", R"({"signal":"9"})",
                           R"({"signal":9,"scope":"all"})"})
    CHECK_THROWS_AS(parse_signal_request(body), hf::error);
}
