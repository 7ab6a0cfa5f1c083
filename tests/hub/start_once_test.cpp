#include "hub/scripted.hpp"
#include "support/fake_hub/setup.hpp"

#include <hf/sandbox/hub/start_once.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hub = hf::hub;
using hf::errc;
using hf::testing_support::scripted;

namespace {

std::string const job_text =
    R"({"id":"abc","labels":{"hf-sandbox-op":"op1"},"status":{"stage":"SCHEDULING"}})";

hub::jobs quick_api(int attempts = 4, int late_ms = 20) {
  hub::settings how;
  how.token = "hf_secret";
  how.endpoint = "https://hub.example";
  how.retries = {attempts, std::chrono::milliseconds(1), std::chrono::milliseconds(2),
                 std::chrono::milliseconds(1000), std::chrono::milliseconds(late_ms)};
  how.env = hf::testing_support::made_environment({});
  return hub::jobs(hub::client(how));
}

hub::job_request request_with_op() {
  hub::job_request job;
  job.command = {"true"};
  job.image = "x";
  job.labels = {{"hf-sandbox-op", "op1"}};
  return job;
}

[[noreturn]] void lose(errc code, bool reached) {
  hf::error_details details;
  details.may_have_reached_peer = reached;
  throw hf::error(code, "transport failure", details);
}

}  // namespace

TEST_CASE("a port that cannot be one is refused before anything is sent") {
  for (std::uint64_t const port : {std::uint64_t{0}, std::uint64_t{65536}, ~std::uint64_t{0}}) {
    scripted t{[](auto&) { return hf::http::response{200, {}, job_text}; }, {}};
    auto job = request_with_op();
    job.expose = {8000, port};
    try {
      (void)hub::start_once(quick_api(), t, "alice", job);
      FAIL("was accepted");
    } catch (hf::error const& e) {
      CHECK(e.code() == errc::invalid_argument);
    }
    CHECK(t.calls.empty());
  }
}

TEST_CASE("a job whose start was answered is started once") {
  scripted t{[](auto&) { return hf::http::response{200, {}, job_text}; }, {}};
  auto const started = hub::start_once(quick_api(), t, "alice", request_with_op());
  CHECK(started.job.id == "abc");
  CHECK_FALSE(started.ambiguous);
  CHECK(t.calls == std::vector<std::string>{"POST /api/jobs/alice"});
}

TEST_CASE("a start without an answer is looked for by its label and adopted") {
  for (auto const code : {errc::connection_lost, errc::request_timed_out}) {
    scripted t{[&](hf::http::request const& rq) -> hf::http::response {
                 if (rq.method == "POST")
                   lose(code, true);
                 return {200, {}, "[" + job_text + "]"};
               },
               {}};
    auto const started = hub::start_once(quick_api(), t, "alice", request_with_op());
    CHECK(started.job.id == "abc");
    CHECK(started.ambiguous);
    CHECK(t.count("POST") == 1);
    CHECK(t.calls.back() == "GET /api/jobs/alice?label=hf-sandbox-op%3Dop1");
  }
}

TEST_CASE("a start that failed with 5xx is looked for, and tried again when it is not there") {
  int posts = 0;
  scripted t{[&](hf::http::request const& rq) -> hf::http::response {
               if (rq.method == "POST")
                 return ++posts == 1 ? hf::http::response{500, {}, "{}"}
                                     : hf::http::response{200, {}, job_text};
               return {200, {}, "[]"};
             },
             {}};
  auto const started = hub::start_once(quick_api(), t, "alice", request_with_op());
  CHECK(started.job.id == "abc");
  CHECK(posts == 2);
  CHECK(t.count("GET") >= 1);
}

TEST_CASE("a start that never left is repeated without looking") {
  int posts = 0;
  scripted t{[&](hf::http::request const&) -> hf::http::response {
               if (++posts == 1)
                 lose(errc::connect_failed, false);
               return {200, {}, job_text};
             },
             {}};
  CHECK(hub::start_once(quick_api(), t, "alice", request_with_op()).job.id == "abc");
  CHECK(t.count("GET") == 0);
}

TEST_CASE("a rate-limited start waits as long as it is told") {
  int posts = 0;
  scripted t{[&](hf::http::request const&) -> hf::http::response {
               if (++posts == 1)
                 return {429, {{"Retry-After", "0.2"}}, "{}"};
               return {200, {}, job_text};
             },
             {}};
  auto const begin = std::chrono::steady_clock::now();
  CHECK(hub::start_once(quick_api(), t, "alice", request_with_op()).job.id == "abc");
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(200));
}

TEST_CASE("a refused start is not repeated") {
  struct expectation {
    int status;
    errc code;
  };
  for (auto const& [status, code] : std::vector<expectation>{{400, errc::invalid_argument},
                                                             {401, errc::unauthenticated},
                                                             {402, errc::quota_exceeded},
                                                             {403, errc::permission_denied},
                                                             {404, errc::not_found}}) {
    scripted t{[s = status](hf::http::request const&) -> hf::http::response {
                 return {s, {{"X-Request-Id", "rq-7"}}, R"({"error":"because hf_secret"})"};
               },
               {}};
    try {
      (void)hub::start_once(quick_api(), t, "alice", request_with_op());
      FAIL("no error");
    } catch (hf::error const& e) {
      CHECK(e.kind() == code);
      CHECK(e.hop() == hf::hop::hub);
      CHECK(e.request_id() == "rq-7");
      CHECK(std::string(e.what()).find("because ***") != std::string::npos);
      CHECK(std::string(e.what()).find("hf_secret") == std::string::npos);
    }
    CHECK(t.calls.size() == 1);
  }
}

TEST_CASE("when the Hub cannot be asked, the outcome is unknown and the label is named") {
  scripted t{
      [&](hf::http::request const&) -> hf::http::response { lose(errc::connection_lost, true); },
      {}};
  try {
    (void)hub::start_once(quick_api(2), t, "alice", request_with_op());
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::outcome_unknown);
    CHECK(std::string(e.what()).find("hf-sandbox-op=op1") != std::string::npos);
  }
  CHECK(t.count("POST") == 1);
}

TEST_CASE("a start that keeps failing leaves no job that shows up late") {
  int posts = 0;
  int lists_after_last = 0;
  int cancels = 0;
  scripted t{[&](hf::http::request const& rq) -> hf::http::response {
               if (rq.url.find("/cancel") != std::string::npos) {
                 ++cancels;
                 return {200, {}, "{}"};
               }
               if (rq.method == "POST") {
                 ++posts;
                 return {502, {}, ""};
               }
               // Listed only after the last try was given up: that looks 5 times at most.
               if (posts == 3)
                 ++lists_after_last;
               return {200, {}, lists_after_last == 8 ? "[" + job_text + "]" : "[]"};
             },
             {}};
  auto const api = quick_api(3, 2000);
  CHECK_THROWS_AS(hub::start_once(api, t, "alice", request_with_op()), hf::error);
  CHECK(posts == 3);
  CHECK(lists_after_last >= 8);
  CHECK(cancels == 1);
}

TEST_CASE("list follows all pages and never leaves the Hub's origin") {
  bool elsewhere = false;
  scripted t{[&](hf::http::request const& rq) -> hf::http::response {
               if (rq.url.find("cursor=1") != std::string::npos)
                 return {200, {}, R"([{"id":"b","status":{"stage":"RUNNING"}}])"};
               std::string const host = elsewhere ? "https://evil.example" : "https://hub.example";
               return {200,
                       {{"Link", "<" + host + "/api/jobs/alice?cursor=1>; rel=\"next\""}},
                       R"([{"id":"a","status":{"stage":"RUNNING"}},
                           {"id":"c","status":{"stage":"ERROR"}}])"};
             },
             {}};
  auto const found = quick_api().list(t, "alice", {"RUNNING"}, {});
  REQUIRE(found.size() == 2);
  CHECK(found[0].id == "a");
  CHECK(found[1].id == "b");
  elsewhere = true;
  t.calls.clear();
  CHECK_THROWS_AS(quick_api().list(t, "alice", {"RUNNING"}, {}), hf::error);
  CHECK(t.calls.size() == 1);
}

TEST_CASE("reads are repeated after transient failures and not after others") {
  int tries = 0;
  scripted t{[&](hf::http::request const&) -> hf::http::response {
               switch (++tries) {
                 case 1:
                   return {503, {}, ""};
                 case 2:
                   lose(errc::connection_lost, true);
                 default:
                   return {200, {}, job_text};
               }
             },
             {}};
  CHECK(quick_api().inspect(t, "alice", "abc").id == "abc");
  CHECK(tries == 3);
  t.answer = [&](hf::http::request const&) -> hf::http::response {
    ++tries;
    return {404, {}, ""};
  };
  tries = 0;
  CHECK_THROWS_AS(quick_api().inspect(t, "alice", "abc"), hf::error);
  CHECK(tries == 1);
}

TEST_CASE("the Hub's rate limit is waited for only once it is used up") {
  // Every answer names the window's rest; only 429 means that there is nothing left in it.
  for (int const status : {500, 429}) {
    int tries = 0;
    scripted t{[&](hf::http::request const&) -> hf::http::response {
                 if (++tries == 1)
                   return {status, {{"RateLimit", R"("rest=api";r=4999;t=0.3)"}}, "{}"};
                 return {200, {}, job_text};
               },
               {}};
    auto const begin = std::chrono::steady_clock::now();
    CHECK(quick_api().inspect(t, "alice", "abc").id == "abc");
    CHECK(tries == 2);
    if (status == 429)
      CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(300));
  }
  scripted t{[&](hf::http::request const&) -> hf::http::response {
               return {503, {{"RateLimit", R"("api";r=4999;t=280)"}}, "{}"};
             },
             {}};
  CHECK_THROWS_AS(quick_api(3).inspect(t, "alice", "abc"), hf::error);
  CHECK(t.calls.size() == 3);
}

TEST_CASE("a transport's failure on the way to the Hub says so, without the token") {
  scripted t{
      [&](hf::http::request const&) -> hf::http::response { lose(errc::connect_failed, false); },
      {}};
  try {
    (void)quick_api(2).inspect(t, "alice", "abc");
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::connect_failed);
    CHECK(e.hop() == hf::hop::hub);
    CHECK(std::string(e.what()).find("look at job abc") != std::string::npos);
  }
}

TEST_CASE("jobs are read with members that are null, absent, unknown or of another type") {
  scripted t{[&](hf::http::request const&) -> hf::http::response {
               return {200, {}, R"([{"id":"a","status":{"stage":"UPDATING","exposeUrls":null},
                         "labels":null,"environment":null,"command":null,"owner":null,"new":[1]},
                        {"id":"b","status":{"stage":"RUNNING","message":null},"environment":{"A":1},
                         "createdAt":7,"labels":{"x":"y","z":null}},
                        {"id":"c","status":{"stage":"SOMETHING_NEW"}}])"};
             },
             {}};
  auto const all = quick_api().list(t, "alice", {}, {});
  REQUIRE(all.size() == 3);
  CHECK(all[0].expose_urls.empty());
  CHECK(all[1].labels == std::map<std::string, std::string>{{"x", "y"}});
  CHECK_FALSE(all[2].ended());
  // UPDATING is a way of running.
  auto const running = quick_api().list(t, "alice", {"RUNNING", "SCHEDULING"}, {});
  REQUIRE(running.size() == 2);
  CHECK(running[0].id == "a");
  CHECK(running[0].running());
}

TEST_CASE("nothing is sent while HF_HUB_OFFLINE is on, or to an endpoint in clear") {
  scripted t{[&](hf::http::request const&) -> hf::http::response {
               return {200, {}, job_text};
             },
             {}};
  auto const kind_of = [&](hub::settings how) {
    how.token = "hf_secret";
    try {
      (void)hub::jobs(hub::client(how)).inspect(t, "alice", "abc");
    } catch (hf::error const& e) {
      return e.kind();
    }
    return errc::internal;
  };
  hub::settings offline;
  offline.env = hf::testing_support::made_environment({{"HF_HUB_OFFLINE", "1"}});
  CHECK(kind_of(offline) == errc::offline);
  // Also where nobody has logged in: being offline is the reason.
  try {
    offline.env =
        hf::testing_support::made_environment({{"HF_HUB_OFFLINE", "on"}, {"HOME", "/nonexistent"}});
    (void)hub::jobs(hub::client(offline)).inspect(t, "alice", "abc");
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::offline);
    CHECK(std::string(e.what()).find("HF_HUB_OFFLINE") != std::string::npos);
  }
  hub::settings clear;
  clear.endpoint = "http://hub.example";
  clear.env = hf::testing_support::made_environment({});
  CHECK(kind_of(clear) == errc::invalid_argument);
  CHECK(t.calls.empty());
}
