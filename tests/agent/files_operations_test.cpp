#include "support/agent_process.hpp"
#include "support/file_helpers.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

std::string const op = "&op=00112233445566778899aabbccddeeff";
std::string const other_op = "&op=ffeeddccbbaa99887766554433221100";

std::string target(std::string const& route, std::string const& path, std::string const& more) {
  return "/v1/files/" + route + "?path=" + percent(path) + more;
}

}  // namespace

TEST_CASE("a write that is sent twice with one operation id takes effect once", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  auto const first = agent.request("PUT", target("write", path, op), "first");
  REQUIRE(first.status == 200);
  spill(path, "newer, from somebody else");
  auto const again = agent.request("PUT", target("write", path, op), "first");
  CHECK(again.status == 200);
  CHECK(again.json() == first.json());
  CHECK(slurp(path) == "newer, from somebody else");
  // Another body, path or parameter is another request.
  CHECK(agent.request("PUT", target("write", path, op), "third").status == 409);
  CHECK(agent.request("PUT", target("write", path + "2", op), "first").status == 409);
  CHECK(agent.request("PUT", target("write", path, op + "&mode=600"), "first").status == 409);
  CHECK(slurp(path) == "newer, from somebody else");
  CHECK(agent.request("PUT", target("write", path, other_op), "third").status == 200);
  CHECK(slurp(path) == "third");
}

TEST_CASE("a large write with an operation id is recognised again too", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  auto const body = noise(3 << 20);
  REQUIRE(agent.request("PUT", target("write", path, op), body).status == 200);
  CHECK(slurp(path) == body);
  spill(path, "newer");
  auto const again = agent.request("PUT", target("write", path, op), body);
  CHECK(again.status == 200);
  CHECK(again.json().at("size") == body.size());
  CHECK(slurp(path) == "newer");
}

TEST_CASE("a delete that is sent twice answers the same twice", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  spill(path, "");
  auto const first = agent.request("DELETE", target("delete", path, op));
  REQUIRE(first.status == 200);
  spill(path, "made again");
  auto const again = agent.request("DELETE", target("delete", path, op));
  CHECK(again.status == 200);
  CHECK(again.json() == first.json());
  CHECK(slurp(path) == "made again");
  CHECK(agent.request("DELETE", target("delete", path, op + "&recursive=1")).status == 409);
}

TEST_CASE("an operation that failed may be tried again", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  CHECK(agent.request("DELETE", target("delete", path, op)).status == 404);
  spill(path, "");
  CHECK(agent.request("DELETE", target("delete", path, op)).status == 200);
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("a write whose connection broke is performed by its repetition", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  auto const body = noise(2 << 20);
  {
    auto connection = agent.connect();
    connection.send("PUT " + target("write", path, op) +
                    " HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + agent.token() +
                    "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                    body.substr(0, 1 << 20));
  }
  // It waits until the agent has noticed that the first one is lost.
  auto const again = agent.request("PUT", target("write", path, op), body);
  CHECK(again.status == 200);
  CHECK(slurp(path) == body);
}

TEST_CASE("a repetition for an agent that has ended runs nothing", "[files]") {
  agent_process agent;
  auto const path = agent.directory() + "/file";
  auto const refused = agent.request("PUT", target("write", path, op), "x",
                                     {{"X-Sandbox-Instance", std::string(32, '0')}});
  CHECK(refused.status == 409);
  CHECK(refused.json().at("code") == "op_unknown");
  CHECK_FALSE(fs::exists(path));
  auto const instance = agent.request("GET", "/v1/files/stat?path=/").header("x-sandbox-instance");
  REQUIRE(instance.size() == 32);
  CHECK(agent.request("PUT", target("write", path, op), "x", {{"X-Sandbox-Instance", instance}})
            .status == 200);
}
