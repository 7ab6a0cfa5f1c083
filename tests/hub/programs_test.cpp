#include "hub/patience.hpp"
#include "support/fake_hub/setup.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using hf::testing_support::fake_hub;
using hf::testing_support::hub_fault;
using hf::testing_support::hub_route;

namespace {

/// A program with nothing in its environment but what leads it to the double.
class program {
 public:
  program(fake_hub const& hub, std::string const& name, std::vector<std::string> arguments,
          std::vector<std::string> environment = {}) {
    std::string const path = std::string(HF_SANDBOX_TEST_BINARY_DIR) + "/bin/" + name;
    arguments.insert(arguments.begin(), path);
    environment.push_back("PATH=/usr/bin:/bin");
    environment.push_back("HF_ENDPOINT=" + hub.url());
    environment.push_back("HF_TOKEN=" + hub.token());
    environment.push_back("HF_SANDBOX_AGENT_URL=" + hub.agent_url());
    environment.push_back("HF_SANDBOX_AGENT_SHA256=" + hub.agent_sha256());
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], 1);
    posix_spawn_file_actions_adddup2(&files, ends[1], 2);
    std::vector<char*> argv;
    std::vector<char*> envp;
    for (auto& word : arguments)
      argv.push_back(word.data());
    for (auto& word : environment)
      envp.push_back(word.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    int const failed =
        ::posix_spawn(&pid_, path.c_str(), &files, nullptr, argv.data(), envp.data());
    posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
    output_ = ends[0];
    if (failed != 0)
      pid_ = -1;
    REQUIRE(pid_ > 0);
  }
  program(program const&) = delete;
  program& operator=(program const&) = delete;
  ~program() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(output_);
  }

  void signal(int number) const { ::kill(pid_, number); }
  /// Reads until this text was printed, or the end.
  bool wait_for(std::string const& what) {
    while (text.find(what) == std::string::npos)
      if (!read_more())
        return false;
    return true;
  }
  /// Waits for the end; its exit code.
  int finish() {
    while (read_more()) {
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string text;

 private:
  bool read_more() {
    char bytes[4096];
    auto const got = ::read(output_, bytes, sizeof bytes);
    if (got <= 0)
      return false;
    text.append(bytes, static_cast<std::size_t>(got));
    return true;
  }

  pid_t pid_ = -1;
  int output_ = -1;
};

void check_clean(fake_hub const& hub) {
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.violations() == std::vector<std::string>());
  for (auto const& seen : hub.jobs()) {
    CHECK(seen.stage == "CANCELED");
    for (auto const& line : seen.log)
      CHECK(line.find(hub.token()) == std::string::npos);
  }
}

}  // namespace

TEST_CASE("the README's program runs unchanged over every transport") {
  fake_hub hub;
  auto const transport = GENERATE("curl", "beast", "httplib");
  INFO(transport);
  program seed(hub, "hub_seed_program", {transport});
  auto const code = seed.finish();
  INFO(seed.text);
  if (code == 4)
    SKIP("this build has no such transport");
  CHECK(code == 0);
  CHECK(seed.text == "2\nhello\n");
  CHECK(hub.jobs().size() == 1);
  check_clean(hub);
  auto const events = hub.requests(hub_route::telemetry);
  REQUIRE(events.size() == 2);
  CHECK(std::string(events[1].fields.get("User-Agent")).find("reason/user") != std::string::npos);
}

TEST_CASE("the job is cancelled however the program ends") {
  fake_hub hub;
  struct ending {
    char const* name;
    int code;
    char const* reason;
  };
  for (auto const& [name, code, reason] : std::vector<ending>{
           {"destructor", 0, "destructor"}, {"throw", 1, "destructor"}, {"exit", 3, "atexit"}}) {
    INFO(name);
    hub.forget_requests();
    program seed(hub, "hub_seed_program", {"curl", name});
    auto const got = seed.finish();
    INFO(seed.text);
    CHECK(got == code);
    check_clean(hub);
    auto const events = hub.requests(hub_route::telemetry);
    REQUIRE(events.size() == 2);
    CHECK(std::string(events[1].fields.get("User-Agent")).find(std::string("reason/") + reason) !=
          std::string::npos);
  }
}

TEST_CASE("the example ends its job on Ctrl-C") {
  fake_hub hub;
  program example(hub, "hub_example_program",
                  {"import time; print('sleeping', flush=True); time.sleep(600)"});
  REQUIRE(example.wait_for("sleeping"));
  CHECK(hub.live_jobs() == 1);
  example.signal(SIGINT);
  auto const code = example.finish();
  INFO(example.text);
  CHECK(code == 130);
  check_clean(hub);
}

TEST_CASE("the example ends its job on Ctrl-C while the machine starts") {
  fake_hub hub;
  hub.behave({.what = hf::testing_support::job_behaviour::kind::never_ready});
  program example(hub, "hub_example_program", {});
  REQUIRE(example.wait_for("accepted"));
  example.signal(SIGINT);
  CHECK(example.finish() == 130);
  check_clean(hub);
}

TEST_CASE("the double is a program that explains itself and refuses what it does not know") {
  fake_hub hub;
  program help(hub, "fake_hub", {"--help"});
  CHECK(help.finish() == 0);
  for (char const* const word : {"--port", "--agent", "--fault", "--any-client"})
    CHECK(help.text.find(word) != std::string::npos);
  for (std::vector<std::string> const& wrong :
       std::vector<std::vector<std::string>>{{"--bogus"},
                                             {"--port", "99999"},
                                             {"--fault", "create:often"},
                                             {"--fault", "nowhere:500"},
                                             {"--jobs", "lazy"}}) {
    program refused(hub, "fake_hub", wrong);
    CHECK(refused.finish() == 2);
    CHECK(refused.text.find(wrong[0]) != std::string::npos);
  }
}

TEST_CASE("the double as a program leads another one to it, and lists what was wrong") {
  fake_hub unused;
  program hub(unused, "fake_hub",
              {"--port", "0", "--quiet", "--agent",
               std::string(HF_SANDBOX_TEST_BINARY_DIR) + "/bin/hf-sandbox-agent"});
  REQUIRE(hub.wait_for("export HF_SANDBOX_AGENT_SHA256="));
  auto const value_of = [&](std::string const& name) {
    auto const at = hub.text.find("export " + name + "=") + name.size() + 8;
    return hub.text.substr(at, hub.text.find('\n', at) - at);
  };
  program seed(unused, "hub_seed_program", {"curl"},
               {"HF_ENDPOINT=" + value_of("HF_ENDPOINT"), "HF_TOKEN=" + value_of("HF_TOKEN"),
                "HF_SANDBOX_AGENT_URL=" + value_of("HF_SANDBOX_AGENT_URL"),
                "HF_SANDBOX_AGENT_SHA256=" + value_of("HF_SANDBOX_AGENT_SHA256")});
  CHECK(seed.finish() == 0);
  CHECK(seed.text == "2\nhello\n");
  hub.signal(SIGINT);
  auto const code = hub.finish();
  INFO(hub.text);
  CHECK(code == 0);
}

TEST_CASE("the example runs to its end") {
  fake_hub hub;
  program example(hub, "hub_example_program", {}, {"DO_NOT_TRACK=1"});
  auto const code = example.finish();
  INFO(example.text);
  CHECK(code == 0);
  CHECK(example.text.find("2\n") != std::string::npos);
  CHECK(example.text.find("foo.txt holds: hello") != std::string::npos);
  CHECK(hub.count(hub_route::telemetry) == 0);
  check_clean(hub);
}
