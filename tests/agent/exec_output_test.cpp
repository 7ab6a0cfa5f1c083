#include "support/exec_client.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/detail/utf8.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

std::string random_bytes(std::size_t size) {
  std::mt19937 generator(7);
  std::string bytes(size, '\0');
  for (char& c : bytes)
    c = static_cast<char>(generator());
  return bytes;
}

void write_file(std::string const& path, std::string const& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

template <class Work>
void in_threads(std::size_t threads, std::size_t jobs, Work&& work) {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> all;
  for (std::size_t i = 0; i < threads; ++i)
    all.emplace_back([&] {
      for (std::size_t job = next++; job < jobs; job = next++)
        work(job);
    });
  for (auto& thread : all)
    thread.join();
}

}  // namespace

TEST_CASE("binary output is exact where the caller can take bytes", "[exec][output]") {
  agent_process agent;
  std::string const bytes = random_bytes(3'000'000) + "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
  write_file(agent.directory() + "/blob", bytes);
  auto const run = exec(agent, {{"cmd", "cat blob; cat blob >&2"}, {"v", 2}});
  CHECK(run.out == bytes);
  CHECK(run.err == bytes);
  for (std::size_t i = 0; i < run.seqs.size(); ++i)
    REQUIRE(run.seqs[i] == i + 1);
}

TEST_CASE("characters are whole in every event, however they were written", "[exec][output]") {
  agent_process agent;
  std::string const euro = "\xe2\x82\xac";
  auto const slow =
      exec(agent,
           {{"cmd", "printf '\\342'; sleep 0.1; printf '\\202'; sleep 0.1; printf '\\254\\342'"}});
  CHECK(slow.out == euro + "\xef\xbf\xbd");
  std::string text = "x";
  while (text.size() < 1'000'000)
    text += "\xf0\x9f\x98\x80";
  write_file(agent.directory() + "/text", text);
  CHECK(exec(agent, {{"cmd", "cat text"}}).out == text);
}

TEST_CASE("line separators of Unicode do not break lines of events", "[exec][output]") {
  agent_process agent;
  auto const answer = agent.request(
      "POST", "/v1/exec", R"({"cmd":"printf '\\302\\205\\342\\200\\250\\342\\200\\251\\001\"'"})");
  CHECK(answer.body.find(R"(\u0085\u2028\u2029\u0001\")") != std::string::npos);
}

TEST_CASE("merged error output keeps its place", "[exec][output]") {
  agent_process agent;
  auto const run = exec(agent, {{"cmd", "echo 1; echo 2 >&2; echo 3"}, {"merge_stderr", true}});
  CHECK(run.out == "1\n2\n3\n");
  CHECK(run.err.empty());
}

TEST_CASE("a grandchild that holds the output open does not hold up the exit", "[exec][output]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  auto const begin = std::chrono::steady_clock::now();
  auto const run = exec(agent, {{"cmd", sleeper + " & echo done"}, {"v", 2}});
  CHECK(run.out == "done\n");
  CHECK(run.code() == 0);
  CHECK(run.exit["output_open"] == true);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
  CHECK(count_processes(sleeper) == 1);
}

TEST_CASE("output behind the exit can be had as long as the run is known", "[exec][output]") {
  agent_process agent;
  json const process = start_process(agent, {{"cmd", "(sleep 3; echo late) & echo early"}});
  std::string const path = "/v1/processes/" + process["id"].get<std::string>();
  auto const status = agent.request("GET", path + "/wait?timeout=60").json();
  CHECK(status["exit"]["output_open"] == true);
  auto const exit_seq = status["exit"]["seq"].get<std::uint64_t>();
  auto const late =
      events_of(agent, "GET", path + "/events?follow=1&after=" + std::to_string(exit_seq));
  CHECK(late.out == "late\n");
  CHECK(late.complete);
}

TEST_CASE("a silent stream says that it is alive", "[exec][output]") {
  agent_options options;
  options.flags = {"--ping-ms=50"};
  agent_process agent(options);
  auto run = begin_exec(agent, {{"cmd", "sleep 0.5"}});
  CHECK(run.connection.read_event().value()["event"] == "ping");
  CHECK(run.connection.read_event().value()["event"] == "ping");
}

TEST_CASE("many fast commands at once lose neither output nor exit codes", "[exec][output]") {
  std::size_t const runs = scaled<std::size_t>(2000, 150);
  WARN("runs: " << runs);
  agent_process agent;
  std::string const text(200 * 1024, 'x');
  write_file(agent.directory() + "/text", text);
  std::atomic<int> wrong{0};
  in_threads(scaled<std::size_t>(64, 16), runs, [&](std::size_t i) {
    json body = {{"cmd", "cat text; exit " + std::to_string(i % 256)}};
    if (i % 2 != 0) {
      body["v"] = 2;
      body["timeout"] = 300;
    }
    auto const run = exec(agent, body);
    if (run.out != text || !run.complete || run.code() != static_cast<int>(i % 256))
      ++wrong;
  });
  CHECK(wrong == 0);
}

TEST_CASE("orphans are collected, and no exit code is taken for another", "[exec][output]") {
  std::size_t const runs = scaled<std::size_t>(200, 60);
  WARN("orphans and commands: " << runs);
  agent_process agent;
  std::atomic<int> wrong{0};
  in_threads(16, 2 * runs, [&](std::size_t i) {
    if (i % 2 == 0) {
      auto const run =
          exec(agent, {{"cmd", "(setsid sh -c 'exit 9 & exec sleep 0.05' &) ; exit 0"}});
      wrong += run.code() == 0 ? 0 : 1;
    } else {
      auto const run = exec(agent, {{"cmd", "exit " + std::to_string(i % 251)}});
      wrong += run.code() == static_cast<int>(i % 251) ? 0 : 1;
    }
  });
  CHECK(wrong == 0);
  // Neither zombies nor anything else is left below the agent.
  std::string const children =
      "/proc/" + std::to_string(agent.pid()) + "/task/" + std::to_string(agent.pid()) + "/children";
  CHECK(eventually([&] {
    std::ifstream in(children);
    std::string left;
    std::getline(in, left);
    return left.empty();
  }));
}

TEST_CASE("a slow reader slows its command and nothing else, and misses nothing",
          "[exec][output]") {
  std::size_t const size = scaled<std::size_t>(1'000'000'000, 40'000'000);
  WARN("bytes: " << size);
  agent_process agent;
  json const body = {{"cmd", "head -c " + std::to_string(size) + " /dev/zero | tr '\\0' x; exit 5"},
                     {"v", 2}};
  auto slow = begin_exec(agent, body);
  auto const memory = [&] {
    std::ifstream in("/proc/" + std::to_string(agent.pid()) + "/statm");
    std::size_t total = 0;
    std::size_t resident = 0;
    in >> total >> resident;
    return resident * 4096;
  };
  [[maybe_unused]] auto const before = memory();
  CHECK(exec(agent, {{"cmd", "echo other"}}).out == "other\n");
  std::size_t got = 0;
  std::size_t most = 0;
  std::size_t events = 0;
  json last;
  // Counted in the text: parsing would take longer than all the rest.
  while (auto const line = slow.connection.read_body_line()) {
    if (line->starts_with("{\"data\""))
      got += static_cast<std::size_t>(std::count(line->begin(), line->end(), 'x'));
    else
      last = json::parse(*line);
    if (++events % 64 == 0)
      most = (std::max)(most, memory());
  }
  CHECK(got == size);
  CHECK(last["exit_code"] == 5);
  CHECK_FALSE(last.contains("dropped_bytes"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(most < before + (64u << 20));
#endif
}

TEST_CASE("callers that vanish while output is on its way take their runs along", "[exec]") {
  agent_options options;
  options.tcp = GENERATE(false, true);
  agent_process agent(options);
  for (int i = 0; i < 20; ++i) {
    auto caller = begin_exec(agent, {{"cmd", "exec yes"}});
    // So that a write of the agent waits, and fails at the moment at which the connection ends.
    int before = 0;
    int same = 0;
    REQUIRE(eventually([&] {
      int unread = 0;
      REQUIRE(::ioctl(caller.connection.fd(), FIONREAD, &unread) == 0);
      same = unread == before ? same + 1 : 0;
      before = unread;
      return unread > 0 && same > 5;
    }));
    linger const at_once{1, 0};
    ::setsockopt(caller.connection.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    caller.connection.close();
  }
  CHECK(eventually([&] {
    for (auto const& entry : agent.request("GET", "/v1/processes?all=1").json())
      if (entry["running"] == true)
        return false;
    return true;
  }));
}
