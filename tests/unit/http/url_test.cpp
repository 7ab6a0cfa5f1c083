#include <hf/sandbox/http/url.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace hf::http;

TEST_CASE("a URL is split into what a transport needs") {
  auto const u = parse_url("HTTPS://Machine.Example:8443/a/../b?x=%20#part");
  CHECK(u.scheme == "https");
  CHECK(u.tls());
  CHECK(u.host == "machine.example");
  CHECK(u.port == 8443);
  CHECK(u.target == "/a/../b?x=%20");
  CHECK(u.authority() == "machine.example:8443");
  CHECK(u.origin() == "https://machine.example:8443");
}

TEST_CASE("ports and paths that a URL leaves out have their defaults") {
  CHECK(parse_url("http://h").port == 80);
  CHECK(parse_url("https://h").port == 443);
  CHECK(parse_url("http://h").target == "/");
  CHECK(parse_url("http://h?q").target == "/?q");
  CHECK(parse_url("http://h:80/").authority() == "h");
  CHECK(parse_url("http://h:443/").authority() == "h:443");
  CHECK(parse_url("https://h:443/").authority() == "h");
}

TEST_CASE("IPv6 addresses lose their brackets and get them back") {
  auto const u = parse_url("http://[::1]:81/x");
  CHECK(u.host == "::1");
  CHECK(u.port == 81);
  CHECK(u.authority() == "[::1]:81");
}

TEST_CASE("what is no http URL is refused") {
  for (std::string const bad : {"",
                                "h",
                                "/x",
                                "ftp://h/",
                                "http://",
                                "http:///x",
                                "http://:1/",
                                "http://h:x/",
                                "http://h:0/",
                                "http://h:65536/",
                                "http://h:1:2/",
                                "http://u@h/",
                                "http://[::1",
                                "http://[zz]/",
                                "http://[::1]x/",
                                "http://a b/",
                                "http://h/a b",
                                "http://h/\xC3\xA9",
                                "http://h/\r\nX: y",
                                "http://h<>/"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(parse_url(bad), hf::error);
  }
  CHECK_THROWS_AS(parse_url(std::string("http://h/\0", 10)), hf::error);
}

TEST_CASE("any bytes survive percent-encoding") {
  std::string bytes;
  for (int i = 0; i < 256; ++i)
    bytes += static_cast<char>(i);
  auto const encoded = encode_component(bytes);
  CHECK(encoded.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-._~%") == std::string::npos);
  CHECK(decode_component(encoded) == bytes);
  CHECK(encode_path("/a b/\xE2\x82\xAC") == "/a%20b/%E2%82%AC");
  CHECK(encode_component("a/b") == "a%2Fb");
  CHECK(encode_query({{"path", "/a b"}, {"n", "1&2"}}) == "?path=%2Fa%20b&n=1%262");
  CHECK(encode_query({}).empty());
  for (std::string const bad : {"%", "%4", "%zz", "a%2"})
    CHECK_THROWS_AS(decode_component(bad), hf::error);
}

TEST_CASE("the loopback interface is recognised by name and by address") {
  for (std::string const yes : {"localhost", "LOCALHOST", "a.localhost", "a.b.localhost.",
                                "127.0.0.1", "127.255.3.4", "::1"})
    CHECK(is_loopback_host(yes));
  for (std::string const no :
       {"", "xlocalhost", "localhost.example", "128.0.0.1", "127.0.0.1.com", "127.1", "::2"})
    CHECK_FALSE(is_loopback_host(no));
}
