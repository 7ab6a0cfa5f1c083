#include "support/agent_process.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace hf::testing_support;

namespace {

std::string request_text(agent_process const& agent, std::string const& line,
                         std::string const& fields = {}, std::string const& body = {}) {
  return line + " HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + agent.token() + "\r\n" + fields +
         "\r\n" + body;
}

}  // namespace

TEST_CASE("health tells strangers the protocol and nothing else", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  connection.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
  auto const answer = connection.read_answer();
  CHECK(answer.status == 200);
  CHECK(answer.body == R"({"protocol":3,"status":"ok"})");
  CHECK(answer.header("x-sandbox-instance").empty());

  connection.send_request("GET", "/health", "not-the-token");
  CHECK(connection.read_answer().body == R"({"protocol":3,"status":"ok"})");
}

TEST_CASE("health with the token says what the agent is and can", "[http]") {
  agent_process agent;
  auto const answer = agent.request("GET", "/health");
  REQUIRE(answer.status == 200);
  auto const told = answer.json();
  CHECK(told["status"] == "ok");
  CHECK(told["protocol"] == 3);
  CHECK(told["mode"] == "dedicated");
  CHECK(told["auth"] == "required");
  CHECK(told["sandboxes"] == 0);
  CHECK(told["version"].is_string());
  CHECK(told["uptime_ms"].is_number_unsigned());
  CHECK(told["landlock"]["abi"].is_number_integer());
  CHECK(told["features"].is_object());
  CHECK(answer.header("x-sandbox-instance").size() == 32);
}

TEST_CASE("every start has another instance id, every authorised answer names it", "[http]") {
  agent_process first;
  agent_process second;
  auto const id = first.request("GET", "/health").header("x-sandbox-instance");
  CHECK(first.request("GET", "/v1/info").header("x-sandbox-instance") == id);
  CHECK(first.request("GET", "/nowhere").header("x-sandbox-instance") == id);
  CHECK(second.request("GET", "/health").header("x-sandbox-instance") != id);
}

TEST_CASE("info names protocol, features and limits", "[http]") {
  agent_options options;
  options.env["SBX_IDLE_TIMEOUT"] = "600";
  agent_process agent(options);
  auto const info = agent.request("GET", "/v1/info").json();
  CHECK(info["agent"] == "hf-sandbox-agent");
  CHECK(info["protocol"] == nlohmann::json::parse("[2,3]"));
  CHECK(info["features"].is_object());
  CHECK(info["limits"]["json_body_bytes"] == 16 * 1024 * 1024);
  CHECK(info["idle_remaining_ms"].get<int>() > 590000);
  CHECK(info["deadline_ms"].is_null());
  CHECK_FALSE(info["kernel"].get<std::string>().empty());
  CHECK_FALSE(info["arch"].get<std::string>().empty());
}

TEST_CASE("without the token every route is 403, whether it exists or not", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  for (std::string const token :
       {"", "x", "0123456789abcdef-test-toke", "0123456789abcdef-test-tokenn"})
    for (std::string const target : {"/v1/info", "/v1/nowhere", "/", "/v1/proxy/1/", "/health/"}) {
      connection.send_request("GET", target, token);
      auto const answer = connection.read_answer();
      CHECK(answer.status == 403);
      CHECK(answer.json()["error"] == "invalid or missing X-Sandbox-Token");
      CHECK(answer.header("x-sandbox-instance").empty());
    }
}

TEST_CASE("an unknown route or method is 404 with its name", "[http]") {
  agent_process agent;
  auto const answer = agent.request("GET", "/v1/nowhere?x=1");
  CHECK(answer.status == 404);
  CHECK(answer.json()["error"] == "no route: GET /v1/nowhere");
  CHECK(agent.request("POST", "/v1/info").json()["error"] == "no route: POST /v1/info");
  CHECK(agent.request("POST", "/health").status == 404);
  CHECK(agent.request("GET", "/health/").status == 404);
}

TEST_CASE("a route of the other mode is 404 and says so", "[http]") {
  agent_process agent;
  auto const told = [&](std::string const& method, std::string const& target) {
    auto const answer = agent.request(method, target);
    CHECK(answer.status == 404);
    return answer.json()["error"].get<std::string>();
  };
  CHECK(told("GET", "/v1/sandboxes") == "no route in this server mode: GET /v1/sandboxes");
  CHECK(told("POST", "/v1/sandboxes?x=y") == "no route in this server mode: POST /v1/sandboxes");
  CHECK(told("DELETE", "/v1/sandboxes/abc/") ==
        "no route in this server mode: DELETE /v1/sandboxes/abc/");
  CHECK(told("POST", "/v1/sandboxes/abc/exec") ==
        "no route in this server mode: POST /v1/sandboxes/abc/exec");
  CHECK(told("GET", "/v1/sandboxes2") == "no route: GET /v1/sandboxes2");
  CHECK(told("GET", "/v2/sandboxes") == "no route: GET /v2/sandboxes");
  auto connection = agent.connect();
  connection.send_request("GET", "/v1/sandboxes", "wrong");
  CHECK(connection.read_answer().status == 403);
}

TEST_CASE("a method counts the same in small letters", "[http]") {
  agent_process agent;
  CHECK(agent.request("get", "/v1/info").status == 200);
  CHECK(agent.request("Post", "/v1/nowhere").json()["error"] == "no route: POST /v1/nowhere");
}

TEST_CASE("of a repeated query parameter the last one counts, plus and percent are decoded",
          "[http]") {
  agent_process agent;
  auto const error = [&](std::string const& query) {
    return agent.request("GET", "/v1/files/stat?" + query).json()["error"].get<std::string>();
  };
  CHECK(error("path=/first&path=/last") == "no such path: /last");
  CHECK(error("path=/a+b%2Bc%20d%26") == "no such path: /a b+c d&");
  CHECK(error("p%61th=/named") == "no such path: /named");
  CHECK(error("&&path=/between&") == "no such path: /between");
  CHECK(error("path=/a=b?c") == "no such path: /a=b?c");
  CHECK(error("path") == "missing 'path' query parameter");
  CHECK(error("path=/x&path=") == "missing 'path' query parameter");
}

TEST_CASE("slashes around a path do not matter", "[http]") {
  agent_process agent;
  CHECK(agent.request("GET", "//v1/info").status == 200);
  CHECK(agent.request("GET", "/v1/info/").status == 200);
  CHECK(agent.request("GET", "/v1//info").status == 404);
}

TEST_CASE("the head of an answer has the protocol's fields and no others", "[http]") {
  agent_process agent;
  auto const answer = agent.request("GET", "/v1/info");
  std::vector<std::string> names;
  for (auto const& field : answer.fields)
    names.push_back(field.first);
  CHECK(names == std::vector<std::string>{"content-type", "connection", "content-length",
                                          "x-sandbox-instance"});
}

TEST_CASE("HEAD answers like GET without the body", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  connection.send_request("HEAD", "/v1/info", agent.token());
  auto const head = connection.read_answer(true);
  CHECK(head.status == 200);
  CHECK(std::stoi(head.header("content-length")) > 10);
  connection.send_request("GET", "/health", agent.token());
  CHECK(connection.read_answer().status == 200);
}

TEST_CASE("a connection serves many requests, also sent at once", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  for (int i = 0; i < 20; ++i) {
    connection.send_request("GET", "/v1/info", agent.token());
    REQUIRE(connection.read_answer().status == 200);
  }
  std::string all;
  for (int i = 0; i < 50; ++i)
    all += request_text(agent, "GET /v1/nowhere/" + std::to_string(i));
  connection.send(all);
  for (int i = 0; i < 50; ++i)
    REQUIRE(connection.read_answer().json()["error"] ==
            "no route: GET /v1/nowhere/" + std::to_string(i));
}

TEST_CASE("a connection lives as long as version and Connection say", "[http]") {
  agent_process agent;
  auto const after = [&](std::string const& text) {
    auto connection = agent.connect();
    connection.send(text);
    auto const answer = connection.read_answer();
    CHECK(answer.status == 200);
    if (answer.header("connection") == "close")
      return connection.is_closed_silently();
    connection.send("GET /health HTTP/1.1\r\n\r\n");
    CHECK(connection.read_answer().status == 200);
    return false;
  };
  CHECK(after("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"));
  CHECK(after("GET /health HTTP/1.1\r\nConnection: keep-alive, Close\r\n\r\n"));
  CHECK(after("GET /health HTTP/1.0\r\n\r\n"));
  CHECK_FALSE(after("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  CHECK_FALSE(after("GET /health HTTP/1.1\r\n\r\n"));
}

TEST_CASE("a request that arrives byte by byte is answered", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  std::string const chunked =
      request_text(agent, "POST /v1/nowhere", "Transfer-Encoding: chunked\r\n",
                   "3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: 1\r\n\r\n");
  for (char const c : chunked)
    connection.send(std::string(1, c));
  CHECK(connection.read_answer().status == 404);
  for (char const c : request_text(agent, "GET /v1/info"))
    connection.send(std::string(1, c));
  CHECK(connection.read_answer().status == 200);
}

TEST_CASE("a caller that has closed its sending side gets its answer", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  connection.send(request_text(agent, "GET /v1/info"));
  connection.shutdown_write();
  CHECK(connection.read_answer().status == 200);
  CHECK(connection.is_closed_silently());
}

TEST_CASE("bodies that nobody wanted do not disturb the next request", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  connection.send_request("POST", "/v1/nowhere", agent.token(), std::string(900 * 1024, 'x'));
  CHECK(connection.read_answer().status == 404);
  connection.send(request_text(agent, "POST /v1/nowhere", "Transfer-Encoding: chunked\r\n",
                               "5\r\nGET /\r\n0\r\n\r\n"));
  CHECK(connection.read_answer().status == 404);
  connection.send_request("GET", "/v1/info", agent.token());
  CHECK(connection.read_answer().status == 200);
}

TEST_CASE("an answer reaches a caller that is still sending a body nobody wants", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  connection.send(request_text(agent, "POST /v1/nowhere", "Content-Length: 100000000\r\n"));
  connection.send(std::string(200 * 1024, 'x'));
  auto const answer = connection.read_answer();
  CHECK(answer.status == 404);
  CHECK(answer.header("connection") == "close");
}

TEST_CASE("Expect: 100-continue is answered before the body is read", "[http]") {
  agent_process agent;
  auto connection = agent.connect();
  std::string const path = agent.directory() + "/expected";
  connection.send(request_text(agent, "PUT /v1/files/write?path=" + path,
                               "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  REQUIRE(connection.read_head().status == 100);
  connection.send("hello");
  CHECK(connection.read_answer().status == 200);

  // Refused before the body: no 100, and the connection does not guess whether the body comes.
  connection.send(
      request_text(agent, "PUT /v1/nowhere", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  auto const refused = connection.read_head();
  CHECK(refused.status == 404);
  CHECK(refused.header("connection") == "close");
}
