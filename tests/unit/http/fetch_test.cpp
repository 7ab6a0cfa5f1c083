#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/testing/scripted_transport.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using hf::testing::scripted_transport;

TEST_CASE("fetch returns the whole answer and refuses one above its limit") {
  scripted_transport through;
  through.expect("GET", "/").stream(200, {"abc", "def"}, {{"X-A", "1"}}).times(3);
  auto const r = hf::http::fetch(through, {.url = "http://h/"});
  CHECK(r.status == 200);
  CHECK(r.body == "abcdef");
  CHECK(r.fields.get("x-a") == "1");
  CHECK(hf::http::fetch(through, {.url = "http://h/"}, 6).body == "abcdef");
  try {
    (void)hf::http::fetch(through, {.url = "http://h/"}, 5);
    FAIL("the limit was not kept");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::too_large);
    CHECK(e.http_status() == 200);
  }
}

TEST_CASE("stream hands on the body of a success and keeps that of a failure") {
  scripted_transport through;
  through.expect("GET", "/good").stream(206, {"ab", "cd"});
  through.expect("GET", "/bad").reply(404, "no such file");
  through.expect("GET", "/huge").stream(500, {std::string(60'000, 'x'), std::string(60'000, 'y')});
  std::string got;
  auto const take = [&](auto data) {
    got += hf::http::as_text(data);
    return hf::http::flow::more;
  };
  auto const good = hf::http::stream(through, {.url = "http://h/good"}, take);
  CHECK(good.status == 206);
  CHECK(good.body.empty());
  CHECK(got == "abcd");
  auto const bad = hf::http::stream(through, {.url = "http://h/bad"}, take);
  CHECK(bad.status == 404);
  CHECK(bad.body == "no such file");
  CHECK(hf::http::stream(through, {.url = "http://h/huge"}, take).body.size() == 65'536);
  CHECK(got == "abcd");
  through.verify();
}
