#include "proxy/rewrite.hpp"
#include "support/agent_process.hpp"
#include "support/tcp_server.hpp"

#include <arpa/inet.h>
#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <mutex>
#include <string>
#include <thread>

using namespace hf::testing_support;

namespace {

std::string proxied(tcp_server const& server, std::string const& rest) {
  return "/v1/proxy/" + std::to_string(server.port()) + rest;
}

// Answers every request with its own head as the body.
void echo_head(tcp_peer& peer) {
  std::string const head = peer.receive_until("\r\n\r\n");
  peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " +
            std::to_string(head.size()) + "\r\n\r\n" + head);
}

bool has_line(std::string const& head, std::string const& line) {
  return head.find("\r\n" + line + "\r\n") != std::string::npos;
}

}  // namespace

TEST_CASE("a proxied request keeps its path, query and fields but not its credentials", "[proxy]") {
  agent_process agent;
  tcp_server server(echo_head);
  header_list const fields = {{"Authorization", "Bearer secret"},
                              {"X-Twice", "1"},
                              {"Cookie", "a=b"},
                              {"X-Twice", "2"},
                              {"Connection", "keep-alive, X-Hop"},
                              {"X-Hop", "dropped"},
                              {"Keep-Alive", "timeout=5"},
                              {"TE", "trailers"},
                              {"Proxy-Connection", "keep-alive"}};
  auto const answer = agent.request("GET", proxied(server, "//a%2Fb/c/?q=1&q=%zz+x"), {}, fields);
  REQUIRE(answer.status == 200);
  CHECK(answer.body.compare(0, 38, "GET //a%2Fb/c/?q=1&q=%zz+x HTTP/1.1\r\nh") == 0);
  auto const port = std::to_string(server.port());
  CHECK(has_line(answer.body, "host: localhost:" + port));
  CHECK(has_line(answer.body, "x-forwarded-host: agent"));
  CHECK(has_line(answer.body, "x-forwarded-proto: http"));
  CHECK(has_line(answer.body, "x-forwarded-prefix: /v1/proxy/" + port));
  CHECK(has_line(answer.body, "cookie: a=b"));
  CHECK(has_line(answer.body, "connection: close"));
  auto const first = answer.body.find("x-twice: 1");
  auto const second = answer.body.find("x-twice: 2");
  CHECK(first < second);
  CHECK(second != std::string::npos);
  for (std::string const gone : {"secret", agent.token().c_str(), "x-hop", "keep-alive",
                                 "te:", "proxy-connection", "content-length", "transfer-encoding"})
    CHECK(answer.body.find(gone) == std::string::npos);
  CHECK(agent.request("GET", proxied(server, "")).body.compare(0, 16, "GET / HTTP/1.1\r\n") == 0);
  CHECK(agent.request("OPTIONS", proxied(server, "?x")).body.compare(0, 12, "OPTIONS /?x ") == 0);
}

TEST_CASE("a proxied answer comes as the server gave it", "[proxy]") {
  agent_process agent;
  tcp_server server([](tcp_peer& peer) {
    peer.receive_until("\r\n\r\n");
    peer.send(
        "HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1\r\nX-Case: Kept\r\nSet-Cookie: b=2\r\n"
        "Connection: X-Hop\r\nX-Hop: 1\r\nX-Sandbox-Instance: forged\r\nContent-Length: 3\r\n"
        "\r\npot");
  });
  auto connection = agent.connect();
  for (int i = 0; i < 3; ++i) {
    connection.send_request("GET", proxied(server, "/"), agent.token());
    auto const answer = connection.read_answer();
    CHECK(answer.status == 418);
    CHECK(answer.reason == "I'm a teapot");
    CHECK(answer.body == "pot");
    CHECK(answer.count("set-cookie") == 2);
    CHECK(answer.header("set-cookie") == "a=1; Path=" + proxied(server, "/"));
    CHECK(answer.header("x-case") == "Kept");
    CHECK(answer.count("x-hop") == 0);
    CHECK(answer.count("x-sandbox-instance") == 1);
    CHECK(answer.header("x-sandbox-instance") != "forged");
  }
  CHECK(server.accepted() == 3);
}

TEST_CASE("what a caller and a server inside call the same place is translated", "[proxy]") {
  agent_process agent;
  tcp_server server(echo_head);
  auto const port = std::to_string(server.port());
  auto const kept = agent.request("GET", proxied(server, "/"), {},
                                  {{"X-Sandbox-Keep-Host", "1"},
                                   {"Origin", "http://agent"},
                                   {"X-Forwarded-Host", "outer.example"},
                                   {"X-Forwarded-Proto", "https"},
                                   {"X-Forwarded-Prefix", "/outer/"},
                                   {"X-Sandbox-Anything", "secret"},
                                   {"X-Sandbox-Forward-Authorization", "Bearer application"}});
  CHECK(has_line(kept.body, "host: agent"));
  CHECK(has_line(kept.body, "origin: http://agent"));
  CHECK(has_line(kept.body, "x-forwarded-host: outer.example"));
  CHECK(has_line(kept.body, "x-forwarded-proto: https"));
  CHECK(has_line(kept.body, "x-forwarded-prefix: /outer/v1/proxy/" + port));
  CHECK(has_line(kept.body, "authorization: Bearer application"));
  CHECK(kept.body.find("x-sandbox-") == std::string::npos);
  CHECK(has_line(agent.request("GET", proxied(server, "/"), {}, {{"Origin", "http://agent"}}).body,
                 "origin: http://localhost:" + port));

  tcp_server login([](tcp_peer& peer) {
    peer.receive_until("\r\n\r\n");
    peer.send(
        "HTTP/1.1 302 Found\r\nLocation: /home?a=b\r\nSet-Cookie: s=1; Path=/; HttpOnly\r\n"
        "Content-Length: 0\r\n\r\n");
  });
  auto const redirected = agent.request("GET", proxied(login, "/login"));
  CHECK(redirected.status == 302);
  CHECK(redirected.header("location") == proxied(login, "/home?a=b"));
  CHECK(redirected.header("set-cookie") == "s=1; HttpOnly; Path=" + proxied(login, "/"));
}

TEST_CASE("names of places are translated only where they mean the server inside", "[proxy]") {
  using namespace hf::agent;
  proxy_names const names{"/v1/proxy/8000", "agent:9", "far.example", "localhost:8000"};
  auto const location = [&](char const* text) { return location_outside(names, text); };
  CHECK(location("/x") == "/v1/proxy/8000/x");
  CHECK(location("/") == "/v1/proxy/8000/");
  CHECK(location("/v1/proxy/8000/x") == "/v1/proxy/8000/x");
  CHECK(location("/v1/proxy/80001") == "/v1/proxy/8000/v1/proxy/80001");
  CHECK(location("http://localhost:8000/x?y#z") == "/v1/proxy/8000/x?y#z");
  CHECK(location("http://127.0.0.1:8000") == "/v1/proxy/8000/");
  CHECK(location("http://[::1]:8000/x") == "/v1/proxy/8000/x");
  CHECK(location("http://LOCALHOST:8000?q") == "/v1/proxy/8000/?q");
  CHECK(location("http://agent:9/x") == "/v1/proxy/8000/x");
  CHECK(location("https://far.example/x") == "/v1/proxy/8000/x");
  CHECK(location("https://localhost:8000/x") == "/v1/proxy/8000/x");
  CHECK(location("//localhost:8000/x") == "/v1/proxy/8000/x");
  // Never another server.
  CHECK(location("http://localhost:8000//evil.example/x") == "/v1/proxy/8000//evil.example/x");
  for (char const* const elsewhere :
       {"x", "../x", "?x", "", "//other/x", "http://localhost:8001/x", "http://localhost/x",
        "ftp://localhost:8000/x", "http://example.org/x", "mailto:a@b", "/v1/proxy/8000?q"})
    CHECK(location(elsewhere) == elsewhere);
  auto const cookie = [&](char const* text) { return cookie_outside(names, text); };
  CHECK(cookie("a=b") == "a=b; Path=/v1/proxy/8000/");
  CHECK(cookie("a=b; path=/; Secure") == "a=b; Secure; Path=/v1/proxy/8000/");
  CHECK(cookie("a=b;Path=/x;Domain=localhost;Max-Age=1") == "a=b;Max-Age=1; Path=/v1/proxy/8000/x");
  CHECK(cookie("a=b; Domain=example.org; path=x") == "a=b; Path=/v1/proxy/8000/");
  CHECK(cookie("a=b; Path=//x") == "a=b; Path=/v1/proxy/8000//x");
  CHECK(cookie("a=b; Path=/v1/proxy/8000/x") == "a=b; Path=/v1/proxy/8000/x");
  CHECK(cookie("path=/; a") == "path=/; a; Path=/v1/proxy/8000/");
  CHECK(origin_inside(names, "http://agent:9") == "http://localhost:8000");
  CHECK(origin_inside(names, "https://agent:9") == "http://localhost:8000");
  CHECK(origin_inside(names, "http://other") == "http://other");
  CHECK(origin_inside(names, "null") == "null");
}

TEST_CASE("a server that listens on ::1 only is reached", "[proxy]") {
  agent_process agent;
  int const listening = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  socklen_t size = sizeof address;
  if (listening < 0 || ::bind(listening, reinterpret_cast<sockaddr*>(&address), size) != 0)
    SKIP("no IPv6 here");
  REQUIRE(::listen(listening, 8) == 0);
  REQUIRE(::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  std::thread server([&] {
    int const peer = ::accept(listening, nullptr, nullptr);
    std::string const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv6";
    static_cast<void>(::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL));
    ::close(peer);
  });
  auto const answer =
      agent.request("GET", "/v1/proxy/" + std::to_string(ntohs(address.sin6_port)) + "/");
  server.join();
  ::close(listening);
  CHECK(answer.body == "v6");
}

TEST_CASE("a reason phrase that some clients would break at is left out", "[proxy]") {
  agent_process agent;
  for (std::size_t const size : {256, 257, 60'000}) {
    tcp_server server([&](tcp_peer& peer) {
      peer.receive_until("\r\n\r\n");
      peer.send("HTTP/1.1 200 " + std::string(size, 'r') + "\r\nContent-Length: 2\r\n\r\nok");
    });
    auto const answer = agent.request("GET", proxied(server, "/"));
    CHECK(answer.status == 200);
    CHECK(answer.reason.size() == (size <= 256 ? size : 0));
    CHECK(answer.body == "ok");
  }
}

TEST_CASE("every request on a connection is authorised on its own", "[proxy]") {
  agent_process agent;
  tcp_server server(echo_head);
  auto connection = agent.connect();
  connection.send_request("GET", proxied(server, "/"), agent.token());
  CHECK(connection.read_answer().status == 200);
  connection.send_request("GET", proxied(server, "/"), "");
  CHECK(connection.read_answer().status == 403);
  connection.send_request("GET", proxied(server, "/"), "wrong");
  CHECK(connection.read_answer().status == 403);
  CHECK(server.accepted() == 1);
  connection.send_request("GET", proxied(server, "/"), agent.token());
  CHECK(connection.read_answer().status == 200);
}

TEST_CASE("answers without a body are passed on without one", "[proxy]") {
  agent_process agent;
  tcp_server server([](tcp_peer& peer) {
    std::string const head = peer.receive_until("\r\n\r\n");
    if (head.compare(0, 4, "HEAD") == 0)
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    else if (head.find("/204") != std::string::npos)
      peer.send("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nnever");
    else
      peer.send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
  });
  auto connection = agent.connect();
  connection.send_request("HEAD", proxied(server, "/"), agent.token());
  auto const head = connection.read_answer(true);
  CHECK(head.header("content-length") == "12345");
  connection.send_request("GET", proxied(server, "/204"), agent.token());
  auto const empty = connection.read_answer();
  CHECK(empty.status == 204);
  CHECK(empty.count("content-length") == 0);
  CHECK(empty.count("transfer-encoding") == 0);
  connection.send_request("GET", proxied(server, "/304"), agent.token());
  CHECK(connection.read_answer().header("etag") == "\"x\"");
  connection.send_request("GET", "/v1/info", agent.token());
  CHECK(connection.read_answer().status == 200);
}

TEST_CASE("request bodies of every kind reach the server", "[proxy]") {
  agent_process agent;
  tcp_server server([](tcp_peer& peer) {
    std::string const head = peer.receive_until("\r\n\r\n");
    std::string body;
    auto const at = head.find("content-length: ");
    if (at != std::string::npos) {
      body = peer.receive_exactly(std::stoul(head.substr(at + 16)));
    } else if (has_line(head, "transfer-encoding: chunked")) {
      for (;;) {
        std::string const line = peer.receive_until("\r\n");
        std::size_t const size = std::stoul(line, nullptr, 16);
        body += peer.receive_exactly(size);
        peer.receive_exactly(2);
        if (size == 0)
          break;
      }
    }
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
              body);
  });
  auto connection = agent.connect();
  for (std::size_t const size : {0u, 1u, 70000u, 5000000u}) {
    std::string const body(size, 'b');
    connection.send_request("POST", proxied(server, "/"), agent.token(), body);
    CHECK(connection.read_answer().body == body);
  }
  connection.send("PUT " + proxied(server, "/") + " HTTP/1.1\r\nX-Sandbox-Token: " + agent.token() +
                  "\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string whole;
  for (int i = 0; i < 100; ++i) {
    std::string const piece(1000, static_cast<char>('a' + i % 26));
    connection.send("3e8\r\n" + piece + "\r\n");
    whole += piece;
  }
  connection.send("0\r\n\r\n");
  CHECK(connection.read_answer().body == whole);
}

TEST_CASE("an event stream arrives event by event", "[proxy]") {
  agent_process agent;
  std::promise<void> seen;
  auto wait = seen.get_future().share();
  tcp_server server([wait](tcp_peer& peer) {
    std::string const head = peer.receive_until("\r\n\r\n");
    bool const chunked = head.find("/chunked") != std::string::npos;
    peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n");
    if (chunked)
      peer.send("Transfer-Encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n");
    else
      peer.send("\r\ndata: one\n\n");
    wait.wait();
    peer.send(chunked ? "b\r\ndata: two\n\n\r\n0\r\n\r\n" : "data: two\n\n");
  });
  auto chunked = agent.connect();
  auto until_close = agent.connect();
  chunked.send_request("GET", proxied(server, "/chunked"), agent.token());
  until_close.send_request("GET", proxied(server, "/close"), agent.token());
  for (auto* connection : {&chunked, &until_close}) {
    CHECK(connection->read_head().header("content-type") == "text/event-stream");
    CHECK(connection->read_body_line() == "data: one");
    CHECK(connection->read_body_line() == "");
  }
  seen.set_value();
  for (auto* connection : {&chunked, &until_close}) {
    CHECK(connection->read_body_line() == "data: two");
    CHECK(connection->read_body_line() == "");
    CHECK_FALSE(connection->read_body_line().has_value());
    connection->send_request("GET", "/v1/info", agent.token());
    CHECK(connection->read_answer().status == 200);
  }
}

TEST_CASE("a server may answer before it has read the body", "[proxy]") {
  agent_process agent;
  tcp_server server([](tcp_peer& peer) {
    peer.receive_until("\r\n\r\n");
    peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    peer.receive_until("never");
  });
  auto connection = agent.connect();
  connection.send("POST " + proxied(server, "/") + " HTTP/1.1\r\nX-Sandbox-Token: " +
                  agent.token() + "\r\nContent-Length: 50000000\r\n\r\nsome");
  auto const answer = connection.read_answer();
  CHECK(answer.status == 413);
  CHECK(answer.body == "no");
}

TEST_CASE("a WebSocket is carried both ways until both have ended", "[proxy]") {
  agent_process agent;
  tcp_server server([](tcp_peer& peer) {
    std::string const head = peer.receive_until("\r\n\r\n");
    if (!has_line(head, "upgrade: websocket") || !has_line(head, "connection: upgrade") ||
        !has_line(head, "sec-websocket-key: abc")) {
      peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: x\r\n\r\nhello first");
    for (;;) {
      std::string const piece = peer.receive();
      if (piece.empty())
        break;
      peer.send(piece);
    }
    peer.send("bye");
  });
  auto connection = agent.connect();
  connection.send("GET " + proxied(server, "/ws") +
                  " HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + agent.token() +
                  "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"
                  "too early");
  auto const head = connection.read_head();
  REQUIRE(head.status == 101);
  CHECK(head.header("upgrade") == "websocket");
  CHECK(head.header("sec-websocket-accept") == "x");
  CHECK(connection.read_exactly(11 + 9) == "hello firsttoo early");
  std::string const large(3000000, 'w');
  std::thread sender([&] { connection.send(large); });
  CHECK(connection.read_exactly(large.size()) == large);
  sender.join();
  connection.shutdown_write();
  CHECK(connection.read_to_end() == "bye");
}

TEST_CASE("a refused upgrade is an ordinary answer", "[proxy]") {
  agent_process agent;
  tcp_server server([](tcp_peer& peer) {
    peer.receive_until("\r\n\r\n");
    peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope");
  });
  auto connection = agent.connect();
  connection.send_request("GET", proxied(server, "/ws"), agent.token(), {},
                          {{"Connection", "Upgrade"}, {"Upgrade", "websocket"}});
  auto const answer = connection.read_answer();
  CHECK(answer.status == 403);
  CHECK(answer.body == "nope");
  connection.send_request("GET", "/v1/info", agent.token());
  CHECK(connection.read_answer().status == 200);
}

TEST_CASE("a port where nobody listens is 502, a bad port 404", "[proxy]") {
  agent_process agent;
  int free_port = 0;
  {
    free_port = tcp_server([](tcp_peer&) {}).port();
  }
  auto const answer = agent.request("GET", "/v1/proxy/" + std::to_string(free_port) + "/");
  CHECK(answer.status == 502);
  CHECK(answer.json()["code"] == "connect_failed");
  CHECK(answer.json()["error"] == "cannot reach port " + std::to_string(free_port) +
                                      " in sandbox: Connection refused (os error 111)");
  for (std::string const target :
       {"/v1/proxy", "/v1/proxy/", "/v1/proxy/0/", "/v1/proxy/65536/", "/v1/proxy/x/",
        "/v1/proxy/-1/", "/v1/proxy/80a/", "/v1/proxy/%38080/", "/v1/proxy/00000080/"}) {
    INFO(target);
    auto const refused = agent.request("GET", target);
    CHECK(refused.status == 404);
    CHECK(refused.json()["error"] ==
          "proxy target must be /proxy/<port>/<path>, with port in 1-65535");
  }
}

TEST_CASE("what is not HTTP is 502, a broken answer a broken connection", "[proxy]") {
  agent_process agent;
  for (std::string const nonsense :
       {"", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n",
        "HTTP/1.1 99 x\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"}) {
    tcp_server server([&](tcp_peer& peer) {
      peer.receive_until("\r\n\r\n");
      peer.send(nonsense);
    });
    auto const answer = agent.request("GET", proxied(server, "/"));
    CHECK(answer.status == 502);
    CHECK(answer.json()["code"] == "protocol_error");
  }
  for (std::string const cut :
       {"Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"}) {
    tcp_server server([&](tcp_peer& peer) {
      peer.receive_until("\r\n\r\n");
      peer.send("HTTP/1.1 200 OK\r\n" + cut);
    });
    auto connection = agent.connect();
    connection.send_request("GET", proxied(server, "/"), agent.token());
    CHECK(connection.read_head().status == 200);
    CHECK_THROWS([&] {
      while (connection.read_chunk()) {
      }
    }());
  }
}

TEST_CASE("the server inside learns that its caller is gone", "[proxy]") {
  agent_process agent;
  std::promise<bool> noticed;
  tcp_server server([&](tcp_peer& peer) {
    peer.receive_until("\r\n\r\n");
    noticed.set_value(peer.receive().empty());
  });
  {
    auto connection = agent.connect();
    connection.send_request("GET", proxied(server, "/"), agent.token());
    while (server.accepted() == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  auto result = noticed.get_future();
  REQUIRE(result.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  CHECK(result.get());
}

TEST_CASE("an open tunnel keeps the agent from being idle", "[proxy][life]") {
  agent_options options;
  options.env["SBX_IDLE_TIMEOUT"] = "1";
  agent_process agent(options);
  tcp_server server([](tcp_peer& peer) {
    peer.receive_until("\r\n\r\n");
    peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
    for (std::string piece = peer.receive(); !piece.empty(); piece = peer.receive())
      peer.send(piece);
  });
  auto connection = agent.connect();
  connection.send_request("GET", proxied(server, "/"), agent.token(), {},
                          {{"Connection", "Upgrade"}, {"Upgrade", "x"}});
  REQUIRE(connection.read_head().status == 101);
  REQUIRE_FALSE(agent.wait_exit(std::chrono::milliseconds(2500)).has_value());
  connection.send("still here");
  CHECK(connection.read_exactly(10) == "still here");
  connection.close();
  auto const status = agent.wait_exit(std::chrono::seconds(20));
  REQUIRE(status.has_value());
  CHECK(WIFEXITED(*status));
  CHECK(WEXITSTATUS(*status) == 0);
}
