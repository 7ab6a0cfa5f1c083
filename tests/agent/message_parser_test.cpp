#include "http/message_parser.hpp"

#include <boost/asio/buffer.hpp>
#include <catch2/catch_test_macros.hpp>

#include <array>
#include <string>
#include <string_view>

namespace {

/// Parses a whole request with a chunked body; returns the body.
std::string chunked_body_of(hf::agent::request_parser& parser, std::string_view text) {
  boost::beast::error_code ec;
  parser.eager(false);
  std::size_t at = 0;
  while (!parser.is_header_done()) {
    at += parser.put(boost::asio::buffer(text.substr(at)), ec);
    REQUIRE(!ec);
  }
  std::array<char, 256> out{};
  std::size_t consumed = 0;
  std::size_t produced = 0;
  REQUIRE(parser.decode(boost::asio::buffer(text.substr(at)), boost::asio::buffer(out), consumed,
                        produced));
  CHECK(at + consumed == text.size());
  return {out.data(), produced};
}

}  // namespace

TEST_CASE("fields behind a chunked body are taken and are no fields of the message") {
  hf::agent::request_parser parser;
  auto const body =
      chunked_body_of(parser,
                      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "2\r\nok\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n");
  CHECK(body == "ok");
  CHECK(parser.is_done());
  CHECK(parser.fields.size() == 2);
  for (auto const& [name, value] : parser.fields) {
    CHECK(name != "x-trailer");
    CHECK(value != "evil");
  }
}
