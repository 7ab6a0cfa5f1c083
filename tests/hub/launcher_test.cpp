#include "hub/scripted.hpp"
#include "support/fake_hub/setup.hpp"
#include "support/kind_of.hpp"

#include <hf/sandbox/launchers/hf_jobs.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using hf::errc;
using hf::hop;
using hf::testing_support::kind_of;
using hf::testing_support::made_environment;
using hf::testing_support::scripted;

namespace {

constexpr char known_nonce[] = "00112233445566778899aabbccddeeff";

hf::hf_jobs_options quick_launcher_options() {
  hf::hf_jobs_options options;
  options.token = "hf_key";
  options.endpoint = "https://hub.example";
  options.telemetry = false;
  options.retries.first = 1ms;
  options.retries.longest = 2ms;
  options.retries.late = 20ms;
  options.env = made_environment({});
  return options;
}

/// A dedicated sandbox's job whose agent is listed at this URL.
std::string sandbox_job_text(std::string const& id, std::string const& stage,
                             std::string const& url) {
  return nlohmann::json{
      {"id", id},
      {"labels",
       {{"hf-sandbox", "1"}, {"hf-sandbox-mode", "dedicated"}, {"hf-sandbox-nonce", known_nonce}}},
      {"status", {{"stage", stage}, {"exposeUrls", {url}}}}}
      .dump();
}

bool asks_for(hf::http::request const& request, char const* method, char const* end) {
  return request.method == method && request.url.ends_with(end);
}

}  // namespace

TEST_CASE("one job with a strange URL spoils neither the list nor the others' tokens") {
  auto const good = sandbox_job_text("aaa", "RUNNING", "https://aaa--49983.hf.jobs");
  auto const bad = sandbox_job_text("bbb", "RUNNING", "http://bbb--49983.hf.jobs");
  scripted t{[&](hf::http::request const& request) -> hf::http::response {
               if (request.url.find("/jobs/acme/bbb") != std::string::npos)
                 return {200, {}, bad};
               return {200, {}, "[" + bad + "," + good + "]"};
             },
             {}};
  auto options = quick_launcher_options();
  options.name_space = "acme";
  hf::hf_jobs_launcher launcher(options);
  auto const found = launcher.list(t, {});
  REQUIRE(found.size() == 2);
  CHECK_FALSE(found[0].endpoint);
  CHECK(found[0].message.find("https") != std::string::npos);
  REQUIRE(found[1].endpoint);
  CHECK(found[1].endpoint->url == "https://aaa--49983.hf.jobs");
  try {
    (void)launcher.inspect(t, "bbb");
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::protocol_error);
    CHECK(e.hop() == hop::hub);
  }
}

TEST_CASE("many threads ask once whose token it is, and again when that failed") {
  std::atomic<int> asked{0};
  struct slow {
    std::atomic<int>* asked;
    void send(hf::http::request const&, hf::http::response_sink& sink) {
      int const turn = ++*asked;
      std::this_thread::sleep_for(50ms);
      if (turn == 1)
        throw hf::error(errc::tls_failed, "on purpose");
      std::string const text = R"({"name":"alice"})";
      if (sink.on_head({200, {}}) == hf::http::flow::more)
        sink.on_data(std::as_bytes(std::span(text)));
    }
  } t{&asked};
  hf::hf_jobs_launcher launcher(quick_launcher_options());
  std::atomic<int> known{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      try {
        if (launcher.who_am_i(t).name == "alice")
          ++known;
      } catch (hf::error const&) {
        // The one whose question failed.
      }
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(known == 7);
  CHECK(asked == 2);
}

TEST_CASE("a Hub that says nothing runs into start_timeout, at whatever step") {
  char const* const silent = GENERATE("/api/whoami-v2", "/api/jobs/alice");
  INFO(silent);
  scripted t{[&](hf::http::request const& request) -> hf::http::response {
               if (request.url.ends_with(silent)) {
                 REQUIRE(request.deadline);
                 std::this_thread::sleep_until(*request.deadline);
                 hf::error_details details;
                 details.may_have_reached_peer = true;
                 throw hf::error(errc::request_timed_out, "no answer", details);
               }
               if (asks_for(request, "GET", "/api/whoami-v2"))
                 return {200, {}, R"({"name":"alice"})"};
               return {200, {}, "[]"};
             },
             {}};
  hf::hf_jobs_launcher launcher(quick_launcher_options());
  hf::launch_options what;
  what.start_timeout = 200ms;
  try {
    (void)launcher.launch(t, what);
    FAIL("no error");
  } catch (hf::launch_error const& e) {
    CHECK(e.kind() == errc::start_timed_out);
    CHECK(e.hop() == hop::hub);
  }
}

TEST_CASE("a job is looked at once every 2 s, less often when the Hub asks for it") {
  int const status = GENERATE(503, 429);
  scripted t{[&](hf::http::request const& request) -> hf::http::response {
               if (asks_for(request, "GET", "/api/whoami-v2"))
                 return {200, {}, R"({"name":"alice"})"};
               if (asks_for(request, "POST", "/api/jobs/alice"))
                 return {200, {}, R"({"id":"abc","status":{"stage":"SCHEDULING"}})"};
               if (asks_for(request, "GET", "/api/jobs/alice/abc"))
                 return {status, {{"RateLimit", R"("api";r=0;t=60)"}}, "{}"};
               return {200, {}, "{}"};
             },
             {}};
  hf::hf_jobs_launcher launcher(quick_launcher_options());
  hf::launch_options what;
  what.start_timeout = 4500ms;
  CHECK_THROWS_AS(launcher.launch(t, what), hf::launch_error);
  CHECK(t.count("GET /api/jobs/alice/abc") - t.count("GET /api/jobs/alice/abc/logs") ==
        (status == 429 ? 1 : 2));
  CHECK(t.count("POST /api/jobs/alice/abc/cancel") == 1);
}

TEST_CASE("a job keeps the token it was started with, the proxy gets the one of the moment") {
  auto const current = std::make_shared<std::string>("hf_first");
  auto options = quick_launcher_options();
  options.token = "";
  options.env = [current](std::string const& name) -> std::optional<std::string> {
    return name == "HF_TOKEN" ? std::optional<std::string>(*current) : std::nullopt;
  };
  std::string signed_token;
  scripted t{[&](hf::http::request const& request) -> hf::http::response {
               if (asks_for(request, "GET", "/api/whoami-v2"))
                 return {200, {}, R"({"name":"alice"})"};
               if (asks_for(request, "POST", "/api/jobs/alice")) {
                 auto const body = nlohmann::json::parse(request.body.text());
                 signed_token = body["secrets"]["SBX_TOKEN"];
                 *current = "hf_second";
                 // Without labels: the launcher knows them.
                 return {200,
                         {},
                         R"({"id":"abc","status":{"stage":"RUNNING",
                             "exposeUrls":["https://abc--49983.hf.jobs"]}})"};
               }
               CHECK(request.url == "https://abc--49983.hf.jobs/health");
               CHECK(request.fields.get("Authorization") == "Bearer hf_second");
               CHECK(request.fields.get("X-Sandbox-Token") == signed_token);
               return {200, {}, R"({"status":"ok","protocol":3})"};
             },
             {}};
  hf::hf_jobs_launcher launcher(options);
  hf::launch_options what;
  what.labels = {{"team", "red"}};
  auto const machine = launcher.launch(t, what);
  CHECK(machine.id == "abc");
  CHECK(machine.labels.at("team") == "red");
  CHECK(machine.labels.at("hf-sandbox") == "1");
  CHECK(hf::hub::agent_token("hf_first", machine.labels.at("hf-sandbox-nonce")) == signed_token);
}

TEST_CASE("an official agent older than the pinned one is refused, and its job ended") {
  std::string const health = GENERATE(R"({"status":"ok","protocol":2})", R"({"status":"ok"})",
                                      R"({"status":"ok","protocol":true})");
  scripted t{[&](hf::http::request const& request) -> hf::http::response {
               if (asks_for(request, "GET", "/api/whoami-v2"))
                 return {200, {}, R"({"name":"alice"})"};
               if (asks_for(request, "POST", "/api/jobs/alice"))
                 return {200, {}, sandbox_job_text("abc", "RUNNING", "https://abc--49983.hf.jobs")};
               if (request.url.ends_with("/health"))
                 return {200, {}, health};
               return {200, {}, "{}"};
             },
             {}};
  hf::hf_jobs_launcher launcher(quick_launcher_options());
  try {
    (void)launcher.launch(t, {});
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::unsupported);
    CHECK(std::string(e.what()).find("protocol") != std::string::npos);
  }
  CHECK(t.count("POST /api/jobs/alice/abc/cancel") == 1);
}

TEST_CASE("offline, nothing is sent and the reason is named, with a token or without") {
  scripted t{[](hf::http::request const&) -> hf::http::response { return {200, {}, "{}"}; }, {}};
  auto options = quick_launcher_options();
  options.token = GENERATE("hf_key", "");
  options.env = made_environment({{"HF_HUB_OFFLINE", "1"}, {"HOME", "/nonexistent"}});
  options.telemetry = true;
  hf::hf_jobs_launcher launcher(options);
  CHECK(kind_of([&] { (void)launcher.launch(t, {}); }) == errc::offline);
  CHECK(kind_of([&] { (void)launcher.list(t, {}); }) == errc::offline);
  CHECK(kind_of([&] { (void)launcher.inspect(t, "abc"); }) == errc::offline);
  CHECK(kind_of([&] { launcher.stop(t, "acme/abc"); }) == errc::offline);
  CHECK(kind_of([&] { (void)launcher.logs(t, "acme/abc"); }) == errc::offline);
  CHECK(t.calls.empty());
}
