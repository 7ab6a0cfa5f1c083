#include "support/kind_of.hpp"
#include "support/sandbox_types.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/launchers/process.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using hf::errc;
using hf::testing_support::kind_of;
using hf::testing_support::scaled;

namespace {

template <class Transport>
using process_sandbox = hf::basic_sandbox<Transport, hf::process_launcher>;

}  // namespace

TEMPLATE_TEST_CASE("a sandbox runs commands and moves files", "", HF_SANDBOX_TEST_TRANSPORTS) {
  auto sb = process_sandbox<TestType>::create();
  CHECK_FALSE(sb.id().empty());

  auto const r = sb.exec({"sh", "-c", "echo $((1+1))"});
  CHECK(r.out == "2\n");
  CHECK(r.err.empty());
  CHECK(r.exit_code == 0);
  CHECK(r.ok());

  auto const failed = sb.exec(hf::shell("echo out; echo err >&2; exit 7"));
  CHECK(failed.exit_code == 7);
  CHECK(failed.out == "out\n");
  CHECK(failed.err == "err\n");
  CHECK(kind_of([&] { failed.check(); }) == errc::command_failed);

  auto const killed = sb.exec(hf::shell("kill -9 $$"));
  CHECK(killed.signal == 9);
  CHECK(killed.exit_code == -1);

  std::string const content("hello \0 \xff\xfe bytes", 17);
  sb.write_file("/tmp/foo.txt", content);
  CHECK(sb.read_file("/tmp/foo.txt") == content);
  CHECK(sb.exec({"cat", "/tmp/foo.txt"}).out == content);
  sb.terminate();
  sb.terminate();
  CHECK(kind_of([&] { sb.exec({"true"}); }) == errc::sandbox_expired);
  CHECK(kind_of([&] { static_cast<void>(sb.spawn({"true"})); }) == errc::sandbox_expired);
  CHECK(kind_of([&] { static_cast<void>(sb.read_file("/tmp/foo.txt")); }) == errc::sandbox_expired);
  CHECK(kind_of([&] { sb.write_file("/tmp/foo.txt", ""); }) == errc::sandbox_expired);
  CHECK(kind_of([&] { static_cast<void>(sb.files().list("/tmp")); }) == errc::sandbox_expired);
}

TEMPLATE_TEST_CASE("exec honours its options", "", HF_SANDBOX_TEST_TRANSPORTS) {
  auto sb = process_sandbox<TestType>::create({.env = {{"FROM_CREATE", "one"}}});
  CHECK(sb.exec(hf::shell("pwd"), {.cwd = "/tmp"}).out == "/tmp\n");
  CHECK(sb.exec(hf::shell("echo $FROM_CREATE $FROM_EXEC"), {.env = {{"FROM_EXEC", "two"}}}).out ==
        "one two\n");
  CHECK(sb.exec({"cat"}, {.input = "typed in"}).out == "typed in");
  CHECK(sb.exec({"cat"}).out.empty());
  std::string const binary("\0\x01\xff\n", 4);
  CHECK(sb.exec({"cat"}, {.input = binary}).out == binary);

  std::string out;
  std::string err;
  auto const r = sb.exec(hf::shell("echo a; echo b >&2"),
                         {.on_stdout = [&](std::string_view text) { out += text; },
                          .on_stderr = [&](std::string_view text) { err += text; }});
  CHECK(out == "a\n");
  CHECK(err == "b\n");
  CHECK(r.out.empty());
  CHECK(r.err.empty());
  CHECK(sb.exec(hf::shell("echo a; echo b >&2; echo c"), {.merge_stderr = true}).out ==
        "a\nb\nc\n");

  std::string const large(3u << 20, 'x');
  CHECK((sb.exec({"cat"}, {.input = large}).out == large));
  // A command that ignores its input ends as usual.
  CHECK(sb.exec(hf::shell("exit 3"), {.input = large}).exit_code == 3);
}

TEMPLATE_TEST_CASE("a timeout kills the command and every descendant", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  auto sb = process_sandbox<TestType>::create();
  auto const r = sb.exec(hf::shell("echo begun; setsid sleep 600 & (sleep 600 &) ; sleep 600"),
                         {.timeout = 400ms});
  CHECK(r.timed_out);
  CHECK(r.out == "begun\n");
  CHECK(kind_of([&] { r.check(); }) == errc::command_timed_out);
  auto const left = sb.exec(hf::shell(
      "n=0; for p in /proc/[0-9]*; do case \"$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)\" in "
      "'sleep 600 '*) n=$((n+1));; esac; done; echo $n"));
  CHECK(left.out == "0\n");
}

TEMPLATE_TEST_CASE("bad input is a typed error and changes nothing", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  auto sb = process_sandbox<TestType>::create();
  CHECK(kind_of([&] { sb.exec(std::vector<std::string>{}); }) == errc::invalid_argument);
  CHECK(kind_of([&] { sb.exec({"echo", std::string("a\0b", 3)}); }) == errc::invalid_argument);
  CHECK(kind_of([&] { sb.exec({"true"}, {.cwd = "/no/such/dir"}); }) == errc::exec_failed);
  try {
    sb.exec({"no-such-program-here"});
    FAIL("ran");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::exec_failed);
    CHECK(e.details().stage == "exec");
    CHECK(e.details().system_error == ENOENT);
    CHECK(std::string(e.what()).find("no-such-program-here") != std::string::npos);
  }
  CHECK(kind_of([&] { sb.write_file("/usr/nope", "x"); }) != errc{});
  CHECK(kind_of([&] { static_cast<void>(sb.read_file("/no/such/file")); }) == errc::not_found);
  CHECK(kind_of([&] { static_cast<void>(sb.read_file("/tmp")); }) == errc::is_directory);
  CHECK(kind_of([&] { static_cast<void>(sb.url_for(0)); }) == errc::invalid_argument);
  CHECK(sb.exec({"true"}).ok());
}

TEMPLATE_TEST_CASE("background processes are started, followed and ended", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  auto sb = process_sandbox<TestType>::create();
  auto p = sb.spawn(hf::shell("echo one; echo two >&2; exit 3"), {.tag = "job"});
  CHECK(p.pid() > 0);
  CHECK(p.wait().exit_code == 3);
  auto const all = p.follow();
  CHECK(all.out == "one\n");
  CHECK(all.err == "two\n");
  CHECK(all.exit_code == 3);
  CHECK(p.output().out == "one\n");
  CHECK(p.output().last_seq == all.last_seq);
  bool listed = false;
  for (auto const& entry : sb.processes())
    listed = listed || (entry.id == p.id() && entry.tag == "job" && !entry.running);
  CHECK(listed);

  auto reader = sb.spawn({"cat"}, {.open_input = true});
  CHECK(reader.write_input("a line\n", 0) == 7);
  CHECK(reader.write_input("the end", 7, true) == 14);
  CHECK(reader.follow().out == "a line\nthe end");

  // Output is polled without gaps and repetitions.
  auto echo = sb.spawn({"cat"}, {.open_input = true});
  std::string polled;
  std::uint64_t after = 0;
  std::uint64_t offset = 0;
  for (std::string const line : {"a\n", "b\n", "c\n"}) {
    offset = echo.write_input(line, offset);
    for (auto const until = std::chrono::steady_clock::now() + 20s;
         !polled.ends_with(line) && std::chrono::steady_clock::now() < until;) {
      auto const part = echo.output(after);
      polled += part.out;
      after = part.last_seq;
    }
  }
  CHECK(polled == "a\nb\nc\n");
  CHECK(echo.output(after).out.empty());
  CHECK(echo.output(after).last_seq == after);
  CHECK(echo.kill());

  auto sleeper = sb.spawn({"sleep", "600"});
  CHECK(sleeper.status().running);
  CHECK_FALSE(sleeper.wait_for(100ms));
  auto same = sb.attach(sleeper.id());
  same.signal(15);
  CHECK(same.wait().signal == 15);

  auto stubborn = sb.spawn(hf::shell("trap '' TERM; while :; do sleep 1; done"));
  CHECK(stubborn.kill());
  CHECK_FALSE(stubborn.kill());
  CHECK(kind_of([&] { static_cast<void>(sb.attach("p-99999").status()); }) == errc::not_found);
}

TEMPLATE_TEST_CASE("created sandboxes are found, connected to, released and ended", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  using sandbox = process_sandbox<TestType>;
  std::string const mark = "test-" + std::to_string(std::random_device{}());
  hf::label_filter const mine{{"suite", mark}};
  std::string id;
  {
    auto sb = sandbox::create({.labels = {{"suite", mark}}});
    id = sb.id();
    sb.write_file("kept", "still here");
    auto const found = sandbox::list(mine);
    REQUIRE(found.size() == 1);
    CHECK(found[0].id == id);
    auto second = sandbox::connect(id);
    CHECK(second.exec({"cat", "kept"}).out == "still here");
    CHECK(sb.release() == id);
  }
  {
    auto again = sandbox::connect(id);
    CHECK(again.read_file("kept") == "still here");
    // A connected one is not ended by its destructor.
  }
  CHECK(sandbox::list(mine).size() == 1);
  CHECK(sandbox::terminate_all(mine) == 1);
  CHECK(sandbox::list(mine).empty());
  CHECK(kind_of([&] { sandbox::connect(id); }) != errc{});
  {
    auto moved_from = sandbox::create({.labels = {{"suite", mark}}});
    auto moved_to = std::move(moved_from);
    CHECK(moved_to.exec({"true"}).ok());
    moved_to = sandbox::create({.labels = {{"suite", mark}}});
    CHECK(sandbox::list(mine).size() == 1);
  }
  CHECK(sandbox::list(mine).empty());
}

TEST_CASE("a machine that ends in the middle of a command is sandbox_expired", "[e2e]") {
  using sandbox = process_sandbox<hf::curl_transport>;
  auto sb = sandbox::create();
  std::string const id = sb.id();
  try {
    sb.exec(hf::shell("echo begun; sleep 600"), {.on_stdout = [&](std::string_view) {
              sb.client()->launcher().stop(sb.client()->transport(), id);
            }, .capture = true});
    FAIL("a result without the agent's word");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::sandbox_expired);
    CHECK(e.retry() == hf::retry_advice::no);
    CHECK(e.out() == "begun\n");
  }
}

TEST_CASE("exec returns byte-exact output of any size, both streams apart", "[e2e]") {
  auto sb = process_sandbox<hf::curl_transport>::create();
  std::size_t const size = scaled<std::size_t>(100u << 20, 24u << 20);
  std::fprintf(stderr, "byte-exact output: %zu bytes\n", size);
  std::string data(size, '\0');
  std::minstd_rand random(1);
  for (std::size_t i = 0; i < size; ++i)
    data[i] = static_cast<char>(random() >> 8);
  // Multi-byte text between the random bytes.
  for (std::size_t i = 0; i + 8 < size; i += 1000)
    data.replace(i, 4, "\xf0\x9f\x98\x80");
  sb.write_file("data", data);
  auto const r = sb.exec(hf::shell("cat data; cat data >&2"), {.capture_limit = 1u << 30});
  CHECK((r.out == data));
  CHECK((r.err == data));
}

TEST_CASE("commands that print much and exit at once lose nothing", "[e2e]") {
  auto sb = process_sandbox<hf::curl_transport>::create();
  int const runs = scaled(2000, 200);
  std::fprintf(stderr, "print and exit: %d runs\n", runs);
  sb.write_file("data", std::string(200'000, 'z'));
  std::atomic<int> next{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w)
    workers.emplace_back([&] {
      while (next++ < runs)
        if (sb.exec({"cat", "data"}).out.size() != 200'000)
          ++wrong;
    });
  for (auto& worker : workers)
    worker.join();
  CHECK(wrong == 0);
}

TEST_CASE("child: leaves through std::exit with a live sandbox", "[.child]") {
  using sandbox = process_sandbox<hf::curl_transport>;
  auto const sb = std::make_shared<sandbox>(
      sandbox::create({.labels = {{"suite", std::getenv("HF_SANDBOX_TEST_MARK")}}}));
  static auto const kept = sb;
  CHECK(sb->exec({"true"}).ok());
  std::exit(0);
}

TEST_CASE("a sandbox alive at std::exit is ended", "[e2e]") {
  using sandbox = process_sandbox<hf::curl_transport>;
  std::string const mark = "exit-" + std::to_string(std::random_device{}());
  std::string const self = std::filesystem::read_symlink("/proc/self/exe").string();
  std::string const line = "HF_SANDBOX_TEST_MARK=" + mark + " '" + self +
                           "' 'child: leaves through std::exit with a live sandbox' >/dev/null";
  CHECK(std::system(line.c_str()) == 0);
  CHECK(sandbox::list({{"suite", mark}}).empty());
}
