#include "hub/patience.hpp"
#include "support/fake_hub/setup.hpp"

#include <hf/sandbox/launchers/hf_jobs.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
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
using hf::testing_support::options_for;

namespace {

struct launched {
  errc code = errc::internal;
  std::string text;
  std::string stage;
  std::string log;
  std::string id;
  bool ok = false;
};

launched try_launch(hf::hf_jobs_options options, hf::launch_options const& what = {}) {
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(std::move(options));
  launched out;
  try {
    out.id = launcher.launch(transport, what).id;
    out.ok = true;
    launcher.stop(transport, out.id);
  } catch (hf::launch_error const& e) {
    out.code = e.kind();
    out.text = e.what();
    out.stage = e.stage();
    out.log = e.log_tail();
  } catch (hf::error const& e) {
    out.code = e.kind();
    out.text = e.what();
  }
  return out;
}

std::string slurp(std::string const& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("a launched job is a machine whose agent answers, and stop ends it") {
  fake_hub hub;
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  std::vector<std::string> progress;
  hf::launch_options what;
  what.env = {{"GREETING", "hello"}};
  what.labels = {{"name", "box"}};
  what.on_progress = [&](std::string const& line) { progress.push_back(line); };
  auto const machine = launcher.launch(transport, what);
  CHECK(machine.phase == hf::phase::running);
  REQUIRE(machine.endpoint);
  REQUIRE(machine.health);
  CHECK(machine.health->protocol >= 3);
  CHECK(machine.labels.at("name") == "box");
  CHECK(progress.size() >= 2);
  CHECK(hub.live_jobs() == 1);

  auto const rq = hf::detail::endpoint_request(*machine.endpoint, "GET", "/v1/files/stat?path=/");
  CHECK(hf::http::fetch(transport, rq).status == 200);
  auto wrong = rq;
  wrong.fields.set("X-Sandbox-Token", std::string(64, '0'));
  CHECK(hf::http::fetch(transport, wrong).status == 403);
  auto foreign = rq;
  foreign.fields.erase("Authorization");
  CHECK(hf::http::fetch(transport, foreign).status == 401);

  launcher.stop(transport, machine.id);
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.job(machine.id).stage == "CANCELED");
  launcher.stop(transport, machine.id);
  launcher.stop(transport, "000000000000000000000000");
  CHECK(hub.count(hub_route::whoami) == 1);
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("every agent source starts the agent, whose digest was checked first") {
  fake_hub hub;
  auto options = options_for(hub);
  SECTION("from a URL, through a redirect") {}
  SECTION("from a mounted volume") {
    auto const directory = std::filesystem::temp_directory_path() / hf::detail::random_hex(8);
    std::filesystem::create_directories(directory / "bin");
    std::filesystem::copy_file(std::getenv("HF_SANDBOX_AGENT"), directory / "bin" / "agent");
    hub.add_volume("bucket", "alice/private", directory.string());
    options.agent =
        hf::agent_source::volume({"bucket", "alice/private"}, "bin/agent", hub.agent_sha256());
    CHECK(try_launch(options).ok);
    CHECK(hub.count(hub_route::download) == 0);
    options.agent =
        hf::agent_source::volume({"bucket", "alice/private"}, "bin/agent", std::string(64, 'a'));
    auto const refused = try_launch(options);
    CHECK(refused.code == errc::launch_failed);
    CHECK(refused.log.find("SHA-256") != std::string::npos);
    std::filesystem::remove_all(directory);
    CHECK(hub.wait_for_no_jobs(long_enough));
    return;
  }
  SECTION("named by the environment") {
    options = options_for(hub, {{"HF_SANDBOX_AGENT_URL", hub.agent_url()},
                                {"HF_SANDBOX_AGENT_SHA256", hub.agent_sha256()}});
    options.agent = {};
  }
  auto const result = try_launch(options);
  INFO(result.text);
  CHECK(result.ok);
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("an inline agent is unpacked and verified in the job") {
  fake_hub hub;
  if (!hub.isolated())
    SKIP("the stand-in agent listens on the fixed port, which needs a network namespace");
  // Any executable may be the agent; this one is small enough to travel.
  std::string const stand_in = R"(#!/usr/bin/python3
import http.server, os
class h(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"status":"ok","protocol":3}'
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(('127.0.0.1', int(os.environ['SBX_PORT'])), h).serve_forever()
)";
  if (!std::filesystem::exists("/usr/bin/python3"))
    SKIP("no python3 for the stand-in agent");
  auto options = options_for(hub);
  options.agent = hf::agent_source::inline_(stand_in);
  auto const result = try_launch(options);
  INFO(result.text);
  CHECK(result.ok);
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("bytes that are not the official agent are never run, whatever their name") {
  fake_hub hub;
  hub.serve_agent_as(std::string(hf::agent_source::official_sha256));
  auto options = options_for(hub);
  options.agent = {};
  auto const result = try_launch(options);
  CHECK(result.code == errc::launch_failed);
  CHECK(result.stage == "ERROR");
  CHECK(result.log.find("the agent was not started: its SHA-256 is " + hub.agent_sha256()) !=
        std::string::npos);
  CHECK(hub.wait_for_no_jobs(long_enough));
  for (auto const& seen : hub.jobs())
    for (auto const& line : seen.log)
      CHECK(line.find("listening") == std::string::npos);
}

TEST_CASE("a download that fails falls back to the mounted bucket") {
  fake_hub hub;
  hub.add_fault({.where = hub_route::download, .status = 404, .times = -1});
  hub.serve_agent_as(std::string(hf::agent_source::official_sha256));
  auto options = options_for(hub);
  options.agent = {};
  // The mounted file is the wrong one too; that it is looked at shows in the digest.
  auto const result = try_launch(options);
  CHECK(result.log.find("its SHA-256 is " + hub.agent_sha256()) != std::string::npos);
  CHECK(hub.wait_for_no_jobs(long_enough));
}

TEST_CASE("a job that dies at its start fails the launch at once, with its last lines") {
  fake_hub hub;
  std::vector<std::string> lines;
  for (int i = 1; i <= 30; ++i)
    lines.push_back("line " + std::to_string(i));
  hub.behave({.what = job_behaviour::kind::die_at_start, .lines = lines, .exit_code = 7});
  auto const begin = std::chrono::steady_clock::now();
  auto const result = try_launch(options_for(hub));
  CHECK(result.code == errc::launch_failed);
  CHECK(result.stage == "ERROR");
  CHECK(result.text.find("exit code: 7") != std::string::npos);
  CHECK(result.log.find("line 30\n") != std::string::npos);
  CHECK(result.log.find("line 11\n") != std::string::npos);
  CHECK(result.log.find("line 10\n") == std::string::npos);
  CHECK(std::chrono::steady_clock::now() - begin < 60s);
  CHECK(hub.wait_for_no_jobs(long_enough));
}

TEST_CASE("start_timeout ends the wait, and the job") {
  fake_hub hub({.urls_while_scheduling = false});
  SECTION("that is never scheduled") {
    hub.behave({.what = job_behaviour::kind::never_start});
  }
  SECTION("whose agent never answers") {
    hub.behave({.what = job_behaviour::kind::never_ready, .lines = {"waiting for Godot"}});
  }
  hf::launch_options what;
  what.start_timeout = 2500ms;
  auto const begin = std::chrono::steady_clock::now();
  auto const result = try_launch(options_for(hub), what);
  auto const took = std::chrono::steady_clock::now() - begin;
  CHECK(result.code == errc::start_timed_out);
  CHECK(took >= 2500ms);
  CHECK(hub.wait_for_no_jobs(long_enough));
  // From 100 ms with back-off to 1 s; the job at most every 2 s (and once after the cancellation).
  CHECK(hub.count(hub_route::proxy) <= 12);
  CHECK(hub.count(hub_route::inspect) <= 3);
}

TEST_CASE("a slow boot is waited for, politely") {
  fake_hub hub({.urls_while_scheduling = false});
  hub.behave({.boot_delay = 3s});
  hub.add_fault({.where = hub_route::proxy, .what = hub_fault::kind::reset, .times = 2});
  hub.add_fault({.where = hub_route::proxy, .status = 502, .times = 2});
  auto const result = try_launch(options_for(hub));
  INFO(result.text);
  CHECK(result.ok);
  CHECK(hub.wait_for_no_jobs(long_enough));
  auto const looks = hub.requests(hub_route::inspect);
  for (std::size_t i = 1; i < looks.size(); ++i)
    CHECK(looks[i].at - looks[i - 1].at >= 1900ms);
}

TEST_CASE("cancellation ends the wait and the job, quickly") {
  fake_hub hub;
  SECTION("while scheduling") {
    hub.behave({.what = job_behaviour::kind::never_start});
  }
  SECTION("while the agent boots") {
    hub.behave({.what = job_behaviour::kind::never_ready});
  }
  SECTION("while the start is under way") {
    hub.behave({.what = job_behaviour::kind::never_start});
    hub.add_fault({.where = hub_route::create, .what = hub_fault::kind::delay, .delay = 1500ms});
  }
  std::stop_source stop;
  hf::launch_options what;
  what.stop = stop.get_token();
  auto options = options_for(hub);
  options.retries.late = 4s;
  std::thread canceller([&] {
    std::this_thread::sleep_for(700ms);
    stop.request_stop();
  });
  auto const result = try_launch(options, what);
  canceller.join();
  CHECK(result.code == errc::cancelled);
  CHECK(hub.jobs().size() == 1);
  CHECK(hub.wait_for_no_jobs(long_enough));
}

TEST_CASE("whatever goes wrong at any step, no job is left and none is started twice") {
  struct step {
    char const* name;
    hub_fault fault;
    /// Whether the start succeeds; nothing: that depends on what comes first.
    std::optional<bool> survives;
  };
  using kind = hub_fault::kind;
  std::vector<step> const steps{
      {"whoami 500 once", {.where = hub_route::whoami, .status = 500}, true},
      {"whoami reset", {.where = hub_route::whoami, .what = kind::reset}, true},
      {"whoami 401", {.where = hub_route::whoami, .status = 401, .times = -1}, false},
      {"create 429",
       {.where = hub_route::create, .status = 429, .fields = {{"Retry-After", "1"}}},
       true},
      {"create 429 by RateLimit",
       {.where = hub_route::create, .status = 429, .fields = {{"RateLimit", "\"api\";r=0;t=1"}}},
       true},
      {"create 500 once", {.where = hub_route::create, .status = 500}, true},
      {"create 503 always", {.where = hub_route::create, .status = 503, .times = -1}, false},
      {"create reset", {.where = hub_route::create, .what = kind::reset}, true},
      {"create answer lost", {.where = hub_route::create, .what = kind::lose_answer}, true},
      {"create answers without JSON",
       {.where = hub_route::create, .status = 200, .body = "<html>"},
       true},
      {"create 402", {.where = hub_route::create, .status = 402, .times = -1}, false},
      {"create 401", {.where = hub_route::create, .status = 401, .times = -1}, false},
      {"create 403", {.where = hub_route::create, .status = 403, .times = -1}, false},
      {"create 400", {.where = hub_route::create, .status = 400, .times = -1}, false},
      {"look 500", {.where = hub_route::inspect, .status = 500, .times = 2}, true},
      // An agent that answers at once is there before anybody looks at its job.
      {"look 401", {.where = hub_route::inspect, .status = 401, .times = -1}, std::nullopt},
      {"proxy resets", {.where = hub_route::proxy, .what = kind::reset, .times = 3}, true},
      {"proxy 502", {.where = hub_route::proxy, .status = 502, .times = 3}, true},
      {"proxy loses answers",
       {.where = hub_route::proxy, .what = kind::lose_answer, .times = 2},
       true},
      {"proxy cuts an answer",
       {.where = hub_route::proxy, .what = kind::cut, .after_bytes = 5, .times = 2},
       true},
      {"proxy 401", {.where = hub_route::proxy, .status = 401, .times = -1}, false},
      {"cancel 500 once", {.where = hub_route::cancel, .status = 500}, true},
      {"cancel reset", {.where = hub_route::cancel, .what = kind::reset}, true},
      {"cancel answer lost", {.where = hub_route::cancel, .what = kind::lose_answer}, true},
      {"cancel 429",
       {.where = hub_route::cancel, .status = 429, .fields = {{"Retry-After", "1"}}},
       true},
  };
  fake_hub hub;
  for (auto const& [name, fault, survives] : steps) {
    INFO(name);
    hub.clear_faults();
    auto const before = hub.jobs().size();
    hub.add_fault(fault);
    hf::launch_options what;
    what.start_timeout = 20s;
    auto const result = try_launch(options_for(hub), what);
    INFO(result.text);
    CHECK(result.ok == survives.value_or(result.ok));
    CHECK(hub.wait_for_no_jobs(long_enough));
    CHECK(hub.jobs().size() - before <= 1);
    CHECK(result.text.find(hub.token()) == std::string::npos);
  }
  CHECK(hub.violations() == std::vector<std::string>());
}

TEST_CASE("the failures of the Hub have their own codes") {
  fake_hub hub;
  SECTION("no credit") {
    hub.set_credit(false);
    auto const result = try_launch(options_for(hub));
    CHECK(result.code == errc::quota_exceeded);
  }
  SECTION("a wrong token") {
    auto options = options_for(hub);
    options.token = "hf_wrong";
    auto const result = try_launch(options);
    CHECK(result.code == errc::unauthenticated);
    CHECK(result.text.find("hf_wrong") == std::string::npos);
  }
  SECTION("somebody else's namespace") {
    hf::launch_options what;
    what.name_space = "bob";
    CHECK(try_launch(options_for(hub), what).code == errc::permission_denied);
  }
  SECTION("a volume that does not exist") {
    hf::launch_options what;
    what.volumes = {{"model", "nobody/nothing", "/data"}};
    CHECK(try_launch(options_for(hub), what).code == errc::not_found);
  }
  SECTION("an unknown flavor") {
    hf::launch_options what;
    what.flavor = "cpu-gigantic";
    CHECK(try_launch(options_for(hub), what).code == errc::invalid_argument);
  }
  CHECK(hub.jobs().empty());
}

TEST_CASE("when the token expires while the agent boots, the job ends by its idle time") {
  fake_hub hub;
  hub.behave({.boot_delay = 1s});
  hf::launch_options what;
  what.idle_timeout = 1s;
  what.start_timeout = 15s;
  what.on_progress = [&](std::string const& line) {
    if (line.find("accepted") != std::string::npos)
      hub.change_token("hf_another");
  };
  auto const result = try_launch(options_for(hub), what);
  CHECK(result.code == errc::unauthenticated);
  CHECK(result.text.find("could not be cancelled") != std::string::npos);
  CHECK(hub.wait_for_no_jobs(60s));
}

TEST_CASE("an exception of the caller's progress function undoes the start") {
  fake_hub hub;
  hf::launch_options what;
  what.on_progress = [](std::string const&) { throw std::runtime_error("enough"); };
  CHECK_THROWS_AS(try_launch(options_for(hub), what), std::runtime_error);
  CHECK(hub.wait_for_no_jobs(long_enough));
  CHECK(hub.jobs().size() == 1);
}

TEST_CASE("the token is nowhere in the job and goes to no other host") {
  fake_hub hub;
  auto const token = hub.token();
  hf::curl_transport transport;
  hf::hf_jobs_launcher launcher(options_for(hub));
  hf::launch_options what;
  bool const forwarded = GENERATE(false, true);
  what.forward_hf_token = forwarded;
  auto const machine = launcher.launch(transport, what);
  auto const seen = hub.job(machine.id);
  auto request = seen.request;
  bool in_environment = false;
  REQUIRE_FALSE(seen.processes.empty());
  for (auto const pid : seen.processes)
    for (char const* const part : {"/environ", "/cmdline"})
      if (slurp("/proc/" + std::to_string(pid) + part).find(token) != std::string::npos)
        in_environment = true;
  if (forwarded) {
    CHECK(request["secrets"]["HF_TOKEN"] == token);
    request["secrets"].erase("HF_TOKEN");
  } else {
    CHECK_FALSE(in_environment);
  }
  CHECK(request.dump().find(token) == std::string::npos);
  auto const own_host = machine.id + "--49983.localhost:" + std::to_string(hub.port());
  for (auto const& rq : hub.requests()) {
    bool carries = rq.target.find(token) != std::string::npos;
    for (auto const& field : rq.fields)
      carries = carries || field.value.find(token) != std::string::npos;
    bool const api = rq.host == "127.0.0.1:" + std::to_string(hub.port()) &&
                     rq.route != hub_route::download && rq.route != hub_route::telemetry;
    CHECK((!carries || api || rq.host == own_host));
  }
  launcher.stop(transport, machine.id);
  CHECK(hub.wait_for_no_jobs(long_enough));
  for (auto const& line : hub.job(machine.id).log)
    CHECK(line.find(token) == std::string::npos);
}

TEST_CASE("a token in the lines of a dying job is not shown") {
  fake_hub hub;
  hub.behave({.what = job_behaviour::kind::die_at_start, .lines = {"token=" + hub.token()}});
  auto const result = try_launch(options_for(hub));
  CHECK(result.code == errc::launch_failed);
  CHECK(result.text.find("token=***") != std::string::npos);
  CHECK(result.text.find(hub.token()) == std::string::npos);
}
