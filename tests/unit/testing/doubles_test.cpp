#include <hf/sandbox/any_launcher.hpp>
#include <hf/sandbox/any_transport.hpp>
#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/testing/agent_replies.hpp>
#include <hf/sandbox/testing/archetypes.hpp>
#include <hf/sandbox/testing/fake_launcher.hpp>
#include <hf/sandbox/testing/fault_transport.hpp>
#include <hf/sandbox/testing/recording_transport.hpp>
#include <hf/sandbox/testing/replay_transport.hpp>
#include <hf/sandbox/testing/scripted_transport.hpp>

#include <catch2/catch_test_macros.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

using hf::errc;
using namespace hf::testing;

// A class without template parameters, whose members are compiled here and nowhere else.
static_assert(hf::launcher<hf::any_launcher, hf::any_transport>);

using plain_sandbox = hf::basic_sandbox<hf::any_transport, hf::any_launcher>;

// Near misses: each lacks one thing.
namespace {
struct no_send {};
struct returns_int {
  int send(hf::http::request const&, hf::http::response_sink&);
};
struct wants_more {
  void send(hf::http::request const&, hf::http::response_sink&, int);
};
struct changes_the_request {
  void send(hf::http::request&, hf::http::response_sink&);
};
struct cannot_move {
  cannot_move(cannot_move&&) = delete;
  void send(hf::http::request const&, hf::http::response_sink&);
};
static_assert(!hf::transport<no_send>);
static_assert(!hf::transport<returns_int>);
static_assert(!hf::transport<wants_more>);
static_assert(!hf::transport<changes_the_request>);
static_assert(!hf::transport<cannot_move>);
static_assert(!hf::launcher<no_send, transport_archetype>);
static_assert(!hf::launcher<launcher_archetype, no_send>);
static_assert(hf::transport<fault_transport<transport_archetype>>);
static_assert(hf::transport<recording_transport<scripted_transport>>);
static_assert(hf::launcher<fake_launcher, scripted_transport>);

struct tape_file {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("hf-sandbox-tape-" + std::to_string(::getpid()));
  ~tape_file() { std::filesystem::remove(path); }
};
}  // namespace

TEST_CASE("the archetypes are enough for a sandbox") {
  auto made = [] {
    return std::make_shared<hf::basic_client<transport_archetype, launcher_archetype>>(
        launcher_archetype::make(), transport_archetype::make());
  };
  // It knows no machine, so that there is none to talk to.
  using sandbox = hf::basic_sandbox<transport_archetype, launcher_archetype>;
  CHECK(sandbox::list(made()).empty());
  CHECK_THROWS_AS(sandbox::connect(made(), "x"), hf::error);
}

TEST_CASE("a scripted transport and a fake launcher make a whole sandbox") {
  scripted_transport through;
  fake_launcher launcher;
  through.expect("POST", "/v1/exec").reply_with(exec_reply("2\n"));
  {
    auto sb = plain_sandbox::create({.labels = {{"a", "b"}}}, launcher, through);
    CHECK(sb.id() == "fake-1");
    CHECK(sb.exec({"echo", "2"}).out == "2\n");
    CHECK(plain_sandbox::list({{"a", "b"}}, launcher, through).size() == 1);
    CHECK(plain_sandbox::list({{"a", "c"}}, launcher, through).empty());
  }
  through.verify();
  CHECK(through.requests().at(0).fields.get("X-Sandbox-Token") == "token-of-fake-1");
  CHECK(launcher.running() == 0);
  CHECK(launcher.stopped() == std::vector<std::string>{"fake-1"});
}

TEST_CASE("a fake launcher fails, ends machines and keeps logs as told") {
  scripted_transport through;
  fake_launcher launcher;
  launcher.fail_next_launch(hf::error(errc::quota_exceeded, "no credit"));
  CHECK_THROWS_AS(launcher.launch(through, {}), hf::error);
  auto const machine = launcher.launch(through, {});
  launcher.set_logs(machine.id, "last words");
  CHECK(launcher.logs(through, machine.id) == "last words");
  launcher.end(machine.id);
  CHECK(launcher.inspect(through, machine.id).phase == hf::phase::ended);
  CHECK_THROWS_AS(launcher.inspect(through, "fake-99"), hf::error);
  CHECK(launcher.launches().size() == 2);
}

TEST_CASE("any_transport tells what it holds") {
  CHECK(hf::any_transport(scripted_transport()).held_traits().name == "scripted");
}

TEST_CASE("every step of an exchange can be made to fail") {
  scripted_transport script;
  script.expect("GET", "/").stream(200, {"ab", "cd"}).any_number_of_times();
  fault_transport<scripted_transport> through(script);
  std::vector<errc> seen;
  std::vector<bool> reached;
  auto const steps = fail_at_every_step(
      through, fault::drop, [&] { (void)hf::http::fetch(through, {.url = "http://h/"}); },
      [&](std::uint64_t, hf::error const& e) {
        seen.push_back(e.kind());
        reached.push_back(e.may_have_reached_peer());
      });
  // Connecting, head, two pieces, end.
  CHECK(steps == 5);
  CHECK(seen == std::vector<errc>{errc::connect_failed, errc::connection_lost,
                                  errc::connection_lost, errc::connection_lost,
                                  errc::connection_lost});
  CHECK(reached == std::vector<bool>{false, true, true, true, true});
  CHECK(script.requests().size() == 5);  // the first never got there
}

TEST_CASE("a truncating fault lets half of a piece through") {
  scripted_transport script;
  script.expect("GET", "/").reply(200, "abcd");
  fault_transport<scripted_transport> through(script);
  through.plan(3, fault::truncate);
  std::string got;
  CHECK_THROWS_AS(hf::http::stream(through, {.url = "http://h/"},
                                   [&](auto data) {
                                     got += hf::http::as_text(data);
                                     return hf::http::flow::more;
                                   }),
                  hf::error);
  CHECK(got == "ab");
  CHECK(through.fired());
}

TEST_CASE("recorded traffic can be replayed, without its secrets") {
  tape_file tape;
  scripted_transport script;
  script.expect("GET", "/a?n=1").reply(200, "one", {{"Set-Cookie", "s3cret"}});
  script.expect("GET", "/a?n=2").stream(200, {"tw", std::string("\0\xff", 2)});
  script.expect("GET", "/gone").fail(errc::connection_lost, "cut");
  {
    recording_transport<scripted_transport> through(tape.path, script);
    (void)hf::http::fetch(
        through, {.url = "http://h:1/a?n=1", .fields = {{"Authorization", "Bearer s3cret"}}});
    (void)hf::http::fetch(through, {.url = "http://h:1/a?n=2"});
    CHECK_THROWS_AS(hf::http::fetch(through, {.url = "http://h:1/gone"}), hf::error);
  }
  std::ifstream in(tape.path, std::ios::binary);
  std::string const text{std::istreambuf_iterator<char>(in), {}};
  CHECK(text.find("s3cret") == std::string::npos);

  replay_transport replay(tape.path);
  CHECK(replay.left() == 3);
  CHECK(hf::http::fetch(replay, {.url = "http://other/a?n=2"}).body == std::string("tw\0\xff", 4));
  CHECK(hf::http::fetch(replay, {.url = "http://other/a?n=7"}).body == "one");
  try {
    (void)hf::http::fetch(replay, {.url = "http://other/gone"});
    FAIL("the failure was not replayed");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::connection_lost);
    CHECK(e.may_have_reached_peer());
    CHECK(std::string(e.what()) == "cut");
  }
  CHECK(replay.left() == 0);
  CHECK_THROWS_AS(hf::http::fetch(replay, {.url = "http://other/a"}), hf::error);
}
