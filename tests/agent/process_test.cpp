#include "support/exec_client.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

std::string path_of(json const& process, char const* rest = "") {
  return "/v1/processes/" + process["id"].get<std::string>() + rest;
}

}  // namespace

TEST_CASE("background processes are listed in order of their start", "[process]") {
  agent_process agent;
  json const first = start_process(agent, {{"cmd", "sleep 100"}, {"tag", "one"}});
  CHECK(first["id"] == "p-0");
  CHECK(first["cmd"] == "sleep 100");
  CHECK(first["tag"] == "one");
  json const second =
      exec(agent, {{"cmd", "true"}}).status == 200
          ? agent
                .request("POST", "/v1/exec",
                         R"({"cmd":["sh","-c","exit 6"],"background":true,"tag":null})")
                .json()
          : json();
  CHECK(second["id"] == "p-1");
  CHECK_FALSE(second.contains("cmd"));
  CHECK(agent.request("GET", path_of(second, "/wait?timeout=60")).json()["exit"]["exit_code"] == 6);
  json const list = agent.request("GET", "/v1/processes").json();
  REQUIRE(list.size() == 2);
  CHECK(list[0]["id"] == "p-0");
  CHECK(list[0]["running"] == true);
  CHECK(list[0]["exit_code"].is_null());
  CHECK(list[1]["cmd"] == json::array({"sh", "-c", "exit 6"}));
  CHECK(list[1]["running"] == false);
  CHECK(list[1]["exit_code"] == 6);
  CHECK(list[1]["tag"].is_null());
}

TEST_CASE("only the last ended processes stay in the list, running ones all", "[process]") {
  agent_process agent;
  json const running = start_process(agent, {{"cmd", "sleep 100"}});
  for (int i = 0; i < 258; ++i) {
    json const process = start_process(agent, {{"cmd", json::array({"true"})}});
    CHECK(agent.request("GET", path_of(process, "/wait")).status == 200);
  }
  start_process(agent, {{"cmd", json::array({"sleep", "100"})}});
  json const list = agent.request("GET", "/v1/processes").json();
  CHECK(list.size() == 258);
  CHECK(list[0]["id"] == running["id"]);
  CHECK(list[1]["id"] == "p-3");
}

TEST_CASE("a process is deleted once, by id or by pid", "[process]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  json const one = start_process(agent, {{"cmd", "setsid " + sleeper + " & " + sleeper}});
  json const two = start_process(agent, {{"cmd", sleeper}});
  REQUIRE(eventually([&] { return count_processes(sleeper) >= 3; }));
  json const deleted = agent.request("DELETE", path_of(one)).json();
  CHECK(deleted["killed"] == true);
  CHECK(deleted["id"] == one["id"]);
  CHECK(agent.request("DELETE", path_of(one)).json()["killed"] == false);
  auto const by_pid = agent.request("DELETE", "/v1/processes/" + two["pid"].dump());
  CHECK(by_pid.json()["killed"] == true);
  CHECK(count_processes(sleeper) == 0);
  CHECK(agent.request("GET", "/v1/processes").json().empty());
  CHECK(agent.request("DELETE", "/v1/processes/p-77").json()["killed"] == false);
  auto const again = agent.request("DELETE", "/v1/processes/" + two["pid"].dump());
  CHECK(again.status == 200);
  CHECK(again.json() == json{{"id", two["pid"].dump()}, {"killed", false}});
  for (char const* id : {"x", "p-", "p-1x", "0", "-1", "1.5"})
    CHECK(agent.request("DELETE", std::string("/v1/processes/") + id).status == 400);
}

TEST_CASE("deleting tells whether the command itself was still there to be killed", "[process]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  json const ended = start_process(agent, {{"cmd", "setsid " + sleeper + " & exit 0"}});
  CHECK(ended["id"] == "p-0");
  CHECK(agent.request("GET", path_of(ended, "/wait?timeout=60")).json()["exit"]["exit_code"] == 0);
  REQUIRE(count_processes(sleeper) == 1);
  // An id is a text, not a number.
  CHECK(agent.request("DELETE", "/v1/processes/p-00").body == R"({"id":"p-00","killed":false})");
  CHECK(agent.request("DELETE", "/v1/processes/p-99999999999999999999").json()["killed"] == false);
  CHECK(agent.request("DELETE", path_of(ended)).body == R"({"id":"p-0","killed":false})");
  // What it has left behind is gone all the same.
  CHECK(count_processes(sleeper) == 0);
  CHECK(agent.request("GET", "/v1/processes").body == "[]");
}

TEST_CASE("signals reach the process, its group or its tree", "[process]") {
  agent_process agent;
  std::string const loop = "while :; do sleep 0.05; done";
  std::string const trap = "trap 'exit 5' USR1; ";
  json const process = start_process(agent, {{"cmd", trap + "echo up; " + loop}});
  auto const up = [&](json const& p) {
    return eventually(
        [&] { return agent.request("GET", path_of(p, "/wait?timeout=0")).json()["last_seq"] > 0; });
  };
  REQUIRE(up(process));
  CHECK(
      agent.request("POST", path_of(process, "/signal"), R"({"signal":10})").json()["signalled"] ==
      1);
  CHECK(agent.request("GET", path_of(process, "/wait?timeout=60")).json()["exit"]["exit_code"] ==
        5);
  CHECK(
      agent.request("POST", path_of(process, "/signal"), R"({"signal":10})").json()["signalled"] ==
      0);

  std::string const sleeper = unique_sleep();
  json const tree =
      start_process(agent, {{"cmd", "setsid " + sleeper + " & echo up; " + sleeper + "; wait"}});
  REQUIRE(eventually([&] { return count_processes(sleeper) >= 3; }));
  CHECK(agent.request("POST", path_of(tree, "/signal"), R"({"signal":15,"scope":"tree"})")
            .json()["signalled"] >= 3);
  CHECK(eventually([&] { return count_processes(sleeper) == 0; }));
  CHECK(agent.request("POST", path_of(tree, "/signal"), R"({"signal":99})").status == 400);
  CHECK(agent.request("POST", "/v1/processes/p-99/signal", R"({"signal":9})").status == 404);
}

TEST_CASE("killing the tree takes what is forked meanwhile", "[process]") {
  agent_process agent;
  std::string const sleeper = unique_sleep();
  json const tree = start_process(agent, {{"cmd", "echo up; i=0; while [ $i -lt 400 ]; do setsid " +
                                                      sleeper + " & i=$((i+1)); done; wait"}});
  REQUIRE(eventually([&] {
    return agent.request("GET", path_of(tree, "/wait?timeout=0")).json()["last_seq"] > 0;
  }));
  CHECK(agent.request("POST", path_of(tree, "/signal"), R"({"signal":9,"scope":"tree"})")
            .json()["signalled"] >= 1);
  CHECK(count_processes(sleeper) == 0);
}

TEST_CASE("waiting ends at the exit or when its time is over", "[process]") {
  agent_process agent;
  REQUIRE(::mkfifo((agent.directory() + "/gate").c_str(), 0600) == 0);
  json const process = start_process(agent, {{"cmd", "read go < gate; exit 8"}});
  json const early = agent.request("GET", path_of(process, "/wait?timeout=0.05")).json();
  CHECK(early["state"] == "running");
  CHECK_FALSE(early.contains("exit"));
  CHECK(agent.request("GET", path_of(process, "/wait?timeout=-1")).status == 400);
  CHECK(agent.request("DELETE", path_of(process)).status == 200);
  CHECK(agent.request("GET", path_of(process, "/wait")).status == 404);
}

TEST_CASE("a running command keeps an idle agent alive", "[process]") {
  agent_options options;
  options.env["SBX_IDLE_TIMEOUT"] = "1";
  agent_process agent(options);
  auto const run = exec(agent, {{"cmd", "sleep 4; echo still"}});
  CHECK(run.out == "still\n");
  start_process(agent, {{"cmd", "sleep 3; echo x > witness"}});
  auto const status = agent.wait_exit(std::chrono::seconds(60));
  REQUIRE(status);
  CHECK(WEXITSTATUS(*status) == 0);
  CHECK(std::filesystem::exists(agent.directory() + "/witness"));
}
