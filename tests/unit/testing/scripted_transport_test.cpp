#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/testing/scripted_transport.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using hf::errc;
using hf::testing::scripted_transport;

namespace {

hf::error failure(scripted_transport& through, hf::http::request const& rq) {
  try {
    (void)hf::http::fetch(through, rq);
  } catch (hf::error const& e) {
    return e;
  }
  FAIL("the call did not fail");
  throw;
}

}  // namespace

TEST_CASE("requests are answered by method and path, in any order") {
  scripted_transport through;
  through.expect("GET", "/a").reply(200, "first", {{"X-K", "v"}});
  through.expect("POST", "/files/*").reply(201);
  through.expect("GET", "/q?x=1").reply(200, "query");
  through.expect("*", "https://other.test/*").reply(200, "elsewhere");
  CHECK(hf::http::fetch(through, {.url = "https://other.test/z"}).body == "elsewhere");
  CHECK(hf::http::fetch(through, {.url = "http://h/q?x=1"}).body == "query");
  auto copy = through;
  CHECK(hf::http::fetch(copy, {.method = "POST", .url = "http://h/files/a/b", .body = "data"})
            .status == 201);
  auto const r = hf::http::fetch(through, {.url = "http://h/a?any=query"});
  CHECK(r.body == "first");
  CHECK(r.fields.get("x-k") == "v");
  CHECK_NOTHROW(through.verify());
  REQUIRE(through.requests().size() == 4);
  CHECK(through.requests()[2].body == "data");
  CHECK(through.requests()[3].path == "/a");
  CHECK(through.requests()[3].query == "any=query");
}

TEST_CASE("an unexpected request and an unmet expectation are reported readably") {
  scripted_transport through;
  through.expect("GET", "/a").times(2);
  (void)hf::http::fetch(through, {.url = "http://h/a"});
  auto const e = failure(through, {.method = "PUT", .url = "http://h/b"});
  CHECK(e.kind() == errc::internal);
  CHECK(std::string(e.what()) == "unexpected request: PUT http://h/b (expected: GET /a)");
  CHECK(through.report() ==
        "unexpected request: PUT http://h/b (expected: GET /a)\n"
        "expected but not received: GET /a (1 of 2)\n");
  CHECK_THROWS_AS(through.verify(), std::logic_error);
}

TEST_CASE("the order counts only when asked for") {
  scripted_transport through;
  through.in_order();
  through.expect("GET", "/1");
  through.expect("GET", "/2");
  CHECK(failure(through, {.url = "http://h/2"}).kind() == errc::internal);
  CHECK(hf::http::fetch(through, {.url = "http://h/1"}).status == 200);
  CHECK(hf::http::fetch(through, {.url = "http://h/2"}).status == 200);
}

TEST_CASE("a script fails where it says") {
  scripted_transport through;
  through.expect("GET", "/refused").fail(errc::connect_failed, "no route");
  through.expect("GET", "/cut").reply(200, "abcdef").fail_after(4, errc::connection_lost);
  auto const refused = failure(through, {.url = "http://h/refused"});
  CHECK(refused.kind() == errc::connect_failed);
  CHECK_FALSE(refused.may_have_reached_peer());
  std::string got;
  try {
    hf::http::stream(through, {.url = "http://h/cut"}, [&](auto data) {
      got += hf::http::as_text(data);
      return hf::http::flow::more;
    });
    FAIL("the connection was not cut");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::connection_lost);
    CHECK(e.may_have_reached_peer());
  }
  CHECK(got == "abcd");
}

TEST_CASE("answers can be made from the request, and expectations look at it") {
  scripted_transport through;
  through.expect("GET", "/").with_header("X-T", "1").reply(200, "one").any_number_of_times();
  through.expect("GET", "/").reply_with([](hf::testing::seen_request const& rq) {
    return hf::http::response{200, {}, "made for " + rq.url};
  });
  CHECK(hf::http::fetch(through, {.url = "http://h/"}).body == "made for http://h/");
  CHECK(hf::http::fetch(through, {.url = "http://h/", .fields = {{"X-T", "1"}}}).body == "one");
  through.verify();
}

TEST_CASE("waiting keeps the request's limits and its stop token") {
  scripted_transport through;
  through.expect("GET", "/").wait(60s).any_number_of_times();
  CHECK(failure(through, {.url = "http://h/", .stall_timeout = 10ms}).kind() ==
        errc::request_timed_out);
  CHECK(failure(through, {.url = "http://h/", .deadline = std::chrono::steady_clock::now() + 10ms})
            .kind() == errc::request_timed_out);
  std::stop_source stop;
  std::thread canceller([&] { stop.request_stop(); });
  CHECK(failure(through, {.url = "http://h/", .stop = stop.get_token()}).kind() == errc::cancelled);
  canceller.join();
}

TEST_CASE("what no transport may send is refused here as well") {
  scripted_transport through;
  through.expect("*", "*").any_number_of_times();
  CHECK(failure(through, {.url = "http://h/", .fields = {{"X", "a\r\nb"}}}).kind() ==
        errc::invalid_argument);
  CHECK(failure(through, {.url = "nonsense"}).kind() == errc::invalid_argument);
}
