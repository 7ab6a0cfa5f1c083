#include "support/fake_hub/connection.hpp"
#include "support/fake_hub/network_namespace.hpp"
#include "support/fake_hub/setup.hpp"

#include <hf/sandbox/launchers/hf_jobs.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using hf::testing_support::fake_hub;
using hf::testing_support::options_for;
namespace fake = hf::testing_support::fake;

namespace {

/// A job with an agent, and raw connections to its proxy host.
struct machine {
  fake_hub hub;
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher{options_for(hub)};
  hf::instance at = launcher.launch(transport, {});

  ~machine() { launcher.stop(transport, at.id); }

  hf::http::response call(std::string const& method, std::string const& target,
                          std::string const& body = {}) {
    auto rq = hf::detail::endpoint_request(*at.endpoint, method, target);
    if (!body.empty())
      rq.body = body;
    return hf::http::fetch(transport, rq);
  }
  [[nodiscard]] std::string head(std::string const& method, std::string const& target,
                                 bool bearer = true) const {
    std::string out = method + " " + target + " HTTP/1.1\r\nHost: " + at.id +
                      "--49983.localhost:" + std::to_string(hub.port()) + "\r\n";
    for (auto const& field : at.endpoint->headers)
      if (bearer || field.name != "Authorization")
        out += field.name + ": " + field.value + "\r\n";
    return out;
  }
  [[nodiscard]] int connect() const { return fake::connect_to(hub.port(), -1, -1); }
};

}  // namespace

TEST_CASE("the Jobs proxy checks every request of a kept-alive connection") {
  machine m;
  fake::connection raw(m.connect());
  for (bool const bearer : {true, true, false, true}) {
    REQUIRE(raw.write(m.head("GET", "/v1/files/stat?path=/", bearer) + "\r\n"));
    auto const text = raw.read_head();
    REQUIRE(text);
    auto const answer = fake::parse_head(*text);
    REQUIRE(answer);
    CHECK(answer->first.substr(9, 3) == (bearer ? "200" : "401"));
    std::string body;
    REQUIRE(raw.read_exactly(
        body, static_cast<std::size_t>(fake::content_length(answer->fields).value_or(0))));
  }
}

TEST_CASE("a connection upgraded through the Jobs proxy carries bytes both ways") {
  if (!std::filesystem::exists("/usr/bin/python3"))
    SKIP("no python3 for the server inside");
  machine m;
  // Ports inside an isolated job are its own.
  int const port = m.hub.isolated() ? 8000 : 42817;
  std::string const server = R"(
import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', )" + std::to_string(port) +
                             R"())
s.listen()
while True:
    c, _ = s.accept()
    head = b''
    while b'\r\n\r\n' not in head:
        got = c.recv(4096)
        if not got: break
        head += got
    seen = b'leaked' if b'uthorization' in head or b'andbox-token' in head.lower() else b'clean'
    c.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Seen: ' + seen + b'\r\n\r\n')
    while True:
        got = c.recv(4096)
        if not got: break
        c.sendall(got.upper())
    c.close()
)";
  auto const started = m.call("POST", "/v1/processes",
                              nlohmann::json{{"cmd", {"/usr/bin/python3", "-c", server}}}.dump());
  REQUIRE(started.status == 200);
  auto const target = "/v1/proxy/" + std::to_string(port) + "/ws";
  for (auto const end = std::chrono::steady_clock::now() + 30s;
       std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(50ms)) {
    fake::connection raw(m.connect());
    REQUIRE(raw.write(m.head("GET", target) + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    auto const text = raw.read_head();
    REQUIRE(text);
    auto const answer = fake::parse_head(*text);
    REQUIRE(answer);
    if (answer->first.substr(9, 3) != "101")
      continue;  // the server is not up yet
    CHECK(answer->fields.get("X-Seen") == "clean");
    for (std::string const word : {"hello", "again"}) {
      REQUIRE(raw.write(word));
      std::string back;
      REQUIRE(raw.read_exactly(back, word.size()));
      CHECK(back == (word == "hello" ? "HELLO" : "AGAIN"));
    }
    return;
  }
  FAIL("the server inside was never reached");
}

TEST_CASE("output streams through the Jobs proxy while the command runs") {
  machine m;
  auto rq = hf::detail::endpoint_request(*m.at.endpoint, "POST", "/v1/exec");
  rq.body = std::string(R"({"cmd":"echo first; head -n 1 > /dev/null < /tmp/gate; echo second",)"
                        R"("timeout":60})");
  REQUIRE(m.call("POST", "/v1/exec", R"({"cmd":"mkfifo /tmp/gate"})").status == 200);
  std::string seen;
  bool opened = false;
  hf::http::stream(m.transport, rq, [&](std::span<std::byte const> data) {
    seen += hf::http::as_text(data);
    // Only what arrives in time opens the gate for the rest.
    if (!opened && seen.find("first") != std::string::npos) {
      opened = true;
      (void)m.call("POST", "/v1/exec", R"({"cmd":"echo go > /tmp/gate"})");
    }
    return hf::http::flow::more;
  });
  CHECK(opened);
  CHECK(seen.find("second") != std::string::npos);
  CHECK(seen.find("\"exit_code\":0") != std::string::npos);
}

TEST_CASE("large bodies pass the Jobs proxy unchanged in both directions") {
  machine m;
  std::string data(20'000'000, '\0');
  for (std::size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<char>(i * i >> 7);
  CHECK(m.call("PUT", "/v1/files/write?path=/tmp/large", data).status == 200);
  auto const back = hf::http::fetch(
      m.transport,
      hf::detail::endpoint_request(*m.at.endpoint, "GET", "/v1/files/read?path=/tmp/large"),
      64u << 20);
  CHECK(back.status == 200);
  CHECK(back.body == data);
}
