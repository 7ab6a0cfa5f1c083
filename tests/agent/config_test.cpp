#include "support/agent_process.hpp"

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace hf::testing_support;

namespace {

struct ended {
  int code;
  std::string log;
};

ended start(agent_options options) {
  options.wait_until_healthy = false;
  agent_process agent(std::move(options));
  auto const status = agent.wait_exit(std::chrono::seconds(20));
  if (!status || !WIFEXITED(*status))
    return {-1, agent.log()};
  return {WEXITSTATUS(*status), agent.log()};
}

}  // namespace

TEST_CASE("without a token the agent does not start", "[config]") {
  agent_options options;
  options.token = "";
  auto const without = start(options);
  CHECK(without.code == 1);
  CHECK(without.log.find("SBX_TOKEN is required") != std::string::npos);
  options.env["SBX_TOKEN"] = "";
  CHECK(start(options).log.find("SBX_TOKEN is required") != std::string::npos);
  // Whatever else is wrong.
  options.env["SBX_HOST_MODE"] = "1";
  auto const host = start(options);
  CHECK(host.code == 1);
  CHECK(host.log.find("SBX_TOKEN is required") != std::string::npos);
}

TEST_CASE("only a flag lets everybody in, and only when there is no token", "[config]") {
  agent_options options;
  options.token = "";
  options.flags = {"--allow-no-auth"};
  agent_process open(options);
  CHECK(open.log().find("auth: DISABLED") != std::string::npos);
  auto const health = open.request("GET", "/health").json();
  CHECK(health["auth"] == "disabled");
  CHECK(open.request("GET", "/v1/info").status == 200);

  options.token = "something";
  agent_process closed(options);
  auto connection = closed.connect();
  connection.send_request("GET", "/v1/info", "");
  CHECK(connection.read_answer().status == 403);
}

TEST_CASE("a malformed setting is an error at start, naming it", "[config]") {
  for (auto const& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"SBX_PORT", "x"},
           {"SBX_PORT", "70000"},
           {"SBX_PORT", ""},
           {"SBX_PORT", "80 "},
           {"SBX_IDLE_TIMEOUT", "-1"},
           {"SBX_IDLE_TIMEOUT", "10m"},
           {"SBX_IDLE_TIMEOUT", "1.5"},
           {"SBX_IDLE_TIMEOUT", "99999999999999999999"},
           {"SBX_MAX_CONNECTIONS", "0"},
           {"SBX_MAX_CONNECTIONS", "-5"},
           {"SBX_MAX_CONNECTIONS", "many"},
           {"SBX_LIFETIME", "0"},
           {"SBX_LIFETIME", "soon"},
           {"SBX_ENV_FILE", "/nonexistent/file"},
           {"SBX_CAPACITY", "0"},
           {"SBX_CAPACITY", "abc"},
           {"SBX_MIN_LANDLOCK_ABI", "six"}}) {
    INFO(name << "=" << value);
    agent_options options;
    options.env[name] = value;
    auto const result = start(options);
    CHECK(result.code == 1);
    CHECK(result.log.find(name) != std::string::npos);
  }
  agent_options options;
  options.flags = {"--no-such-flag"};
  CHECK(start(options).code == 1);
}

TEST_CASE("settings that do not matter here, or mean never, are no obstacle", "[config]") {
  agent_options options;
  options.env = {{"SBX_IDLE_TIMEOUT", "18446744073709551615"},
                 {"SBX_CAPACITY", "7"},
                 {"SBX_MIN_LANDLOCK_ABI", "99"},
                 {"SBX_HOST_MODE", "true"},
                 {"SBX_COMPAT_HOST_TOKEN", "1"},
                 {"SBX_MAX_HOSTS", "x"}};
  options.flags = {"--allow-unconfined"};
  agent_process agent(options);
  CHECK(agent.request("GET", "/health").json()["mode"] == "dedicated");
  CHECK(agent.request("GET", "/v1/info").json()["idle_remaining_ms"] > 3'000'000'000'000);
}

TEST_CASE("a socket that cannot be had is an error at start", "[config]") {
  agent_options options;
  options.env["SBX_SOCKET"] = "/nonexistent-directory/agent.sock";
  auto const result = start(options);
  CHECK(result.code == 1);
  CHECK(result.log.find("/nonexistent-directory/agent.sock") != std::string::npos);
}

TEST_CASE("the line printed at start says where, which mode and how it is guarded", "[config]") {
  agent_options options;
  options.tcp = true;
  agent_process agent(options);
  CHECK(agent.port() > 0);
  CHECK(agent.log().find(" listening on 0.0.0.0:" + std::to_string(agent.port()) +
                         " (mode: dedicated, auth: required, landlock: ") != std::string::npos);
  CHECK(agent.request("GET", "/v1/info").status == 200);
}

TEST_CASE("a socket file left by an agent that is gone is replaced", "[config]") {
  agent_process first;
  first.signal(SIGKILL);
  REQUIRE(first.wait_exit(std::chrono::seconds(10)).has_value());
  agent_options options;
  options.env["SBX_SOCKET"] = first.socket_path();
  options.wait_until_healthy = false;
  agent_process second(options);
  bool served = false;
  for (int i = 0; i < 1000 && !served; ++i) {
    try {
      auto connection = raw_http::unix_socket(first.socket_path());
      connection.send_request("GET", "/v1/info", second.token());
      served = connection.read_answer().status == 200;
    } catch (std::runtime_error const&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  CHECK(served);
}
