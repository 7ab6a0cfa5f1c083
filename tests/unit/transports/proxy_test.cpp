#include <hf/sandbox/detail/proxy.hpp>
#include <hf/sandbox/detail/proxy_address.hpp>
#include <hf/sandbox/http/url.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace hf::detail;

TEST_CASE("no_proxy covers names, everything below them, addresses and networks") {
  CHECK(no_proxy_matches("*", "anything"));
  CHECK(no_proxy_matches("a.test,b.test", "b.test"));
  CHECK(no_proxy_matches("a.test b.test", "x.b.test"));
  CHECK(no_proxy_matches(".b.test", "b.test"));
  CHECK(no_proxy_matches("B.TEST", "x.b.test."));
  CHECK(no_proxy_matches("10.0.0.0/8", "10.200.3.4"));
  CHECK(no_proxy_matches("10.1.2.3", "10.1.2.3"));
  CHECK(no_proxy_matches("[2001:db8::1]", "2001:db8::1"));
  CHECK_FALSE(no_proxy_matches("", "a.test"));
  CHECK_FALSE(no_proxy_matches("b.test", "ab.test"));
  CHECK_FALSE(no_proxy_matches("b.test", "b.test.example"));
  CHECK_FALSE(no_proxy_matches("10.0.0.0/8", "11.0.0.1"));
  CHECK_FALSE(no_proxy_matches("10.0.0.0/99", "10.0.0.1"));
  CHECK_FALSE(no_proxy_matches("10.0.0.0/8x", "10.0.0.1"));
  CHECK_FALSE(no_proxy_matches("10.0.0.0/", "10.0.0.1"));
  CHECK_FALSE(no_proxy_matches("10.0.0.0x/8", "10.0.0.1"));
  CHECK_FALSE(no_proxy_matches("10.0.0.0/8", "10.example"));
}

TEST_CASE("a configured proxy comes before the environment's, and loopback before both") {
  auto const far = hf::http::parse_url("http://machine.test/");
  CHECK(proxy_for(far, "http://p:1") == "http://p:1");
  CHECK(proxy_for(far, "").empty());
  CHECK(proxy_for(hf::http::parse_url("http://a.localhost/"), "http://p:1").empty());
  CHECK(proxy_for(hf::http::parse_url("http://127.0.0.1/"), "http://p:1").empty());
}

// In the single header this belongs to the transports that are opted into.
#if !defined(HF_SANDBOX_TESTING_SINGLE_HEADER)
TEST_CASE("a proxy's URL is split") {
  auto const p = parse_proxy("http://us%40er:pa%3Ass@proxy.test:3128/");
  CHECK(p.host == "proxy.test");
  CHECK(p.port == 3128);
  CHECK(p.user == "us@er");
  CHECK(p.password == "pa:ss");
  CHECK(p.authorization() == "Basic dXNAZXI6cGE6c3M=");
  CHECK(parse_proxy("proxy.test").port == 1080);
  CHECK(parse_proxy("[::1]:80").host == "::1");
  CHECK_FALSE(parse_proxy("").present());
  CHECK_THROWS_AS(parse_proxy("socks5://proxy.test"), hf::error);
}
#endif
