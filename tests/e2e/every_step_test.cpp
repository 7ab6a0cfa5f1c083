#include "support/confined.hpp"
#include "support/file_helpers.hpp"
#include "support/sandbox_types.hpp"

#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/launchers/process.hpp>
#include <hf/sandbox/testing/fault_transport.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

using hf::errc;
using hf::testing::fail_at_every_step;
using hf::testing::fault;
using hf::testing::fault_transport;
using namespace hf::testing_support;

namespace {

/// Sandboxes over one transport that breaks on demand, in directories of the test's own.
template <class Inner>
struct breaking_world {
  using transport = fault_transport<Inner>;
  using sandbox = hf::basic_sandbox<transport, hf::process_launcher>;
  using client = typename sandbox::client_type;

  public_directory base;
  std::string state = base.path() + "/state";
  std::string scratch = base.path() + "/scratch";
  transport through;
  std::shared_ptr<client> shared;

  breaking_world() {
    std::filesystem::create_directory(scratch);
    std::filesystem::permissions(scratch, std::filesystem::perms::all);
    hf::process_launcher_options options;
    options.state_directory = state;
    options.scratch_directory = scratch;
    shared = std::make_shared<client>(hf::process_launcher(options), through);
  }

  /// What sandboxes left in the directories.
  [[nodiscard]] std::size_t left() const {
    std::size_t count = 0;
    for (auto const& directory : {state, scratch})
      if (std::filesystem::exists(directory))
        count += static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(directory), {}));
    return count;
  }

  /// Breaks the operation at each of its steps in turn, in both ways; the failures among that.
  template <class Operation>
  int visit(char const* what, Operation operation, std::uint64_t at_least = 3) {
    CAPTURE(what);
    int failures = 0;
    for (auto const kind : {fault::drop, fault::truncate}) {
      auto const steps =
          fail_at_every_step(through, kind, operation, [&](std::uint64_t step, hf::error const& e) {
            CAPTURE(step, e.what());
            ++failures;
            // What a broken connection may come out as, wherever it breaks.
            CHECK((e.kind() == errc::connect_failed || e.kind() == errc::connection_lost ||
                   e.kind() == errc::outcome_unknown || e.kind() == errc::launch_failed ||
                   e.kind() == errc::start_timed_out));
          });
      CHECK(steps >= at_least);
    }
    return failures;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("create and connect fail at every step and leave nothing behind", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  breaking_world<TestType> world;
  using sandbox = typename breaking_world<TestType>::sandbox;
  world.visit(
      "create",
      [&] {
        CHECK(world.left() == 0);
        sandbox::create(world.shared).terminate();
      },
      1);
  CHECK(world.left() == 0);

  auto sb = sandbox::create(world.shared);
  world.visit("connect", [&] {
    auto same = sandbox::connect(world.shared, sb.id());
    CHECK(same.info().version == sb.info().version);
    CHECK(same.exec({"echo", "there"}).out == "there\n");
  });
  sb.terminate();
  CHECK(world.left() == 0);
}

TEMPLATE_TEST_CASE("exec fails at every step, and nothing runs twice", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  breaking_world<TestType> world;
  using sandbox = typename breaking_world<TestType>::sandbox;
  auto sb = sandbox::create(world.shared);
  int runs = 0;
  world.visit("exec", [&] {
    ++runs;
    auto const r = sb.exec(hf::shell("echo x >> count; printf hello; printf oops >&2; exit 3"));
    CHECK(r.out == "hello");
    CHECK(r.err == "oops");
    CHECK(r.exit_code == 3);
  });
  CHECK(std::stoi(sb.exec(hf::shell("wc -l < count")).out) <= runs);

  std::string const input(3u << 19, 'i');  // more than goes with the request
  runs = 0;
  world.visit("exec with streamed input", [&] {
    ++runs;
    auto const r = sb.exec(hf::shell("echo x >> streamed; wc -c"), {.input = input});
    CHECK(r.out == std::to_string(input.size()) + "\n");
  });
  CHECK(std::stoi(sb.exec(hf::shell("wc -l < streamed")).out) <= runs);
  for (auto const& process : sb.processes())
    CHECK_FALSE(process.running);
  sb.terminate();
  CHECK(world.left() == 0);
}

TEMPLATE_TEST_CASE("background processes fail at every step, and none is left or started twice", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  breaking_world<TestType> world;
  using sandbox = typename breaking_world<TestType>::sandbox;
  auto sb = sandbox::create(world.shared);
  auto const running = [&] {
    std::size_t count = 0;
    for (auto const& process : sb.processes())
      count += process.running ? 1 : 0;
    return count;
  };

  int runs = 0;
  auto failures = world.visit("spawn and wait", [&] {
    ++runs;
    auto process = sb.spawn(hf::shell("echo x >> spawned; exit 4"));
    CHECK(process.wait().exit_code == 4);
    CHECK_FALSE(process.status().running);
  });
  CHECK(failures == 0);
  CHECK(std::stoi(sb.exec(hf::shell("wc -l < spawned")).out) == runs);

  CHECK(world.visit("spawn and kill", [&] { sb.spawn({"sleep", "600"}).kill(); }) == 0);
  CHECK(running() == 0);

  auto talker = sb.spawn(hf::shell("echo one; echo two >&2"));
  talker.wait();
  CHECK(world.visit("follow", [&] {
    auto const r = talker.follow();
    CHECK(r.out == "one\n");
    CHECK(r.err == "two\n");
  }) == 0);
  world.visit("output", [&] {
    auto const r = talker.output();
    CHECK(r.out == "one\n");
  });
  CHECK(world.visit("attach", [&] { CHECK(sb.attach(talker.id()).status().exit_code == 0); }) == 0);
  CHECK(world.visit("resume", [&] { CHECK(sb.resume(talker.handle()).out == "one\n"); }) == 0);
  CHECK(world.visit("processes", [&] { CHECK_FALSE(sb.processes().empty()); }) == 0);

  // A signal may not be sent twice: that its answer was lost is all that can be said.
  auto counter = sb.spawn(
      hf::shell("trap 'echo x >> signals' USR1; touch ready; while :; do sleep 0.02; done"));
  while (!sb.files().exists("ready")) {
  }
  int sent = 0;
  world.visit("signal", [&] {
    ++sent;
    counter.signal(SIGUSR1);
  });
  counter.kill();
  CHECK(std::stoi(sb.exec(hf::shell("touch signals; wc -l < signals")).out) <= sent);
  CHECK(running() == 0);
  sb.terminate();
  CHECK(world.left() == 0);
}

TEMPLATE_TEST_CASE("file operations survive a break at every step and leave no parts behind", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  breaking_world<TestType> world;
  using sandbox = typename breaking_world<TestType>::sandbox;
  auto sb = sandbox::create(world.shared);
  sb.files().make_directory("d");
  auto const content = noise(300'000);
  public_directory here;
  auto const source = std::filesystem::path(here.path()) / "source";
  auto const target = std::filesystem::path(here.path()) / "target";
  spill(source, content);

  CHECK(world.visit("write", [&] { sb.write_file("d/file", content); }) == 0);
  CHECK(world.visit("read", [&] { CHECK(sb.read_file("d/file") == content); }) == 0);
  CHECK(world.visit("stat", [&] { CHECK(sb.files().stat("d/file").size == content.size()); }) == 0);
  CHECK(world.visit("exists", [&] { CHECK_FALSE(sb.files().exists("d/none")); }) == 0);
  CHECK(world.visit("list", [&] { CHECK(sb.files().list("d").size() == 1); }) == 0);
  CHECK(world.visit("upload", [&] { sb.files().upload(source, "d/file"); }) == 0);
  CHECK(world.visit("download", [&] {
    sb.files().download("d/file", target);
    CHECK(slurp(target) == content);
  }) == 0);
  CHECK(names_in(here.path()) == std::vector<std::string>{"source", "target"});
  CHECK(world.visit("make and remove a directory", [&] {
    sb.files().make_directory("d/a/b");
    sb.files().remove("d/a/b");
    sb.files().remove("d/a", true);
  }) == 0);
  CHECK(sb.exec({"ls", "-A", "d"}).out == "file\n");
  sb.terminate();
  CHECK(world.left() == 0);
}
