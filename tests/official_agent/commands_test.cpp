#include "support/file_helpers.hpp"
#include "support/official_agent/official_agent.hpp"
#include "support/sandbox_types.hpp"
#include "support/scale.hpp"

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using hf::errc;
using hf::testing_support::kind_of;
using hf::testing_support::need_official_agent;
using hf::testing_support::official_launcher;
using hf::testing_support::official_sandbox;
using hf::testing_support::scaled;

namespace {

/// Whether a process with this very argument is alive.
bool runs_with_argument(std::string const& argument) {
  for (auto const& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream in(entry.path() / "cmdline", std::ios::binary);
    std::string word;
    while (std::getline(in, word, '\0'))
      if (word == argument)
        return true;
  }
  return false;
}

template <class Condition>
bool await(Condition condition) {
  auto const until = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= until)
      return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

/// Input of its own length that is no single repeated line.
std::string lines_of(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i)
    text += "line " + std::to_string(i) + "\n";
  text.resize(size);
  return text;
}

}  // namespace

TEMPLATE_TEST_CASE("an official agent is waited for, and says what it is", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  official_launcher launcher;
  auto sb = official_sandbox<TestType>::create({}, launcher);
  REQUIRE(sb.machine().health);
  CHECK(sb.machine().health->protocol == 3);
  CHECK(sb.machine().health->version == "0.7.0");
  CHECK(sb.info().version == "0.7.0");
  CHECK(sb.info().features.empty());
  hf::exec_options options;
  options.require = {"ops"};
  CHECK(kind_of([&] { sb.exec({"true"}, options); }) == errc::unsupported);

  // Nobody asked the agent before.
  auto again = official_sandbox<TestType>::connect(sb.id(), launcher);
  CHECK(again.info().version == "0.7.0");
  CHECK(again.info().protocol == 3);
  CHECK(kind_of([&] { again.exec({"true"}, options); }) == errc::unsupported);
}

TEST_CASE("an agent of every version of the common protocol is known for what it is") {
  need_official_agent();
  for (auto const& [version, protocol] :
       {std::pair("0.5.0", 1), std::pair("0.6.0", 2), std::pair("0.7.0", 3)}) {
    official_launcher launcher({.version = version});
    auto sb = official_sandbox<hf::curl_transport>::create({}, launcher);
    CHECK(sb.info().version == version);
    CHECK(sb.info().protocol == protocol);
    CHECK(official_sandbox<hf::curl_transport>::connect(sb.id(), launcher).info().protocol ==
          protocol);
    CHECK(sb.exec({"echo", "hello"}).exit_code == 0);
  }
}

TEMPLATE_TEST_CASE("commands on an official agent end as they end anywhere", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());

  CHECK(sb.exec({"printf", "%s|", "a b", "$HOME", "\xc3\xa9"}).out == "a b|$HOME|\xc3\xa9|");
  auto const both = sb.exec(hf::shell("echo out; echo err >&2; exit 3"));
  CHECK(both.out == "out\n");
  CHECK(both.err == "err\n");
  CHECK(both.exit_code == 3);
  CHECK_FALSE(both.lossy);
  auto const killed = sb.exec(hf::shell("kill -TERM $$"));
  CHECK(killed.signal == 15);
  CHECK(killed.exit_code == -1);

  hf::exec_options options;
  options.env = {{"A", "1"}, {"B", "zwei \"2\"\n"}};
  options.cwd = "/tmp";
  CHECK(sb.exec(hf::shell("printf %s \"$A$B\"; pwd"), options).out == "1zwei \"2\"\n/tmp\n");

  options.cwd = "/no/such/directory";
  CHECK(kind_of([&] { sb.exec(hf::shell("true"), options); }) == errc::exec_failed);
  try {
    sb.exec({"/no/such/program"});
    FAIL("it ran");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::exec_failed);
    CHECK(e.details().system_error == 2);
    CHECK(e.details().where == hf::hop::agent);
  }

  hf::exec_options timed;
  timed.timeout = 200ms;
  auto const late = sb.exec(hf::shell("echo before; sleep 60"), timed);
  CHECK(late.timed_out);
  CHECK(late.signal == 9);
  CHECK(late.out == "before\n");
  // A descendant that keeps the pipe open does not keep the caller.
  auto const left = sb.exec(hf::shell("sleep 60 & echo $!"));
  CHECK(left.exit_code == 0);
  sb.exec({"kill", left.out.substr(0, left.out.find('\n'))}).check();
}

TEMPLATE_TEST_CASE("input reaches a command on an official agent as far as a request can hold it",
                   "", HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  hf::exec_options options;
  auto const cat = [&](hf::run_input input) {
    options.input = std::move(input);
    return sb.exec({"cat"}, options);
  };
  CHECK(cat("").out.empty());
  CHECK(cat("text\n").out == "text\n");
  CHECK((cat(std::string("a\0b", 3)).out == std::string("a\0b", 3)));
  // The word that asks our agent for streamed input is a text like others here.
  CHECK(cat("stream").out == "stream");
  auto const large = lines_of(5u << 20);
  CHECK((cat(large).out == large));
  {
    struct reader final : hf::http::body_reader {
      std::string text = lines_of(3u << 20);
      std::size_t at = 0;
      std::uint64_t size() const override { return text.size(); }
      std::size_t read(std::span<std::byte> into) override {
        auto const n = std::min(into.size(), text.size() - at);
        std::memcpy(into.data(), text.data() + at, n);
        at += n;
        return n;
      }
      void rewind() override { at = 0; }
    };
    auto const source = std::make_shared<reader>();
    CHECK((cat(source).out == source->text));
  }
  // Nobody reads it: the command ends, and the caller is told.
  options.input = large;
  CHECK(sb.exec({"true"}, options).ok());

  // What the agent would take for no input, or drop the connection for, is never sent.
  auto const sent = sb.client()->launcher().agent(sb.id()).requests().size();
  CHECK(kind_of([&] { cat("\xff\xfe"); }) == errc::unsupported);
  CHECK(kind_of([&] { cat(std::string(17u << 20, 'x')); }) == errc::unsupported);
  std::string const huge(17u << 20, 'x');
  CHECK(kind_of([&] { sb.exec({"echo", huge}); }) == errc::too_large);
  CHECK(kind_of([&] { sb.spawn({"echo", huge}); }) == errc::too_large);
  CHECK(sb.client()->launcher().agent(sb.id()).requests().size() == sent);
}

TEMPLATE_TEST_CASE("bytes that an official agent replaced are said to be", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const binary = sb.exec(hf::shell("printf 'a\\377b'"));
  CHECK(binary.out ==
        "a\xef\xbf\xbd"
        "b");
  CHECK(binary.lossy);
  CHECK_FALSE(sb.exec(hf::shell("printf '\\303\\251'")).lossy);
  // Characters of three bytes do not divide the agent's 32 KiB: some fall apart.
  std::string euros;
  for (int i = 0; i < 100'000; ++i)
    euros += "\xe2\x82\xac";
  sb.write_file("euros", euros);
  auto const r = sb.exec({"cat", "euros"});
  CHECK(r.lossy == (r.out != euros));
}

TEMPLATE_TEST_CASE("large output from an official agent arrives whole and in order", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const size = scaled<std::size_t>(64u << 20, 6u << 20);
  auto const text = lines_of(size);
  sb.write_file("text", text);
  std::string streamed;
  std::string errors;
  hf::exec_options options;
  options.capture = true;
  options.capture_limit = 1u << 30;
  options.on_stdout = [&](std::string_view part) { streamed += part; };
  options.on_stderr = [&](std::string_view part) { errors += part; };
  auto const r = sb.exec(hf::shell("cat text; cat text >&2; exit 7"), options);
  CHECK(r.exit_code == 7);
  CHECK((r.out == text));
  CHECK((r.err == text));
  CHECK((streamed == text));
  CHECK((errors == text));
}

TEMPLATE_TEST_CASE("pings keep the stream of a silent command on an official agent alive", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher({.flags = {"--ping", "0.1"}}));
  hf::exec_options options;
  options.stall_timeout = 1s;
  CHECK(sb.exec(hf::shell("sleep 2; echo done"), options).out == "done\n");
}

TEMPLATE_TEST_CASE("a command on an official agent that is given up is killed", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  int round = 0;
  auto const sleeper = [&] {
    return "1000." + std::to_string(::getpid()) + std::to_string(++round);
  };

  hf::stop_source stop;
  hf::exec_options options;
  options.stop = stop.get_token();
  options.on_stdout = [&](std::string_view) { stop.request_stop(); };
  options.capture = true;
  auto duration = sleeper();
  auto const r =
      sb.exec(hf::shell("echo begun; sleep " + duration + " & sleep " + duration), options);
  CHECK(r.cancelled);
  CHECK(r.out == "begun\n");
  CHECK(await([&] { return !runs_with_argument(duration); }));

  options = {};
  options.on_stdout = [](std::string_view) { throw std::runtime_error("enough"); };
  duration = sleeper();
  CHECK_THROWS_AS(sb.exec(hf::shell("echo begun; sleep " + duration), options), std::runtime_error);
  CHECK(await([&] { return !runs_with_argument(duration); }));

  options = {};
  options.capture_limit = 3;
  options.overflow = hf::capture_overflow::fail;
  duration = sleeper();
  CHECK(kind_of([&] { sb.exec(hf::shell("echo begun; sleep " + duration), options); }) ==
        errc::output_limit);
  CHECK(await([&] { return !runs_with_argument(duration); }));
}

TEMPLATE_TEST_CASE("background processes of an official agent are listed, waited for and killed",
                   "", HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  hf::spawn_options options;
  options.tag = "mine";
  options.input = "from the caller";
  options.cwd = "/tmp";
  auto const into = sb.client()->launcher().agent(sb.id()).directory() + "/into";
  auto first = sb.spawn(hf::shell("cat > '" + into + "'; pwd >> '" + into + "'; exit 4"), options);
  CHECK(first.id() == "p-0");
  CHECK(first.pid() > 0);
  auto const ended = first.wait();
  CHECK_FALSE(ended.running);
  CHECK(ended.exit_code == 4);
  CHECK(hf::testing_support::slurp(into) == "from the caller/tmp\n");

  auto second = sb.spawn({"sleep", "600"});
  auto const listed = sb.processes();
  REQUIRE(listed.size() == 2);
  CHECK(listed[0].tag == "mine");
  CHECK_FALSE(listed[0].running);
  CHECK(listed[1].id == second.id());
  CHECK(listed[1].cmd == nlohmann::json({"sleep", "600"}));
  CHECK(listed[1].running);
  CHECK(second.status().running);
  CHECK_FALSE(second.wait_for(10ms));
  CHECK(sb.attach(second.id()).status().running);

  CHECK(kind_of([&] { second.signal(15); }) == errc::unsupported);
  CHECK(kind_of([&] { second.follow(); }) == errc::unsupported);
  CHECK(kind_of([&] { second.output(); }) == errc::unsupported);
  CHECK(kind_of([&] { second.write_input("x", 0); }) == errc::unsupported);
  CHECK(second.status().running);

  CHECK(second.kill());
  CHECK_FALSE(second.kill());
  CHECK(kind_of([&] { second.status(); }) == errc::not_found);
  CHECK_FALSE(first.kill());
  CHECK(sb.processes().empty());

  hf::spawn_options timed;
  timed.timeout = 100ms;
  auto third = sb.spawn({"sleep", "600"}, timed);
  CHECK_FALSE(third.wait().running);
  CHECK(kind_of([&] { sb.spawn({"/no/such/program"}); }) == errc::exec_failed);
}

TEST_CASE("an agent of version 0.5 runs and kills as far as it can tell") {
  need_official_agent();
  auto sb =
      official_sandbox<hf::curl_transport>::create({}, official_launcher({.version = "0.5.0"}));
  CHECK(sb.exec({"true"}).ok());
  auto process = sb.spawn({"sleep", "600"});
  CHECK(process.status().running);
  CHECK(process.kill());
  CHECK(sb.processes().empty());
}
