#include "hub/patience.hpp"
#include "support/fake_hub/setup.hpp"
#include "support/kind_of.hpp"

#include <hf/sandbox/launchers/hf_jobs.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
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
