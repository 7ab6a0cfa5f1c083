#include "hub/patience.hpp"
#include "support/fake_hub/setup.hpp"
#include "support/kind_of.hpp"

#include <hf/sandbox/aliases.hpp>
#include <hf/sandbox/launchers/hf_jobs.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using hf::errc;
using hf::testing_support::fake_hub;
using hf::testing_support::fake_hub_options;
using hf::testing_support::hub_fault;
using hf::testing_support::hub_route;
using hf::testing_support::job_behaviour;
using hf::testing_support::kind_of;
using hf::testing_support::options_for;

namespace {

/// The job that the official client starts for a sandbox (its bootstrap, as far as it matters).
nlohmann::json official_job(fake_hub const& hub, std::string const& nonce, char const* mode) {
  std::string const script =
      "set -e; curl -fsSL -o /tmp/.sbx-server \"$SBX_SERVER_URL\"; chmod +x /tmp/.sbx-server; "
      "unset SBX_SERVER_URL SBX_SERVER_SHA256; exec /tmp/.sbx-server";
  return {{"command", {"/bin/sh", "-c", script}},
          {"arguments", nlohmann::json::array()},
          {"environment",
           {{"SBX_PORT", "49983"},
            {"SBX_IDLE_TIMEOUT", "600"},
            {"SBX_SERVER_URL", hub.agent_url()},
            {"SBX_SERVER_SHA256", hub.agent_sha256()}}},
          {"secrets", {{"SBX_TOKEN", hf::hub::agent_token(hub.token(), nonce)}}},
          {"flavor", "cpu-basic"},
          {"dockerImage", "python:3.12"},
          {"labels",
           {{"hf-sandbox", "1"},
            {"hf-sandbox-mode", mode},
            {"hf-sandbox-nonce", nonce},
            {"name", "from-python"}}},
          {"expose", {{"ports", {49983}}}},
          {"timeoutSeconds", 86400}};
}

template <class F>
bool eventually(F&& condition) {
  for (auto const end = std::chrono::steady_clock::now() + long_enough;
       std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(20ms))
    if (condition())
      return true;
  return false;
}

}  // namespace

TEST_CASE("a sandbox of the official client is found, reached and ended by ours") {
  fake_hub hub;
  if (!hub.isolated())
    SKIP("the official bootstrap has a fixed path, which needs a root of its own");
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  auto const nonce = hf::detail::random_hex(16);
  auto const id = hub.start_job(official_job(hub, nonce, "dedicated"));
  auto const pool = hub.start_job(official_job(hub, nonce, "pool"));
  REQUIRE(eventually([&] { return hub.job(id).stage == "RUNNING"; }));
  REQUIRE(eventually([&] { return hub.job(pool).stage == "RUNNING"; }));

  auto const found = launcher.list(transport, {{"name", "from-python"}});
  REQUIRE(found.size() == 1);
  CHECK(found[0].id == id);
  auto const machine = launcher.inspect(transport, "alice/" + id);
  CHECK(machine.phase == hf::phase::running);
  REQUIRE(machine.endpoint);
  CHECK(eventually([&] {
    auto const rq = hf::detail::endpoint_request(*machine.endpoint, "GET", "/v1/processes");
    auto const status = hf::http::fetch(transport, rq).status;
    return status == 200 || status == 404;
  }));
  CHECK(kind_of([&] { (void)launcher.inspect(transport, pool); }) == errc::unsupported);
  CHECK(kind_of([&] { (void)launcher.inspect(transport, pool + ".0a1b"); }) == errc::unsupported);
  launcher.stop(transport, id);
  CHECK(eventually([&] { return hub.live_jobs() == 1; }));
  CHECK(launcher.inspect(transport, id).phase == hf::phase::ended);
  CHECK_FALSE(launcher.inspect(transport, id).endpoint);
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("a job that another client starts by HTTP is a sandbox for ours, and ours for it") {
  fake_hub hub({.any_client = true});
  if (!hub.isolated())
    SKIP("the official bootstrap has a fixed path, which needs a root of its own");
  hf::curl_transport transport;
  auto const call = [&](char const* method, std::string const& target,
                        std::optional<nlohmann::json> const& body = {}) {
    hf::http::request rq;
    rq.method = method;
    rq.url = hub.url() + target;
    rq.fields.add("User-Agent", "unknown/None; hf_hub/1.31.0; python/3.12.1; httpx/0.28.1");
    rq.fields.add("X-Amzn-Trace-Id", "11111111-2222-3333-4444-555555555555");
    rq.fields.add("Authorization", "Bearer " + hub.token());
    if (body) {
      rq.fields.add("Content-Type", "application/json");
      rq.body = body->dump();
    } else if (rq.method == "POST") {
      rq.body = std::string();
    }
    auto const answer = hf::http::fetch(transport, rq);
    CHECK(answer.status == 200);
    return nlohmann::json::parse(answer.body);
  };
  CHECK(call("GET", "/api/whoami-v2")["name"] == "alice");
  auto body = official_job(hub, hf::detail::random_hex(16), "dedicated");
  body["expose"]["portsPublic"] = nlohmann::json::array();
  std::string const theirs = call("POST", "/api/jobs/alice", body)["id"];
  REQUIRE(eventually([&] { return hub.job(theirs).stage == "RUNNING"; }));
  auto const client = std::make_shared<hf::client>(hf::hf_jobs_launcher(options_for(hub)));
  REQUIRE(hf::sandbox::list(client).size() == 1);
  {
    auto box = hf::sandbox::connect(client, theirs);
    // Its agent may still be starting.
    CHECK(eventually([&] {
      try {
        return box.exec({"echo", "hello"}).out == "hello\n";
      } catch (hf::error const&) {
        return false;
      }
    }));
    box.terminate();
  }
  CHECK(hub.wait_for_no_jobs(long_enough));

  // What the official client looks at before it connects, and at the end of it.
  auto mine = hf::sandbox::create(client);
  auto const job = call("GET", "/api/jobs/alice/" + mine.id());
  CHECK(job["labels"]["hf-sandbox"] == "1");
  CHECK(job["labels"]["hf-sandbox-mode"] == "dedicated");
  CHECK(job["status"]["stage"] == "RUNNING");
  std::string const nonce = job["labels"]["hf-sandbox-nonce"];
  CHECK(mine.headers().get("X-Sandbox-Token") == hf::hub::agent_token(hub.token(), nonce));
  std::string const url = job["status"]["exposeUrls"][0];
  CHECK(url.find("--49983.") != std::string::npos);
  CHECK(mine.url_for(80).find(url + "/v1/proxy/80") == 0);
  auto const all =
      call("GET", "/api/jobs/alice?stage=RUNNING&stage=SCHEDULING&label=hf-sandbox%3D1");
  REQUIRE(all.size() == 1);
  CHECK(all[0]["id"] == mine.id());
  call("POST", "/api/jobs/alice/" + mine.id() + "/cancel");
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("a job that is no sandbox is not found") {
  fake_hub hub;
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  auto body = official_job(hub, "00", "dedicated");
  body["labels"] = {{"name", "a-training"}};
  hub.behave({.what = job_behaviour::kind::never_start});
  auto const id = hub.start_job(body);
  CHECK(kind_of([&] { (void)launcher.inspect(transport, id); }) == errc::not_found);
  CHECK(kind_of([&] { (void)launcher.inspect(transport, "0123"); }) == errc::not_found);
  CHECK(launcher.list(transport, {}).empty());
}

TEST_CASE("list follows the pages, honours the labels, and leaves out what has ended") {
  fake_hub hub({.page_size = 2});
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  hub.behave({.what = job_behaviour::kind::never_start}, 7);
  std::set<std::string> ids;
  for (int i = 0; i < 7; ++i)
    ids.insert(hub.start_job(official_job(hub, hf::detail::random_hex(16), "dedicated")));
  auto const all = launcher.list(transport, {});
  CHECK(all.size() == 7);
  CHECK(hub.count(hub_route::list) == 4);
  launcher.stop(transport, *ids.begin());
  launcher.labels(transport, *ids.rbegin(), {{"name", "special"}, {"team", "red"}});
  CHECK(launcher.list(transport, {}).size() == 6);
  auto const special = launcher.list(transport, {{"team", "red"}});
  REQUIRE(special.size() == 1);
  CHECK(special[0].id == *ids.rbegin());
  CHECK(special[0].phase == hf::phase::starting);
  CHECK(launcher.labels(transport, *ids.rbegin()) ==
        std::map<std::string, std::string>{{"name", "special"}, {"team", "red"}});
  CHECK(hub.job(*ids.rbegin()).labels.at("hf-sandbox") == "1");
  CHECK(kind_of([&] {
          launcher.labels(transport, *ids.rbegin(), {{"hf-sandbox-nonce", "x"}});
        }) == errc::invalid_argument);
  for (auto const& machine : all)
    launcher.stop(transport, machine.id);
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("namespaces of organisations appear in the ids") {
  fake_hub hub;
  hub.behave({.what = job_behaviour::kind::normal});
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  hf::launch_options what;
  what.name_space = "acme";
  auto const machine = launcher.launch(transport, what);
  CHECK(machine.id.find("acme/") == 0);
  CHECK(hub.count(hub_route::whoami) == 0);
  CHECK(launcher.inspect(transport, machine.id).phase == hf::phase::running);
  CHECK(launcher.list(transport, {}).empty());
  auto options = options_for(hub);
  options.name_space = "acme";
  hf::hf_jobs_launcher of_acme(options);
  auto const found = of_acme.list(transport, {});
  REQUIRE(found.size() == 1);
  CHECK(found[0].id == machine.id);
  of_acme.stop(transport, machine.id);
  CHECK(hub.wait_for_no_jobs(long_enough));
}

TEST_CASE("logs, followed logs and metrics of a running job") {
  fake_hub hub({.keep_alive = 100ms, .metrics_interval = 50ms});
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  auto body = official_job(hub, hf::detail::random_hex(16), "dedicated");
  body["command"] = {"/bin/sh", "-c",
                     "for i in 1 2 3; do echo line $i; done; sleep 1; echo late; sleep 1"};
  auto const id = hub.start_job(body);
  REQUIRE(eventually([&] { return hub.job(id).log.size() >= 4; }));

  int samples = 0;
  launcher.metrics(transport, id, [&](hf::hub::job_metrics const& sample) {
    CHECK(sample.memory_total_bytes > 0);
    CHECK(sample.replica.find(id) == 0);
    return ++samples < 3;
  });
  CHECK(samples == 3);

  std::vector<std::string> lines;
  hub.add_fault({.where = hub_route::logs, .what = hub_fault::kind::reset});
  launcher.follow_logs(transport, id, [&](std::string const& line) {
    lines.push_back(line);
    return true;
  });
  CHECK(lines == std::vector<std::string>{"line 1", "line 2", "line 3", "late"});
  CHECK(launcher.logs(transport, id) == "line 1\nline 2\nline 3\nlate\n");
  samples = 0;
  launcher.metrics(transport, id, [&](hf::hub::job_metrics const&) { return ++samples < 3; });
  CHECK(samples == 0);
  CHECK(hub.violations() == std::vector<std::string>());
}

namespace {

/// The Jobs API of a double, and a job that runs this script.
struct running_script {
  fake_hub hub;
  hf::curl_transport transport;
  hf::hub::jobs api;
  std::string id;

  running_script(fake_hub_options how, std::string const& script)
      : hub(std::move(how)), api(hf::hub::client(settings())) {
    auto body = official_job(hub, hf::detail::random_hex(16), "dedicated");
    body["command"] = {"/bin/sh", "-c", script};
    id = hub.start_job(body);
  }
  [[nodiscard]] hf::hub::settings settings() const {
    auto const how = options_for(hub);
    return {how.token, how.endpoint, how.retries, how.tls, how.env};
  }
};

}  // namespace

TEST_CASE("the tail of a log ends while the job goes on, whatever keeps the stream open") {
  bool const chatty = GENERATE(false, true);
  INFO("the job never stops printing: " << chatty);
  running_script job({.keep_alive = 50ms},
                     std::string("for i in 1 2 3; do echo line $i; done; ") +
                         (chatty ? "while :; do echo more; sleep 0.02; done" : "sleep 600"));
  REQUIRE(eventually([&] { return job.hub.job(job.id).log.size() >= 4; }));
  hf::hub::call_limits limits;
  limits.deadline = std::chrono::steady_clock::now() + 60s;
  auto const lines =
      hf::hub::log_tail(job.api, job.transport, "alice", job.id, 2, limits, {.quiet = 300ms});
  CHECK(std::chrono::steady_clock::now() < *limits.deadline);
  if (chatty)
    CHECK(lines == std::vector<std::string>{"more", "more"});
  else
    CHECK(lines == std::vector<std::string>{"line 2", "line 3"});
}

TEST_CASE("following a log ends with the job, also when the stream does not") {
  running_script job({.keep_alive = 50ms, .endless_streams = true},
                     "echo first; sleep 1; echo last");
  REQUIRE(eventually([&] { return job.hub.job(job.id).log.size() >= 2; }));
  hf::hub::call_limits limits;
  limits.deadline = std::chrono::steady_clock::now() + 60s;
  std::vector<std::string> lines;
  hf::hub::follow_logs(job.api, job.transport, "alice", job.id,
                       [&](std::string const& line) {
                         lines.push_back(line);
                         return true;
                       },
                       limits, {.quiet = 300ms, .look = 300ms});
  CHECK(std::chrono::steady_clock::now() < *limits.deadline);
  CHECK(lines == std::vector<std::string>{"first", "last"});
}

TEST_CASE("what the reader of a stream throws ends it, also when it looks like a broken one") {
  running_script job({}, "echo first; echo second; sleep 600");
  REQUIRE(eventually([&] { return job.hub.job(job.id).log.size() >= 3; }));
  int lines = 0;
  try {
    hf::hub::follow_logs(job.api, job.transport, "alice", job.id, [&](std::string const&) -> bool {
      ++lines;
      throw hf::launch_error(errc::connection_lost, "mine", "", "");
    });
    FAIL("no error");
  } catch (hf::launch_error const& e) {
    CHECK(std::string(e.what()) == "mine");
  }
  CHECK(lines == 1);
}

TEST_CASE("a Hub that fails for a while does not end the metrics") {
  running_script job({.metrics_interval = 50ms}, "sleep 600");
  REQUIRE(eventually([&] { return job.hub.job(job.id).stage == "RUNNING"; }));
  job.hub.add_fault({.where = hub_route::metrics, .status = 503});
  job.hub.add_fault({.where = hub_route::metrics, .what = hub_fault::kind::reset});
  int samples = 0;
  hf::hub::follow_metrics(job.api, job.transport, "alice", job.id,
                          [&](hf::hub::job_metrics const&) { return ++samples < 2; });
  CHECK(samples == 2);
}

TEST_CASE("hardware and identity come from the Hub") {
  fake_hub hub;
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  auto const list = launcher.hardware(transport);
  REQUIRE(list.size() == 3);
  CHECK(list[0].name == "cpu-basic");
  CHECK(list[2].accelerator == "T4");
  CHECK(launcher.who_am_i(transport).name == "alice");
  CHECK(launcher.who_am_i(transport).id == "id-of-alice");
  CHECK(hub.count(hub_route::whoami) == 1);
}

TEST_CASE("rate limits are waited out") {
  fake_hub hub({.rate_limit = 3, .rate_window = 1s});
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  for (int i = 0; i < 7; ++i)
    CHECK(launcher.hardware(transport).size() == 3);
  auto const seen = hub.requests(hub_route::hardware);
  CHECK(std::count_if(seen.begin(), seen.end(), [](auto const& r) { return r.status == 429; }) >=
        1);
}

TEST_CASE("usage events say what is documented, and are off by each switch") {
  fake_hub hub;
  std::map<std::string, std::string> variables;
  bool expected = false;
  bool by_option = true;
  SECTION("on by default") {
    expected = true;
  }
  SECTION("off by the launcher's option") {
    by_option = false;
  }
  SECTION("off by HF_HUB_DISABLE_TELEMETRY") {
    variables["HF_HUB_DISABLE_TELEMETRY"] = "1";
  }
  SECTION("off by DO_NOT_TRACK") {
    variables["DO_NOT_TRACK"] = "true";
  }
  SECTION("off by DISABLE_TELEMETRY") {
    variables["DISABLE_TELEMETRY"] = "YES";
  }
  auto options = options_for(hub, variables);
  options.telemetry = by_option;
  {
    hf::curl_transport transport;
    hf::hf_jobs_launcher launcher(options);
    hf::launch_options what;
    what.timeout = 1h;
    auto const machine = launcher.launch(transport, what);
    launcher.stop(transport, machine.id, hf::end_reason::destructor);
  }
  auto const events = hub.requests(hub_route::telemetry);
  if (expected) {
    REQUIRE(events.size() == 2);
    std::string const create(events[0].fields.get("User-Agent"));
    std::string const end(events[1].fields.get("User-Agent"));
    CHECK(create.find("; flavor/cpu-basic; timeout/3600; forward_hf_token/false") !=
          std::string::npos);
    CHECK(end.find("; reason/destructor") != std::string::npos);
    auto const session = create.substr(create.find("session_id/"), 43);
    CHECK(end.find(session) != std::string::npos);
    for (auto const& event : events) {
      CHECK_FALSE(event.fields.contains("Authorization"));
      CHECK_FALSE(event.fields.contains("X-Sandbox-Token"));
    }
  } else {
    CHECK(events.empty());
  }
  CHECK(hub.violations() == std::vector<std::string>());
  CHECK(hub.wait_for_no_jobs(long_enough));
}

TEST_CASE("each switch alone forbids usage events") {
  using hf::testing_support::made_environment;
  CHECK(hf::hub::telemetry_allowed(made_environment({{"DO_NOT_TRACK", "0"}})));
  for (char const* const name :
       {"HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DISABLE_TELEMETRY", "HF_HUB_OFFLINE"})
    for (char const* const yes : {"1", "true", "Yes", "ON"})
      CHECK_FALSE(hf::hub::telemetry_allowed(made_environment({{name, yes}})));
}

TEST_CASE("all launchers together hold a program's end by one second at most") {
  struct hanging {
    void send(hf::http::request const& rq, hf::http::response_sink&) {
      auto const limit = std::chrono::steady_clock::now() + 30s;
      while (std::chrono::steady_clock::now() < limit && !rq.stop.stop_requested())
        std::this_thread::sleep_for(1ms);
    }
  } transport;
  auto const begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    hf::hub::telemetry_sender sender;
    sender.send(transport, "https://hub.example", {}, {"terminate", "x"});
    sender.flush_at_exit();
  }
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
}

TEST_CASE("usage events that are not answered delay neither calls nor the end by much") {
  fake_hub hub;
  hub.add_fault(
      {.where = hub_route::telemetry, .what = hub_fault::kind::delay, .delay = 30s, .times = -1});
  auto options = options_for(hub);
  options.telemetry = true;
  hf::curl_transport transport;
  auto launcher = std::make_unique<hf::hf_jobs_launcher>(options);
  auto const machine = launcher->launch(transport, {});
  launcher->stop(transport, machine.id);
  auto const begin = std::chrono::steady_clock::now();
  launcher.reset();
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  CHECK(hub.wait_for_no_jobs(long_enough));
}
