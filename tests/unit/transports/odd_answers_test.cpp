// In the single header `answer_reader` belongs to the part for cpp-httplib, which this suite leaves out.
#if !defined(HF_SANDBOX_TESTING_SINGLE_HEADER)

#include <hf/sandbox/detail/answer_reader.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/transports/curl.hpp>
#if defined(HF_SANDBOX_HAS_BEAST)
#include <hf/sandbox/transports/beast.hpp>
#endif
#if defined(HF_SANDBOX_HAS_HTTPLIB)
#include <hf/sandbox/transports/httplib.hpp>
#endif

#include "conformance/transport/suite/raw_server.hpp"
#include "support/odd_answers.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace {

using hf::detail::answer_reader;

struct verdict {
  /// "answer", or the name of an error's code.
  std::string kind = {};
  hf::http::response answer = {};
};

/// What the rules say of these bytes, when the connection ends behind them.
verdict by_the_rules(std::string_view bytes) {
  answer_reader reader(false);
  std::string body;
  std::string_view piece;
  while (true) {
    switch (reader.next(bytes, piece)) {
      case answer_reader::event::head:
        continue;
      case answer_reader::event::data:
        body += piece;
        continue;
      case answer_reader::event::malformed:
        return {.kind = "protocol_error"};
      case answer_reader::event::need_more:
        if (!reader.at_end())
          return {.kind = "connection_lost"};
        break;
      case answer_reader::event::done:
        break;
    }
    return {"answer", {reader.head().status, reader.head().fields, body}};
  }
}

template <class Transport>
verdict fetched(std::string const& url) {
  Transport transport;
  hf::http::request rq{.url = url};
  rq.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  try {
    return {"answer", hf::http::fetch(transport, rq)};
  } catch (hf::error const& e) {
    if (e.kind() == hf::errc::protocol_error)
      return {.kind = "protocol_error"};
    if (e.kind() == hf::errc::connection_lost)
      return {.kind = "connection_lost"};
    return {.kind = std::string("other error: ") + e.what()};
  } catch (std::exception const& e) {
    return {.kind = std::string("not an hf::error: ") + e.what()};
  }
}

std::string readable(std::string_view bytes) {
  std::string out;
  for (char const c : bytes.substr(0, 300)) {
    if (c == '\r')
      out += "\\r";
    else if (c == '\n')
      out += "\\n";
    else if (c < ' ' || c == 0x7f)
      out += "\\x" + std::to_string(static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + (bytes.size() > 300 ? "..." : "");
}

/// Fields by name and value: the order between different names is not part of the rules.
std::vector<std::string> sorted(hf::http::headers const& fields) {
  std::vector<std::string> out;
  for (auto const& field : fields)
    out.push_back(field.name + ": " + field.value);
  std::sort(out.begin(), out.end());
  return out;
}

/// Serves each answer once to a transport. An answer of the rules has to arrive as it is; what is no
/// answer has to be one of the two errors. `free` tells where the rules leave the choice.
template <class Transport, class Free>
void check_all(Free free) {
  auto const answers = hf::tests::odd_answers(20'24).make(500);
  hf::conformance::raw_server server([&](hf::conformance::raw_connection& c) {
    if (auto const request = c.read_request()) {
      c.write(answers[std::strtoul(request->target.c_str() + 1, nullptr, 10)]);
      c.finish();
      c.wait_closed();
    }
  });
  int whole = 0;
  int failed = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    auto const expected = by_the_rules(answers[i]);
    auto const got = fetched<Transport>(server.url("/" + std::to_string(i)));
    CAPTURE(i, readable(answers[i]), expected.kind, got.kind);
    bool const one_error = got.kind == "protocol_error" || got.kind == "connection_lost";
    if (free(answers[i])) {
      CHECK((one_error || got.kind == "answer"));
    } else if (expected.kind == "answer") {
      ++whole;
      CHECK(got.kind == "answer");
      CHECK(got.answer.status == expected.answer.status);
      CHECK(got.answer.body == expected.answer.body);
      CHECK(sorted(got.answer.fields) == sorted(expected.answer.fields));
    } else {
      ++failed;
      CHECK(one_error);
    }
  }
  CHECK(whole > 100);
  CHECK(failed > 100);
}

}  // namespace

/// libcurl reads the digits that begin a chunk's line and skips the rest, of any length.
TEST_CASE("odd answers over curl end as the rules say") {
  check_all<hf::curl_transport>([](std::string const& answer) {
    return answer.find("chunked") != std::string::npos &&
           by_the_rules(answer).kind == "protocol_error";
  });
}
#if defined(HF_SANDBOX_HAS_BEAST)
/// Beast wants CR LF at a line's end, and has limits of its own for what stands behind chunks.
TEST_CASE("odd answers over beast end as the rules say") {
  check_all<hf::beast_transport>([](std::string const& answer) {
    for (auto at = answer.find('\n'); at != std::string::npos; at = answer.find('\n', at + 1))
      if (at == 0 || answer[at - 1] != '\r')
        return true;
    return answer.find(";eee") != std::string::npos;
  });
}
#endif
#if defined(HF_SANDBOX_HAS_HTTPLIB)
TEST_CASE("odd answers over httplib end as the rules say") {
  check_all<hf::httplib_transport>([](std::string const&) { return false; });
}
#endif

#endif
