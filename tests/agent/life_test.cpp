#include "support/agent_process.hpp"

#include <catch2/catch_test_macros.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

using namespace hf::testing_support;

namespace {

std::string read_file(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

bool exited_well(std::optional<int> const& status) {
  return status && WIFEXITED(*status) && WEXITSTATUS(*status) == 0;
}

agent_process idle_after_a_second() {
  agent_options options;
  options.env["SBX_IDLE_TIMEOUT"] = "1";
  return agent_process(options);
}

}  // namespace

TEST_CASE("an idle agent exits 0, and health checks do not keep it", "[life]") {
  agent_process agent = idle_after_a_second();
  auto const begin = std::chrono::steady_clock::now();
  std::optional<int> status;
  while (!status && std::chrono::steady_clock::now() - begin < std::chrono::seconds(30)) {
    try {
      auto connection = agent.connect();
      connection.send("GET /health HTTP/1.1\r\n\r\n");
      connection.read_answer();
    } catch (std::runtime_error const&) {
    }
    status = agent.wait_exit(std::chrono::milliseconds(50));
  }
  CHECK(exited_well(status));
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(500));
}

TEST_CASE("authorised requests keep the agent, foreign ones do not", "[life]") {
  agent_process agent = idle_after_a_second();
  for (int i = 0; i < 20; ++i) {
    REQUIRE(agent.request("GET", "/v1/info").status == 200);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  std::optional<int> status;
  for (int i = 0; i < 600 && !status; ++i) {
    try {
      auto connection = agent.connect();
      connection.send_request("GET", "/v1/info", "wrong");
      connection.read_answer();
    } catch (std::runtime_error const&) {
    }
    status = agent.wait_exit(std::chrono::milliseconds(50));
  }
  CHECK(exited_well(status));
}

TEST_CASE("a silent foreground command keeps the agent", "[life]") {
  agent_process agent = idle_after_a_second();
  auto connection = agent.connect();
  connection.send_request("POST", "/v1/exec", agent.token(), R"({"cmd":"sleep 3; echo done"})");
  REQUIRE(connection.read_head().status == 200);
  std::string output;
  int exit_code = -1;
  while (auto const event = connection.read_event()) {
    if ((*event)["event"] == "stdout")
      output += (*event)["data"].get<std::string>();
    if ((*event)["event"] == "exit")
      exit_code = (*event)["exit_code"].get<int>();
  }
  CHECK(output == "done\n");
  CHECK(exit_code == 0);
  CHECK(exited_well(agent.wait_exit(std::chrono::seconds(30))));
}

TEST_CASE("on SIGTERM everything ends within three seconds, and the agent exits 0", "[life]") {
  agent_process agent;
  auto connection = agent.connect();
  std::string const pids = agent.directory() + "/pids";
  connection.send_request(
      "POST", "/v1/exec", agent.token(),
      R"json({"cmd":"trap '' TERM; echo $$ >> pids; setsid sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 1; done' & while :; do sleep 1; done"})json");
  REQUIRE(connection.read_head().status == 200);
  auto const lines = [&] {
    std::string const text = read_file(pids);
    return std::count(text.begin(), text.end(), '\n');
  };
  for (int i = 0; i < 2000 && lines() < 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(lines() == 2);
  std::string const started = read_file(pids);
  agent.signal(SIGTERM);
  CHECK(exited_well(agent.wait_exit(std::chrono::milliseconds(3500))));
  std::istringstream all(started);
  pid_t pid = 0;
  while (all >> pid) {
    std::string const stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    CHECK((stat.empty() || stat.find(") Z ") != std::string::npos));
  }
}

TEST_CASE("on SIGTERM an idle agent goes at once", "[life]") {
  agent_process agent;
  agent.signal(SIGTERM);
  CHECK(exited_well(agent.wait_exit(std::chrono::seconds(3))));
}

TEST_CASE("the token is not in the agent's environment, nor in that of its commands", "[life]") {
  agent_process agent;
  std::string const environment = read_file("/proc/" + std::to_string(agent.pid()) + "/environ");
  if (::geteuid() == 0) {
    CHECK(environment.find("PATH=") != std::string::npos);
  }
  CHECK(environment.find(agent.token()) == std::string::npos);
  auto const answer = agent.request("POST", "/v1/exec", R"({"cmd":"env"})");
  REQUIRE(answer.status == 200);
  CHECK(answer.body.find("PATH=") != std::string::npos);
  CHECK(answer.body.find(agent.token()) == std::string::npos);
  CHECK(answer.body.find("SBX_TOKEN") == std::string::npos);
}

TEST_CASE("the agent cannot be dumped", "[life]") {
  agent_process agent;
  // What is not dumpable belongs to root below /proc, whoever runs it.
  struct stat entry {};
  REQUIRE(::stat(("/proc/" + std::to_string(agent.pid()) + "/mem").c_str(), &entry) == 0);
  CHECK(entry.st_uid == 0);
}
