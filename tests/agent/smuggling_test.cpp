#include "support/agent_process.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace hf::testing_support;

namespace {

struct bad_request {
  std::string name;
  std::string text;
  int status = 400;
};

std::vector<bad_request> corpus(std::string const& token) {
  std::string const start =
      "POST /v1/nowhere HTTP/1.1\r\nHost: a\r\nX-Sandbox-Token: " + token + "\r\n";
  std::string const hidden = "GET /v1/info HTTP/1.1\r\nX-Sandbox-Token: " + token + "\r\n\r\n";
  std::string const nul(1, '\0');
  std::string many;
  for (int i = 0; i < 101; ++i)
    many += "X-" + std::to_string(i) + ": y\r\n";
  return {
      {"both length and chunked",
       start + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"chunked, then length",
       start + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden},
      {"two lengths", start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + hidden},
      {"the same length twice",
       start + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + hidden},
      {"a list of lengths", start + "Content-Length: 5, 5\r\n\r\nhello" + hidden},
      {"a signed length", start + "Content-Length: +5\r\n\r\nhello" + hidden},
      {"a negative length", start + "Content-Length: -1\r\n\r\n" + hidden},
      {"a length in hexadecimal", start + "Content-Length: 0x5\r\n\r\nhello" + hidden},
      {"an empty length", start + "Content-Length: \r\n\r\n" + hidden},
      {"a length with a space in it", start + "Content-Length: 1 0\r\n\r\n" + hidden},
      {"a length beyond 64 bits",
       start + "Content-Length: 18446744073709551621\r\n\r\nhello" + hidden},
      {"an unknown coding", start + "Transfer-Encoding: gzip\r\n\r\n" + hidden},
      {"chunked within other codings",
       start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"chunked twice",
       start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
           hidden},
      {"a disguised coding", start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden},
      {"chunked with a vertical tab", start +
                                          "Transfer-Encoding: \x0b"
                                          "chunked\r\n\r\n0\r\n\r\n" +
                                          hidden},
      {"chunked in HTTP/1.0",
       "POST /v1/nowhere HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden},
      {"a space before the colon", start + "Content-Length : 5\r\n\r\nhello" + hidden},
      {"a tab before the colon", start + "Content-Length\t: 5\r\n\r\nhello" + hidden},
      {"a folded line", start + "X: y\r\n Content-Length: 5\r\n\r\nhello"},
      {"a folded line with a tab", start + "X: y\r\n\tz\r\n\r\n"},
      {"a field without a colon", start + "Nonsense\r\n\r\n"},
      {"a field without a name", start + ": x\r\n\r\n"},
      {"a name with a space", start + "X Y: z\r\n\r\n"},
      {"a name in brackets", start + "X[]: z\r\n\r\n"},
      {"lines that end in LF alone", "GET /health HTTP/1.1\nHost: a\n\n"},
      {"one line that ends in LF alone", "GET /health HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"},
      {"an empty line of LF alone", "GET /health HTTP/1.1\r\nHost: a\r\n\n"},
      {"a CR within a value", start + "X: a\rb\r\n\r\n"},
      {"a NUL within a value", start + "X: a" + nul + "b\r\n\r\n"},
      {"a NUL within a name", start + "X" + nul + ": b\r\n\r\n"},
      {"a NUL within the target", "GET /hea" + nul + "lth HTTP/1.1\r\n\r\n"},
      {"a NUL before any line end", "GET /health" + nul},
      {"a control byte in a value", start + "X: a\x01"
                                            "b\r\n\r\n"},
      {"a byte that is not ASCII", start + "X: \xc3\xa4\r\n\r\n"},
      {"a target that is not ASCII", "GET /\xc3\xa4 HTTP/1.1\r\n\r\n"},
      {"no version", "GET /health\r\n\r\n"},
      {"an old version", "GET /health HTTP/0.9\r\n\r\n"},
      {"a version to come", "GET /health HTTP/2.0\r\n\r\n"},
      {"a version out of range", "GET /health HTTP/1.2\r\n\r\n"},
      {"a version in small letters", "GET /health http/1.1\r\n\r\n"},
      {"two spaces", "GET  /health HTTP/1.1\r\n\r\n"},
      {"a space at the end", "GET /health HTTP/1.1 \r\n\r\n"},
      {"a tab for a space", "GET\t/health HTTP/1.1\r\n\r\n"},
      {"a method with a digit", "GET1 /health HTTP/1.1\r\n\r\n"},
      {"a method with a bracket", "G(T /health HTTP/1.1\r\n\r\n"},
      {"a space in front", " GET /health HTTP/1.1\r\n\r\n"},
      {"two empty lines in front", "\r\n\r\nGET /health HTTP/1.1\r\n\r\n"},
      {"two hosts", "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
      {"two tokens", start + "X-Sandbox-Token: other\r\n\r\n"},
      {"an unknown expectation", start + "Expect: miracles\r\nContent-Length: 0\r\n\r\n"},
      {"a cut percent-encoding", "GET /v1/info?path=%4 HTTP/1.1\r\n\r\n"},
      {"a wrong percent-encoding", "GET /v1/info?path=%zz HTTP/1.1\r\n\r\n"},
      {"a wrong percent-encoding in the path", "GET /v1/%zz HTTP/1.1\r\n\r\n"},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)},
      {"too many fields", "GET /health HTTP/1.1\r\n" + many + "\r\n", 431},
      {"too long a field", "GET /health HTTP/1.1\r\nX: " + std::string(70000, 'y') + "\r\n\r\n",
       431},
      {"too long a head that does not end", "GET /health HTTP/1.1\r\nX: " + std::string(66000, 'y'),
       431},
      {"too long a target", "GET /" + std::string(70000, 'y') + " HTTP/1.1\r\n\r\n", 431},
  };
}

}  // namespace

TEST_CASE("ambiguous and malformed requests are refused, and the next caller is served",
          "[http][smuggling]") {
  agent_process agent;
  for (auto const& bad : corpus(agent.token())) {
    INFO(bad.name);
    auto connection = agent.connect();
    try {
      connection.send(bad.text);
    } catch (std::runtime_error const&) {
      // Refused before everything was sent.
    }
    auto const answer = connection.read_answer();
    CHECK(answer.status == bad.status);
    CHECK(answer.header("connection") == "close");
    CHECK(answer.json()["error"].is_string());
    CHECK(answer.header("x-sandbox-instance").empty());
    // Nothing that was hidden behind it is answered.
    CHECK(connection.read_to_end().empty());
    auto next = agent.connect();
    next.send_request("GET", "/v1/info", agent.token());
    CHECK(next.read_answer().status == 200);
  }
  CHECK(agent.log().find("request refused: 400") != std::string::npos);
  CHECK(agent.log().find(agent.token()) == std::string::npos);
}

TEST_CASE("a malformed chunked body is refused and ends the connection", "[http][smuggling]") {
  agent_process agent;
  for (std::string const body : {"zz\r\nabc\r\n0\r\n\r\n", "3\r\nabcX\r\n0\r\n\r\n",
                                 "3\nabc\n0\n\n", "-1\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n",
                                 "fffffffffffffffff\r\nabc\r\n", "3 \r\nab", "3\r\nabc0\r\n\r\n"}) {
    INFO(body);
    auto connection = agent.connect();
    connection.send("PUT /v1/files/write?path=" + agent.directory() +
                    "/chunked HTTP/1.1\r\nX-Sandbox-Token: " + agent.token() +
                    "\r\nTransfer-Encoding: chunked\r\n\r\n" + body);
    connection.shutdown_write();
    try {
      auto const answer = connection.read_answer();
      CHECK(answer.status == 400);
      CHECK(connection.read_to_end().empty());
    } catch (std::runtime_error const&) {
      // Cut off where the caller's own end came before the mistake was certain.
    }
    CHECK(agent.request("GET", "/v1/files/stat?path=" + agent.directory() + "/chunked").status ==
          404);
  }
}

TEST_CASE("a connection that ends within a head leaves nothing behind", "[http][smuggling]") {
  agent_process agent;
  for (std::string const part : {"G", "GET /health HTTP/1.1", "GET /health HTTP/1.1\r\n",
                                 "GET /health HTTP/1.1\r\nX: y\r\n", "\r", "\r\n"}) {
    auto connection = agent.connect();
    connection.send(part);
    connection.shutdown_write();
    std::string const all = connection.read_to_end();
    CHECK((all.empty() || all.compare(0, 12, "HTTP/1.1 400") == 0));
    CHECK(agent.request("GET", "/v1/info").status == 200);
  }
}
