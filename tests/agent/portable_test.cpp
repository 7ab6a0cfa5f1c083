#include "support/agent_process.hpp"
#include "support/tcp_server.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace hf::testing_support;

// What an agent of another architecture is tried with under emulation: a little of everything.

TEST_CASE("an agent runs commands with input, output, error and exit code", "[portable]") {
  agent_process agent;
  auto connection = agent.connect();
  connection.send_request(
      "POST", "/v1/exec", agent.token(),
      R"({"cmd":["/bin/sh","-c","cat; echo err >&2; exit 7"],"stdin":"h\u00e4"})");
  REQUIRE(connection.read_head().status == 200);
  std::string out;
  std::string err;
  int exit_code = -1;
  while (auto const event = connection.read_event()) {
    auto const& kind = (*event)["event"];
    if (kind == "stdout")
      out += (*event)["data"].get<std::string>();
    if (kind == "stderr")
      err += (*event)["data"].get<std::string>();
    if (kind == "exit")
      exit_code = (*event)["exit_code"].get<int>();
  }
  CHECK(out == "h\xc3\xa4");
  CHECK(err == "err\n");
  CHECK(exit_code == 7);
}

TEST_CASE("an agent ends a command that runs too long", "[portable]") {
  agent_process agent;
  auto const answer = agent.request("POST", "/v1/exec", R"({"cmd":"sleep 600","timeout":0.5})");
  REQUIRE(answer.status == 200);
  CHECK(answer.body.find(R"("timed_out":true)") != std::string::npos);
}

TEST_CASE("an agent keeps, lists and ends background processes", "[portable]") {
  agent_process agent;
  auto const started = agent.request("POST", "/v1/processes", R"({"cmd":"sleep 600"})").json();
  auto const list = agent.request("GET", "/v1/processes").json();
  REQUIRE(list.size() == 1);
  CHECK(list[0]["id"] == started["id"]);
  CHECK(list[0]["running"] == true);
  auto const ended =
      agent.request("DELETE", "/v1/processes/" + started["id"].get<std::string>()).json();
  CHECK(ended["killed"] == true);
}

TEST_CASE("an agent writes and reads files of every size", "[portable]") {
  agent_process agent;
  for (std::size_t const size :
       {std::size_t{0}, std::size_t{1}, std::size_t{100000}, std::size_t{5000000}}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
      content[i] = static_cast<char>(i * 31 + i / 251);
    std::string const path = agent.directory() + "/file" + std::to_string(size);
    CHECK(agent.request("PUT", "/v1/files/write?path=" + path, content).status == 200);
    CHECK(agent.request("GET", "/v1/files/read?path=" + path).body == content);
  }
  CHECK(agent.request("GET", "/v1/files/list?path=" + agent.directory()).json()["entries"].size() >=
        4);
}

TEST_CASE("an agent reaches a server inside", "[portable]") {
  agent_process agent;
  tcp_server server([](tcp_peer& peer) {
    peer.receive_until("\r\n\r\n");
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong");
  });
  CHECK(agent.request("GET", "/v1/proxy/" + std::to_string(server.port()) + "/").body == "pong");
}
