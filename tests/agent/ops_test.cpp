#include "support/exec_client.hpp"
#include "support/scale.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

std::string op(char c) {
  return std::string(32, c);
}

std::string path_of(json const& start, std::string const& rest) {
  return "/v1/processes/" + start["id"].get<std::string>() + rest;
}

}  // namespace

TEST_CASE("the same operation sent many times at once runs once", "[ops]") {
  agent_process agent;
  json const body = {
      {"cmd", "echo ran >> runs; sleep 0.2; echo out; exit 3"}, {"op", op('a')}, {"v", 2}};
  std::atomic<int> wrong{0};
  std::vector<std::thread> all;
  for (int i = 0; i < 100; ++i)
    all.emplace_back([&] {
      auto const run = exec(agent, body);
      if (run.out != "out\n" || run.code() != 3 || run.id() != "p-0")
        ++wrong;
    });
  for (auto& thread : all)
    thread.join();
  CHECK(wrong == 0);
  std::ifstream in(agent.directory() + "/runs");
  CHECK(std::string((std::istreambuf_iterator<char>(in)), {}) == "ran\n");
}

TEST_CASE("an operation id with another request is a conflict", "[ops]") {
  agent_process agent;
  exec(agent, {{"cmd", "true"}, {"op", op('a')}});
  auto const other = exec(agent, {{"cmd", "touch made"}, {"op", op('a')}});
  CHECK(other.status == 409);
  CHECK(other.error["code"] == "conflict");
  auto const elsewhere =
      agent.request("POST", "/v1/processes", json({{"cmd", "true"}, {"op", op('a')}}).dump());
  CHECK(elsewhere.status == 409);
  CHECK_FALSE(std::filesystem::exists(agent.directory() + "/made"));
}

TEST_CASE("an operation of another agent is not run", "[ops]") {
  agent_process agent;
  auto const answer =
      agent.request("POST", "/v1/exec", json({{"cmd", "touch made"}, {"op", op('a')}}).dump(),
                    {{"X-Sandbox-Instance", op('0')}});
  CHECK(answer.status == 409);
  CHECK(answer.json()["code"] == "op_unknown");
  CHECK_FALSE(std::filesystem::exists(agent.directory() + "/made"));
  CHECK(agent.request("GET", "/v1/ops/" + op('a'), {}, {{"X-Sandbox-Instance", op('0')}}).status ==
        409);
  auto const unknown = agent.request("GET", "/v1/ops/" + op('a'));
  CHECK(unknown.status == 404);
  CHECK(unknown.json()["state"] == "unknown");
  CHECK(agent.request("GET", "/v1/ops/xyz").status == 400);
}

TEST_CASE("a run goes on without its caller and is resumed where he was", "[ops]") {
  agent_process agent;
  REQUIRE(::mkfifo((agent.directory() + "/gate").c_str(), 0600) == 0);
  json start;
  {
    auto run = begin_exec(
        agent, {{"cmd", "echo one; read go < gate; echo two; exit 4"}, {"op", op('b')}, {"v", 2}});
    start = run.start;
  }
  json const state = agent.request("GET", "/v1/ops/" + op('b')).json();
  CHECK(state["id"] == start["id"]);
  auto const resumed = events_of(agent, "GET", path_of(start, "/events?after=0"), "");
  CHECK_FALSE(resumed.complete);
  CHECK(agent.request("GET", "/v1/processes").status == 200);
  CHECK(agent.request("GET", "/v1/processes").json().empty());
  CHECK(agent.request("GET", "/v1/processes?all=1").json().size() == 1);
  CHECK(agent.request("DELETE", path_of(start, "")).status == 200);
  CHECK(agent.request("GET", "/v1/ops/" + op('b')).status == 410);
  auto const again = exec(
      agent, {{"cmd", "echo one; read go < gate; echo two; exit 4"}, {"op", op('b')}, {"v", 2}});
  CHECK(again.status == 410);
}

TEST_CASE("every cut of a stream can be resumed without losing or repeating a record", "[ops]") {
  agent_process agent;
  std::string const script =
      "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.01; done";
  std::string expected;
  for (int i = 1; i <= 40; ++i)
    expected += "line " + std::to_string(i) + "\n";
  std::string got;
  std::uint64_t last = 0;
  json start;
  {
    auto run = begin_exec(agent, {{"cmd", script}, {"op", op('c')}, {"v", 2}});
    start = run.start;
  }
  bool ended = false;
  for (int cuts = 0; !ended && cuts < 200; ++cuts) {
    raw_http connection = agent.connect();
    connection.send_request("GET", path_of(start, "/events?follow=1&after=" + std::to_string(last)),
                            agent.token());
    REQUIRE(connection.read_head().status == 200);
    for (int i = 0; i < 3 && !ended; ++i) {
      auto const event = connection.read_event();
      REQUIRE(event);
      if ((*event)["event"] == "stdout") {
        CHECK((*event)["seq"] == last + 1);
        got += (*event)["data"].get<std::string>();
      }
      if (event->contains("seq"))
        last = (*event)["seq"].get<std::uint64_t>();
      ended = (*event)["event"] == "exit";
    }
  }
  CHECK(ended);
  CHECK(got == expected);
}

TEST_CASE("a run whose caller does not come back is killed after its linger time", "[ops]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  json start;
  {
    auto run = begin_exec(
        agent, {{"cmd", sleeper + " & " + sleeper}, {"op", op('d')}, {"v", 2}, {"linger", 0.3}});
    start = run.start;
  }
  json const status = agent.request("GET", path_of(start, "/wait?timeout=60")).json();
  CHECK(status["exit"]["signal"] == 9);
  CHECK(count_processes(sleeper) == 0);
}

TEST_CASE("results are forgotten in time, and what was forgotten never runs again", "[ops]") {
  agent_options options;
  options.flags = {"--results-ms=200"};
  agent_process agent(options);
  json const body = {{"cmd", "echo x >> runs"}, {"op", op('e')}, {"v", 2}};
  auto const run = exec(agent, body);
  CHECK(run.code() == 0);
  CHECK(eventually([&] { return agent.request("GET", "/v1/ops/" + op('e')).status == 410; }));
  auto const again = exec(agent, body);
  CHECK(again.status == 410);
  CHECK(again.error["code"] == "output_gone");
  std::ifstream in(agent.directory() + "/runs");
  CHECK(std::string((std::istreambuf_iterator<char>(in)), {}) == "x\n");
}

TEST_CASE("output that nobody reads is bounded, and what was dropped is said", "[ops]") {
  std::uint64_t const size =
      scaled<std::uint64_t>(std::uint64_t{2} << 30, std::uint64_t{120} << 20);
  std::uint64_t const limit = scaled<std::uint64_t>(64u << 20, 16u << 20);
  WARN("bytes: " << size << ", spill limit: " << limit);
  agent_options options;
  options.env["SBX_SPILL_LIMIT"] = std::to_string(limit);
  agent_process agent(options);
  json const process = start_process(
      agent, {{"cmd", "head -c " + std::to_string(size) + " /dev/zero | tr '\\0' x"}});
  json const status = agent.request("GET", path_of(process, "/wait?timeout=600")).json();
  REQUIRE(status["state"] == "exited");
  auto const gone = events_of(agent, "GET", path_of(process, "/events?after=0"));
  CHECK(gone.status == 410);
  CHECK(gone.error["code"] == "output_gone");
  auto const first = gone.error["first_seq"].get<std::uint64_t>();
  CHECK(first == status["first_seq"].get<std::uint64_t>());
  auto const rest =
      events_of(agent, "GET", path_of(process, "/events?after=" + std::to_string(first - 1)));
  CHECK(rest.complete);
  CHECK(rest.out.size() >= limit / 2);
  CHECK(rest.out.size() + rest.exit["dropped_bytes"].get<std::uint64_t>() == size);
  for (std::size_t i = 0; i < rest.seqs.size(); ++i)
    REQUIRE(rest.seqs[i] == first + i);
}

TEST_CASE("spilled output comes back byte for byte", "[ops]") {
  agent_options options;
  options.flags = {"--output-memory=1000000"};
  agent_process agent(options);
  json const process = start_process(agent, {{"cmd",
                                              "i=0; while [ $i -lt 40 ]; do i=$((i+1)); "
                                              "head -c 100000 /dev/zero | tr '\\0' $((i%10)); "
                                              "echo $i >&2; done"}});
  CHECK(agent.request("GET", path_of(process, "/wait?timeout=600")).status == 200);
  auto const run = events_of(agent, "GET", path_of(process, "/events"));
  std::string expected;
  for (int i = 1; i <= 40; ++i)
    expected += std::string(100000, static_cast<char>('0' + i % 10));
  CHECK(run.out == expected);
  CHECK(run.err.ends_with("39\n40\n"));
  CHECK_FALSE(run.exit.contains("dropped_bytes"));
}

TEST_CASE("the caller can bound what is kept of a run's output", "[ops]") {
  agent_process agent;
  json const process = start_process(
      agent, {{"cmd", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo 0123456789; done"},
              {"max_output", 4000}});
  json const status = agent.request("GET", path_of(process, "/wait?timeout=60")).json();
  auto const dropped = status["exit"]["dropped_bytes"].get<std::uint64_t>();
  CHECK(dropped > 20000);
  auto const first = status["first_seq"].get<std::uint64_t>();
  auto const rest =
      events_of(agent, "GET", path_of(process, "/events?after=" + std::to_string(first - 1)));
  CHECK(rest.out.size() + dropped == 33000);
  CHECK(rest.out.size() <= 4000);
}

TEST_CASE("a request that is meant for another agent reaches no process of this one", "[ops]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  json const process = start_process(agent, {{"cmd", sleeper}});
  header_list const elsewhere = {{"X-Sandbox-Instance", op('0')}};
  auto const refused = [&](char const* method, char const* rest, std::string const& body = {}) {
    auto const answer = agent.request(method, path_of(process, rest), body, elsewhere);
    return answer.status == 409 && answer.json()["code"] == "op_unknown";
  };
  CHECK(refused("GET", "/wait?timeout=0"));
  CHECK(refused("GET", "/events?after=0"));
  CHECK(refused("POST", "/signal", R"({"signal":9})"));
  CHECK(refused("POST", "/stdin?offset=0", "x"));
  CHECK(refused("DELETE", ""));
  CHECK(count_processes(sleeper) > 0);
  std::string const here = agent.request("GET", "/v1/processes").header("x-sandbox-instance");
  CHECK(agent.request("DELETE", path_of(process, ""), {}, {{"X-Sandbox-Instance", here}})
            .json()["killed"] == true);
}

TEST_CASE("who reads an operation's output slowly loses nothing to those who were faster",
          "[ops]") {
  agent_process agent;
  std::size_t const size = 12'000'000;
  json const body = {{"cmd", "head -c " + std::to_string(size) + " /dev/zero | tr '\\0' x"},
                     {"op", op('f')}};
  // Counted in the text: parsing would take longer than all the rest.
  auto const is_complete = [&](raw_http& connection) {
    std::size_t got = 0;
    std::string last;
    while (auto piece = connection.read_chunk()) {
      got += static_cast<std::size_t>(std::count(piece->begin(), piece->end(), 'x'));
      last = std::move(*piece);
    }
    return last.find("\"event\":\"exit\"") != last.npos && got >= size;
  };
  auto slow = begin_exec(agent, body);
  // Together they get more than is kept for callers who were cut off.
  for (int i = 0; i < 8; ++i) {
    auto fast = begin_exec(agent, body);
    REQUIRE(is_complete(fast.connection));
  }
  CHECK(is_complete(slow.connection));
}

TEST_CASE("who follows a process that is deleted gets all of its output and its end", "[ops]") {
  agent_process agent;
  std::size_t const size = 6'000'000;
  json const process = start_process(
      agent, {{"cmd", "head -c " + std::to_string(size) + " /dev/zero | tr '\\0' x; " +
                          "echo done >&2; " + unique_sleep()}});
  raw_http follower = agent.connect();
  follower.send_request("GET", path_of(process, "/events?follow=1"), agent.token());
  REQUIRE(follower.read_head().status == 200);
  json first = follower.read_event().value();
  auto const written = [&] {
    auto const events = events_of(agent, "GET", path_of(process, "/events"));
    return events.err == "done\n";
  };
  REQUIRE(eventually(written));
  CHECK(agent.request("DELETE", path_of(process, "")).json()["killed"] == true);
  exec_outcome outcome;
  collect_events(follower, outcome);
  CHECK(outcome.out.size() + first["data"].get<std::string>().size() == size);
  CHECK(outcome.complete);
  CHECK(outcome.exit["signal"] == 9);
}

TEST_CASE("the text of a long command is not kept", "[ops]") {
  agent_process agent;
  std::string const script = "true # " + std::string(1'000'000, 'x') + "\xe2\x82\xac";
  CHECK(exec(agent, {{"cmd", script}, {"op", op('a')}}).code() == 0);
  CHECK(exec(agent, {{"cmd", {"echo", std::string(100'000, 'y')}}, {"op", op('b')}}).code() == 0);
  json const listed = agent.request("GET", "/v1/processes?all=1").json();
  REQUIRE(listed.size() == 2);
  CHECK(listed[0]["cmd"].get<std::string>().size() <= 256);
  CHECK(listed[1]["cmd"] == json::array({"echo"}));
}
