#include "exec/process_scan.hpp"
#include "support/exec_client.hpp"
#include "support/file_helpers.hpp"
#include "support/scale.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

struct tree {
  char const* name;
  /// %S is a sleep that can be recognised.
  std::string script;
};

std::vector<tree> trees() {
  return {{"children", "%S & %S"},
          {"a session of its own", "setsid %S & %S"},
          {"double fork", "(setsid sh -c '%S & %S &' &) ; %S"},
          {"no environment", "env -i setsid sh -c '%S & %S' & %S"},
          {"no environment and double fork", "(env -i setsid sh -c '(%S &)' &) ; %S"},
          {"SIGTERM ignored", "trap '' TERM; setsid %S & %S"}};
}

std::string filled(std::string script, std::string const& sleeper) {
  for (auto at = script.find("%S"); at != std::string::npos; at = script.find("%S"))
    script.replace(at, 2, sleeper);
  return script;
}

/// Stops what the agent starts while that still runs the agent's own program, as any process of the
/// same user can.
class early_stopper {
 public:
  /// `times`: how often a process is stopped.
  early_stopper(pid_t agent, int times) : thread_([this, agent, times] { work(agent, times); }) {}
  early_stopper(early_stopper const&) = delete;
  early_stopper& operator=(early_stopper const&) = delete;
  ~early_stopper() {
    done_ = true;
    thread_.join();
  }

  /// How many processes have stopped.
  [[nodiscard]] int stopped() const { return stopped_; }

 private:
  static bool runs_agent(pid_t pid) {
    std::error_code ignored;
    auto const program =
        std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", ignored);
    return program.filename() == "hf-sandbox-agent";
  }

  static bool is_stopped(pid_t pid) {
    auto const process = hf::agent::look_at_process(pid);
    return process && process->state == 'T';
  }

  static std::vector<pid_t> children(pid_t pid) {
    std::string const number = std::to_string(pid);
    std::ifstream in("/proc/" + number + "/task/" + number + "/children");
    return {std::istream_iterator<pid_t>(in), {}};
  }

  void stop(pid_t pid, int times) {
    if (!runs_agent(pid) || !seen_.insert(pid).second)
      return;
    for (int i = 0; i < times && !done_ && runs_agent(pid); ++i) {
      ::kill(pid, SIGSTOP);
      // A helper whose child has not begun cannot stop.
      auto const patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
      while (runs_agent(pid) && !is_stopped(pid) && std::chrono::steady_clock::now() < patience)
        std::this_thread::yield();
      if (i == 0 && is_stopped(pid))
        ++stopped_;
      while (!done_ && runs_agent(pid) && is_stopped(pid))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    // If it had come further meanwhile.
    if (!runs_agent(pid))
      ::kill(pid, SIGCONT);
  }

  void work(pid_t agent, int times) {
    while (!done_)
      for (pid_t const child : children(agent)) {
        // A helper's child; a command's own are other programs.
        for (pid_t const grandchild : children(child))
          stop(grandchild, times);
        stop(child, times);
      }
  }

  std::set<pid_t> seen_;
  std::atomic<bool> done_{false};
  std::atomic<int> stopped_{0};
  std::thread thread_;
};

/// A command that takes its time to be found: each empty part of the PATH is one try.
json far_down_the_path(std::size_t tries) {
  // On a busy machine, too, who wants to stop it comes in time.
  return {{"cmd", {"env"}},
          {"nice", 19},
          {"env", {{"PATH", std::string(tries, ':') + "/bin:/usr/bin"}}}};
}

}  // namespace

TEST_CASE("a timeout kills every descendant, and what was printed arrives", "[exec][tree]") {
  auto const shape = GENERATE(Catch::Generators::from_range(trees()));
  INFO(shape.name);
  agent_process agent;
  std::string const sleeper = unique_sleep();
  auto const run =
      exec(agent, {{"cmd", "echo before; " + filled(shape.script, sleeper)}, {"timeout", 0.5}});
  CHECK(run.exit["timed_out"] == true);
  CHECK(run.out == "before\n");
  CHECK(run.exit["signal"] == 9);
  CHECK_FALSE(run.exit.contains("unattributed"));
  CHECK(count_processes(sleeper) == 0);
}

TEST_CASE("a caller who goes takes his command's tree along", "[exec][tree]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  {
    auto run = begin_exec(agent, {{"cmd", filled("(setsid sh -c '%S & %S &' &) ; %S", sleeper)}});
    REQUIRE(eventually([&] { return count_processes(sleeper) >= 3; }));
  }
  CHECK(eventually([&] { return count_processes(sleeper) == 0; }, std::chrono::seconds(10)));
  CHECK(exec(agent, {{"cmd", "true"}}).code() == 0);
}

TEST_CASE("an orphan without a mark is reported when the run had no helper", "[exec][tree]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  auto const pid = [&] {
    auto run = begin_exec(
        agent, {{"cmd", filled("(env -i setsid %S &) ; sleep 0.2; echo ready; %S", sleeper)}});
    run.connection.read_event();
    return run.start["pid"].get<int>();
  }();
  CHECK(pid > 0);
  // Nobody can know whose it is: it survives, and the agent's end takes it along.
  CHECK(eventually([&] { return count_processes(sleeper) <= 1; }));
  agent.signal(SIGTERM);
  CHECK(agent.wait_exit(std::chrono::seconds(10)).has_value());
  CHECK(count_processes(sleeper) == 0);
}

TEST_CASE("a process that hides its environment is killed all the same", "[exec][tree]") {
  if (std::system("command -v python3 >/dev/null 2>&1") != 0)
    SKIP("python3 is not installed");
  agent_process agent;
  std::string const marker = unique_sleep();
  std::string const hidden =
      "python3 -c 'import ctypes,os,sys,time\n"
      "ctypes.CDLL(None).prctl(4,0,0,0,0)\n"
      "os.setsid()\n"
      "sys.stdout.write(\"hidden\\n\"); sys.stdout.flush()\n"
      "time.sleep(600)' '" +
      marker + "' & wait";
  auto const run = exec(agent, {{"cmd", hidden}, {"timeout", 3}});
  CHECK(run.out == "hidden\n");
  CHECK(run.exit["timed_out"] == true);
  CHECK(count_processes(marker) == 0);
}

TEST_CASE("SIGTERM ends everything that the agent has started", "[exec][tree]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  for (auto const& shape : trees())
    start_process(agent, {{"cmd", filled(shape.script, sleeper)}});
  auto run = begin_exec(agent, {{"cmd", filled("trap '' TERM; %S & %S", sleeper)}});
  REQUIRE(eventually([&] { return count_processes(sleeper) >= 10; }));
  agent.signal(SIGTERM);
  auto const status = agent.wait_exit(std::chrono::seconds(20));
  REQUIRE(status);
  CHECK(WEXITSTATUS(*status) == 0);
  CHECK(eventually([&] { return count_processes(sleeper) == 0; }));
}

TEST_CASE("a killed helper does not change a command's exit code", "[exec][tree]") {
  agent_process agent;
  auto const run =
      // The first pause lets the helper come so far that it waits.
      exec(agent,
           {{"cmd", "sleep 0.5; kill -9 $PPID; sleep 0.3; echo on; exit 7"}, {"timeout", 60}});
  CHECK(run.out == "on\n");
  CHECK(run.code() == 7);
}

TEST_CASE("a helper killed at any moment hides neither the command nor its end", "[exec][tree]") {
  auto const runs = scaled(300, 60);
  WARN("runs: " << runs);
  agent_options options;
  // On one processor a command often acts before its helper has its turn again.
  if (std::system("command -v taskset >/dev/null 2>&1") == 0)
    options.prefix = {"taskset", "-c", "0"};
  agent_process agent(options);
  for (int i = 0; i < runs; ++i) {
    auto const run = exec(
        agent, {{"cmd", i % 2 == 0 ? "kill -9 $PPID; exit 7" : "(kill -9 $PPID & wait) & exit 7"},
                {"timeout", 60}});
    REQUIRE(run.status == 200);
    REQUIRE(run.complete);
    REQUIRE(run.exit["exit_code"] == 7);
    REQUIRE(run.exit["signal"].is_null());
  }
}

TEST_CASE("a stopped helper does not hide a command's end", "[exec][tree]") {
  agent_process agent;
  CHECK(exec(agent, {{"cmd", "kill -STOP $PPID; exit 3"}, {"timeout", 60}}).code() == 3);
  std::string const sleeper = unique_sleep();
  auto const run =
      exec(agent, {{"cmd", filled("kill -STOP $PPID; %S & %S", sleeper)}, {"timeout", 0.5}});
  CHECK(run.exit["timed_out"] == true);
  CHECK(run.exit["signal"] == 9);
  CHECK(count_processes(sleeper) == 0);
}

TEST_CASE("a helper stopped at any moment keeps neither the agent nor a command's end waiting",
          "[exec][tree]") {
  auto const runs = scaled(300, 60);
  WARN("runs: " << runs);
  agent_options options;
  // On one processor a command often acts before its helper has its turn again.
  if (std::system("command -v taskset >/dev/null 2>&1") == 0)
    options.prefix = {"taskset", "-c", "0"};
  agent_process agent(options);
  for (int i = 0; i < runs; ++i) {
    auto const run = exec(agent, {{"cmd", i % 2 == 0 ? "kill -STOP $PPID; exit 7"
                                                     : "(kill -STOP $PPID & wait) & exit 7"},
                                  {"timeout", 60}});
    REQUIRE(run.status == 200);
    REQUIRE(run.complete);
    REQUIRE(run.exit["exit_code"] == 7);
  }
}

TEST_CASE("who stops his helper again and again keeps neither the agent nor his end waiting",
          "[exec][tree]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  auto run =
      begin_exec(agent, {{"cmd", filled("(while :; do kill -STOP $PPID; done) >/dev/null 2>&1 & "
                                        "sleep 0.3; echo on; exec %S",
                                        sleeper)},
                         {"timeout", 60},
                         {"op", std::string(32, 'a')}});
  CHECK(run.connection.read_event().value()["data"] == "on\n");
  for (int i = 0; i < 20; ++i)
    CHECK(exec(agent, {{"cmd", "exit 4"}, {"timeout", 60}}).code() == 4);
  auto const deleted =
      agent.request("DELETE", "/v1/processes/" + run.start["id"].get<std::string>()).json();
  CHECK(deleted["killed"] == true);
  CHECK(run.connection.read_event().value()["signal"] == 9);
  CHECK(count_processes(sleeper) == 0);
}

TEST_CASE("a command stopped before it has begun keeps nobody waiting", "[exec][tree]") {
  agent_process agent;
  auto command = far_down_the_path(100000);
  bool const with_helper = GENERATE(false, true);
  if (with_helper)
    command["timeout"] = 60;
  int stopped = 0;
  for (int i = 0; i < 20; ++i) {
    early_stopper const stopper(agent.pid(), 3);
    auto const run = exec(agent, command);
    REQUIRE(run.status == 200);
    REQUIRE(run.complete);
    REQUIRE(run.code() == 0);
    stopped += stopper.stopped();
  }
  // How many depends on how busy the machine is.
  CHECK(stopped >= 3);
}

TEST_CASE("a command stopped again and again before it has begun is killed", "[exec][tree]") {
  agent_process agent;
  early_stopper const stopper(agent.pid(), 1000);
  auto const run = exec(agent, far_down_the_path(130000));
  REQUIRE(run.status == 200);
  CHECK(run.complete);
  CHECK(run.exit["signal"] == 9);
  CHECK(stopper.stopped() > 0);
}

TEST_CASE("who has killed his helper and hides is not called gone", "[exec][tree]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  auto run =
      begin_exec(agent, {{"cmd", filled("kill -9 $PPID; "
                                        "(env -i setsid sh -c 'echo $$; exec %S' &) ; exec %S",
                                        sleeper)},
                         {"op", std::string(32, 'a')}});
  std::string const hidden = run.connection.read_event().value()["data"].get<std::string>();
  std::string const parent = "PPid:\t" + std::to_string(agent.pid()) + "\n";
  REQUIRE(eventually([&] {
    return slurp("/proc/" + hidden.substr(0, hidden.size() - 1) + "/status").find(parent) !=
           std::string::npos;
  }));
  auto const deleted =
      agent.request("DELETE", "/v1/processes/" + run.start["id"].get<std::string>()).json();
  CHECK(deleted["killed"] == true);
  CHECK(deleted["unattributed"] == 1);
  json const exit = run.connection.read_event().value();
  CHECK(exit["event"] == "exit");
  CHECK(exit["signal"] == 9);
  CHECK(exit["exit_code"].is_null());
  CHECK(exit["unattributed"] == 1);
  CHECK(count_processes(sleeper) == 1);
  // A run whose helper has seen the last of it go is not bothered by that orphan.
  auto const other = exec(agent, {{"cmd", "setsid sleep 100 & sleep 100"}, {"timeout", 0.2}});
  CHECK(other.exit["timed_out"] == true);
  CHECK_FALSE(other.exit.contains("unattributed"));
}
