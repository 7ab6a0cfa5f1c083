#include "support/agent_process.hpp"

#include <catch2/catch_test_macros.hpp>
#include <poll.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

using namespace hf::testing_support;

namespace {

agent_options with_flags(std::vector<std::string> flags) {
  agent_options options;
  options.flags = std::move(flags);
  return options;
}

bool is_served(agent_process const& agent) {
  return agent.request("GET", "/health").status == 200;
}

}  // namespace

TEST_CASE("a head that does not arrive in time is answered with 408", "[http][deadline]") {
  agent_process agent(with_flags({"--head-timeout-ms=300"}));
  auto slow = agent.connect();
  slow.send("GET /health HTTP/1.1\r\nX: ");
  auto const begin = std::chrono::steady_clock::now();
  // Bytes that trickle in do not prolong it.
  for (int i = 0; i < 20; ++i) {
    try {
      slow.send("a");
    } catch (std::runtime_error const&) {
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (std::chrono::steady_clock::now() - begin > std::chrono::milliseconds(800))
      break;
  }
  auto const answer = slow.read_answer();
  CHECK(answer.status == 408);
  CHECK(answer.json()["code"] == "request_timed_out");
  CHECK(is_served(agent));
  CHECK(agent.log().find("408") != std::string::npos);
}

TEST_CASE("a connection on which nothing was asked is closed without an answer",
          "[http][deadline]") {
  agent_process agent(with_flags({"--head-timeout-ms=300", "--keep-alive-ms=300"}));
  auto fresh = agent.connect();
  CHECK(fresh.is_closed_silently());
  auto used = agent.connect();
  used.send_request("GET", "/v1/info", agent.token());
  CHECK(used.read_answer().status == 200);
  CHECK(used.is_closed_silently());
}

TEST_CASE("a body that stops arriving is answered with 408", "[http][deadline]") {
  agent_process agent(with_flags({"--body-timeout-ms=300"}));
  auto connection = agent.connect();
  connection.send("PUT /v1/files/write?path=" + agent.directory() +
                  "/never HTTP/1.1\r\nX-Sandbox-Token: " + agent.token() +
                  "\r\nContent-Length: 100\r\n\r\nonly this");
  auto const answer = connection.read_answer();
  CHECK(answer.status == 408);
  CHECK(answer.header("connection") == "close");
  struct stat entry {};
  CHECK(::stat((agent.directory() + "/never").c_str(), &entry) != 0);
  CHECK(is_served(agent));
}

TEST_CASE("a reader that takes nothing is dropped", "[http][deadline]") {
  agent_process agent(with_flags({"--write-timeout-ms=300"}));
  std::string const path = agent.directory() + "/large";
  std::ofstream(path).close();
  constexpr std::uint64_t size = 256u << 20;
  REQUIRE(::truncate(path.c_str(), static_cast<off_t>(size)) == 0);
  auto connection = agent.connect();
  connection.send_request("GET", "/v1/files/read?path=" + path, agent.token());
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  std::uint64_t received = 0;
  REQUIRE(connection.read_head().status == 200);
  try {
    while (auto piece = connection.read_chunk())
      received += piece->size();
  } catch (std::runtime_error const&) {
  }
  CHECK(received < size);
  CHECK(is_served(agent));
}

TEST_CASE("readers that take a little now and then do not keep file calls of others waiting",
          "[http][deadline]") {
  agent_process agent;
  std::string const path = agent.directory() + "/large";
  std::ofstream(path).close();
  REQUIRE(::truncate(path.c_str(), 256 << 20) == 0);
  std::atomic<bool> stop{false};
  std::atomic<int> started{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 8; ++i)
    readers.emplace_back([&] {
      auto connection = agent.connect();
      connection.send_request("GET", "/v1/files/read?path=" + path, agent.token());
      char piece[16384];
      for (bool first = true; !stop; first = false) {
        if (::recv(connection.fd(), piece, sizeof piece, 0) <= 0)
          break;
        if (first)
          ++started;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  while (started < 8)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  for (int i = 0; i < 5; ++i) {
    auto connection = agent.connect();
    connection.patience = std::chrono::seconds(20);
    connection.send_request("GET", "/v1/files/stat?path=" + path, agent.token());
    CHECK(connection.read_answer().status == 200);
  }
  stop = true;
  for (auto& reader : readers)
    reader.join();
}

TEST_CASE("one connection too many is told so, and the others are served", "[http][limits]") {
  agent_options options;
  options.env["SBX_MAX_CONNECTIONS"] = "4";
  agent_process agent(options);
  std::vector<raw_http> open;
  // The connection that asked for the agent's health may not be gone yet.
  for (int i = 0; open.size() < 4; ++i) {
    auto next = agent.connect();
    next.send_request("GET", "/v1/info", agent.token());
    if (next.read_answer().status == 200)
      open.push_back(std::move(next));
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    REQUIRE(i < 1000);
  }
  auto refused = agent.connect();
  auto const answer = refused.read_answer();
  CHECK(answer.status == 503);
  CHECK(answer.json()["code"] == "resource_exhausted");
  open[0].send_request("GET", "/v1/info", agent.token());
  CHECK(open[0].read_answer().status == 200);
  open.pop_back();
  // Room again, once the agent has noticed.
  for (int i = 0; i < 200; ++i) {
    auto next = agent.connect();
    next.send_request("GET", "/v1/info", agent.token());
    if (next.read_answer().status == 200)
      break;
    REQUIRE(i < 199);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

TEST_CASE("out of descriptors the agent refuses, does not spin, and recovers", "[http][limits]") {
  agent_options options;
  options.prefix = {"prlimit", "--nofile=48:48"};
  options.env["SBX_MAX_CONNECTIONS"] = "1000";
  agent_process agent(options);
  auto const cpu_ticks = [&] {
    std::ifstream stat("/proc/" + std::to_string(agent.pid()) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    long user = 0;
    long system = 0;
    std::sscanf(text.c_str() + text.rfind(')'),
                ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
    return user + system;
  };
  {
    std::vector<raw_http> open;
    for (int i = 0; i < 80; ++i)
      open.push_back(agent.connect());
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    long const before = cpu_ticks();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    // A busy loop would take about a hundred ticks a second.
    CHECK(cpu_ticks() - before < 50);
    // Who is refused is told so, whenever he asks; who is connected, too, and at once.
    int told = 0;
    for (auto& one : open) {
      pollfd answer{one.fd(), POLLIN, 0};
      if (::poll(&answer, 1, 0) != 1)
        continue;
      auto const refusal = one.read_answer();
      CHECK(refusal.status == 503);
      CHECK(refusal.json()["code"] == "resource_exhausted");
      CHECK(refusal.json()["errno"] == EMFILE);
      ++told;
    }
    CHECK(told >= 3);
    open.front().send_request("POST", "/v1/exec", agent.token(), R"({"cmd":["true"]})");
    auto const exhausted = open.front().read_answer();
    CHECK(exhausted.status == 503);
    CHECK(exhausted.json()["code"] == "resource_exhausted");
    CHECK(exhausted.json()["errno"] == EMFILE);
    open.front().send_request("GET", "/v1/info", agent.token());
    CHECK(open.front().read_answer().status == 200);
  }
  for (int i = 0; i < 500; ++i) {
    auto next = agent.connect();
    next.send_request("GET", "/v1/info", agent.token());
    try {
      if (next.read_answer().status == 200)
        break;
    } catch (std::runtime_error const&) {
    }
    REQUIRE(i < 499);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("a thousand idle connections cost less than ten megabytes and no threads",
          "[http][limits]") {
  agent_process agent;
  auto const status = [&](std::string const& name) {
    std::ifstream file("/proc/" + std::to_string(agent.pid()) + "/status");
    std::string line;
    while (std::getline(file, line))
      if (line.compare(0, name.size(), name) == 0)
        return std::atol(line.c_str() + name.size());
    return -1L;
  };
  long const threads = status("Threads:");
  std::vector<raw_http> open;
  for (int i = 0; i < 1000; ++i) {
    open.push_back(agent.connect());
    open.back().send_request("GET", "/v1/info", agent.token());
    REQUIRE(open.back().read_answer().status == 200);
  }
  INFO("resident: " << status("VmRSS:") << " kB");
  CHECK(status("VmRSS:") < 10 * 1024);
  CHECK(status("Threads:") == threads);
}
#endif
