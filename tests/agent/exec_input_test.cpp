#include "support/exec_client.hpp"

#include <hf/sandbox/detail/base64.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <thread>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

std::string input_path(json const& start) {
  return "/v1/processes/" + start["id"].get<std::string>() + "/stdin";
}

}  // namespace

TEST_CASE("input in the request arrives, and then its end", "[exec][input]") {
  agent_process agent;
  CHECK(exec(agent, {{"cmd", "cat"}, {"stdin", "h\xc3\xa9llo"}}).out == "h\xc3\xa9llo");
  CHECK(exec(agent, {{"cmd", "cat"}, {"stdin", ""}}).out.empty());
  std::string const bytes = pattern(3'000'000);
  auto const run =
      exec(agent, {{"cmd", "cat"}, {"stdin_b64", hf::detail::base64_encode(bytes)}, {"v", 2}});
  CHECK(run.out == bytes);
}

TEST_CASE("a command that does not read its input is not held up", "[exec][input]") {
  agent_process agent;
  auto const run = exec(agent, {{"cmd", "exit 4"}, {"stdin", std::string(5'000'000, 'x')}});
  CHECK(run.code() == 4);
  auto const closed =
      exec(agent, {{"cmd", "exec <&-; sleep 0.2; exit 5"}, {"stdin", std::string(5'000'000, 'x')}});
  CHECK(closed.code() == 5);
}

TEST_CASE("streamed input is addressed by offset and can be repeated", "[exec][input]") {
  agent_process agent;
  std::string const bytes = pattern(2'000'000);
  auto run = begin_exec(agent, {{"cmd", "cat"}, {"stdin", "stream"}, {"v", 2}});
  std::string const path = input_path(run.start);
  std::thread sender([&] {
    auto const send = [&](std::size_t from, std::size_t to, char const* more = "") {
      return agent.request("POST", path + "?offset=" + std::to_string(from) + more,
                           std::string_view(bytes).substr(from, to - from));
    };
    CHECK(send(0, 500'000).json()["accepted"] == 500'000);
    CHECK(send(0, 500'000).json()["accepted"] == 500'000);
    CHECK(send(250'000, 900'000).json()["accepted"] == 900'000);
    auto const gap = send(1'000'000, 1'000'001);
    CHECK(gap.status == 409);
    CHECK(gap.json()["accepted"] == 900'000);
    CHECK(agent.request("POST", path + "?offset=-1", "x").status == 400);
    auto const last = send(900'000, bytes.size(), "&eof=1");
    CHECK(last.json()["accepted"] == bytes.size());
    CHECK(last.json()["eof"] == true);
  });
  exec_outcome outcome;
  collect_events(run.connection, outcome);
  sender.join();
  CHECK(outcome.out == bytes);
  CHECK(outcome.code() == 0);
}

TEST_CASE("a later piece takes over from one that is stuck", "[exec][input]") {
  agent_process agent;
  REQUIRE(::mkfifo((agent.directory() + "/gate").c_str(), 0600) == 0);
  auto run = begin_exec(agent, {{"cmd", "read go < gate; wc -c"}, {"stdin", "stream"}, {"v", 2}});
  std::string const path = input_path(run.start);
  // More than the pipe takes, and little enough for the socket to take the rest.
  std::string const bytes(150'000, 'x');
  raw_http stuck = agent.connect();
  stuck.send_request("POST", path + "?offset=0", agent.token(), bytes);
  std::thread second([&] {
    auto const answer = agent.request("POST", path + "?offset=0&eof=1", bytes);
    CHECK(answer.json()["accepted"] == bytes.size());
  });
  CHECK(stuck.read_answer().status == 409);
  std::ofstream(agent.directory() + "/gate") << "go\n";
  second.join();
  exec_outcome outcome;
  collect_events(run.connection, outcome);
  CHECK(outcome.out.find("150000") != std::string::npos);
}

TEST_CASE("input for a run that takes none is a conflict", "[exec][input]") {
  agent_process agent;
  json const process = start_process(agent, {{"cmd", "sleep 100"}});
  CHECK(agent.request("POST", input_path(process), "x").status == 409);
  CHECK(agent.request("POST", "/v1/processes/p-99/stdin", "x").status == 404);
}
