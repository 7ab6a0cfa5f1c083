#include <hf/sandbox/docker/container.hpp>
#include <hf/sandbox/docker/description.hpp>
#include <hf/sandbox/docker/engine.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <string>

using namespace hf::detail::docker;
using json = nlohmann::json;

namespace {

json body_of(hf::launch_options const& o, hf::docker_options const& options = {},
             container_plan plan = {}) {
  plan.token = "secret";
  plan.nonce = "n0";
  plan.image = "img";
  plan.size = resources_for(options, o.flavor);
  return container_body(options, o, plan);
}

bool has_item(json const& list, std::string const& item) {
  return std::find(list.begin(), list.end(), json(item)) != list.end();
}

hf::errc refusal(std::function<void(hf::launch_options&)> const& change, std::string const& name) {
  hf::launch_options o;
  change(o);
  try {
    check_launch_options(o);
  } catch (hf::error const& e) {
    CHECK(std::string(e.what()).find(name) != std::string::npos);
    return e.kind();
  }
  return hf::errc{};
}

}  // namespace

TEST_CASE("docker container: isolation is on without asking for it") {
  auto const host = body_of({}).at("HostConfig");
  CHECK(host.at("CapDrop") == json{"ALL"});
  CHECK(host.at("CapAdd") == json{"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL"});
  CHECK(host.at("SecurityOpt") == json{"no-new-privileges"});
  CHECK(host.at("PidsLimit") == 4096);
  CHECK(host.at("AutoRemove") == true);
  CHECK(host.at("Mounts").empty());
  CHECK_FALSE(host.contains("Privileged"));
  CHECK_FALSE(host.contains("Binds"));
  CHECK_FALSE(host.contains("NetworkMode"));
}

TEST_CASE("docker container: a flavor is CPUs and memory, explicit options win") {
  auto const basic = body_of({}).at("HostConfig");
  CHECK(basic.at("NanoCpus") == 2'000'000'000);
  CHECK(basic.at("Memory") == std::uint64_t{16} << 30);
  CHECK(basic.at("MemorySwap") == basic.at("Memory"));
  hf::launch_options o;
  o.flavor = "cpu-upgrade";
  CHECK(body_of(o).at("HostConfig").at("NanoCpus") == 8'000'000'000);
  hf::docker_options options;
  options.cpus = 0.5;
  options.memory = std::uint64_t{64} << 20;
  auto const mine = body_of(o, options).at("HostConfig");
  CHECK(mine.at("NanoCpus") == 500'000'000);
  CHECK(mine.at("Memory") == std::uint64_t{64} << 20);
}

TEST_CASE("docker container: an unknown flavor is refused by name") {
  CHECK_THROWS_AS(resources_for({}, "a100-large"), hf::error);
  hf::docker_options tiny;
  tiny.memory = 1000;
  CHECK_THROWS_AS(resources_for(tiny, ""), hf::error);
  hf::docker_options none;
  none.cpus = 0;
  CHECK_THROWS_AS(resources_for(none, ""), hf::error);
}

TEST_CASE("docker container: the agent is told where to listen and how long to live") {
  hf::launch_options o;
  o.env = {{"A", "1"}};
  o.timeout = std::chrono::seconds(90);
  container_plan plan;
  auto const env = body_of(o, {}, plan).at("Env");
  CHECK(has_item(env, "A=1"));
  CHECK(has_item(env, "SBX_TOKEN=secret"));
  CHECK(has_item(env, "SBX_SOCKET=/.hf-sandbox/run/agent.sock"));
  CHECK(has_item(env, "SBX_IDLE_TIMEOUT=600"));
  CHECK(has_item(env, "SBX_LIFETIME=90"));

  o.idle_timeout = std::chrono::seconds(0);
  plan.reach = hf::docker_reach::published_port;
  auto const published = body_of(o, {}, plan);
  CHECK(has_item(published.at("Env"), "SBX_PORT=49983"));
  for (auto const& entry : published.at("Env"))
    CHECK_FALSE(entry.get<std::string>().starts_with("SBX_IDLE"));
  CHECK(published.at("HostConfig").at("PortBindings").at("49983/tcp")[0].at("HostIp") ==
        "127.0.0.1");
}

TEST_CASE("docker container: secrets never stand in the container's description") {
  hf::launch_options o;
  o.secrets = {{"PASSWORD", "hunter2"}};
  container_plan plan;
  plan.environment_file = "/.hf-sandbox/run/env";
  auto const body = body_of(o, {}, plan);
  CHECK(body.dump().find("hunter2") == std::string::npos);
  CHECK(has_item(body.at("Env"), "SBX_ENV_FILE=/.hf-sandbox/run/env"));
}

TEST_CASE("docker container: host directories are mounted read-only unless asked otherwise") {
  hf::launch_options o;
  o.volumes = {
      {.type = "bind", .source = "/data", .mount_path = "/in"},
      {.type = "bind", .source = "/d", .mount_path = "/out", .path = "sub", .read_only = false},
      {.type = "volume", .source = "cache", .mount_path = "/cache"}};
  check_launch_options(o);
  auto const mounts = body_of(o).at("HostConfig").at("Mounts");
  REQUIRE(mounts.size() == 3);
  CHECK(mounts[0] ==
        json{{"Type", "bind"}, {"Source", "/data"}, {"Target", "/in"}, {"ReadOnly", true}});
  CHECK(mounts[1].at("Source") == "/d/sub");
  CHECK(mounts[1].at("ReadOnly") == false);
  CHECK(mounts[2] ==
        json{{"Type", "volume"}, {"Source", "cache"}, {"Target", "/cache"}, {"ReadOnly", false}});
}

TEST_CASE("docker container: no network means no network") {
  hf::launch_options o;
  o.network = false;
  hf::docker_options options;
  options.network = "mine";
  CHECK(body_of(o, options).at("HostConfig").at("NetworkMode") == "none");
  o.network = true;
  CHECK(body_of(o, options).at("HostConfig").at("NetworkMode") == "mine");
}

TEST_CASE("docker container: labels are those of the Hub") {
  hf::launch_options o;
  o.labels = {{"team", "x"}};
  auto const labels = body_of(o).at("Labels");
  CHECK(labels == json{{"hf-sandbox", "1"},
                       {"hf-sandbox-mode", "dedicated"},
                       {"hf-sandbox-nonce", "n0"},
                       {"team", "x"}});
}

TEST_CASE("docker container: fields that cannot be honoured are refused by name") {
  using hf::errc;
  CHECK(refusal([](auto& o) { o.name_space = "me"; }, "name_space") == errc::unsupported);
  CHECK(refusal([](auto& o) { o.image = "hf.co/spaces/a/b"; }, "image") == errc::unsupported);
  CHECK(
      refusal([](auto& o) { o.volumes = {{.type = "bucket", .source = "b", .mount_path = "/b"}}; },
              "volumes") == errc::unsupported);
  CHECK(refusal(
            [](auto& o) {
              o.volumes = {
                  {.type = "volume", .source = "b", .mount_path = "/b", .revision = "main"}};
            },
            "volumes") == errc::unsupported);
  CHECK(refusal([](auto& o) { o.volumes = {{.type = "bind", .source = "b", .mount_path = "/b"}}; },
                "volumes") == errc::invalid_argument);
  CHECK(refusal(
            [](auto& o) {
              o.volumes = {{.type = "bind", .source = "/b", .mount_path = "/.hf-sandbox/agent"}};
            },
            "volumes") == errc::invalid_argument);
  CHECK(refusal([](auto& o) { o.env = {{"SBX_TOKEN", "x"}}; }, "env") == errc::invalid_argument);
  CHECK(refusal([](auto& o) { o.secrets = {{"A=B", "x"}}; }, "secrets") == errc::invalid_argument);
  CHECK(refusal(
            [](auto& o) {
              o.labels = {{"hf-sandbox", "x"}};
            },
            "labels") == errc::invalid_argument);
  CHECK(refusal([](auto& o) { o.timeout = std::chrono::seconds(0); }, "timeout") ==
        errc::invalid_argument);
  CHECK(refusal([](auto& o) { o.idle_timeout = std::chrono::seconds(-1); }, "idle_timeout") ==
        errc::invalid_argument);
  CHECK(refusal([](auto&) {}, "") == errc{});
}

TEST_CASE("docker container: an inspected container tells phase, labels and address") {
  auto const running = json::parse(R"({
    "Id": "abc", "State": {"Status": "running"},
    "Config": {"Labels": {"hf-sandbox": "1"}, "Env": ["PATH=/bin", "SBX_TOKEN=t0=x"]},
    "Mounts": [{"Type": "bind", "Source": "/tmp/x/run", "Destination": "/.hf-sandbox/run"}],
    "NetworkSettings": {"Ports": {"49983/tcp": [{"HostIp": "127.0.0.1", "HostPort": "4711"}]},
                        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}}}})");
  auto const machine = describe(running);
  CHECK(machine.id == "abc");
  CHECK(machine.phase == hf::phase::running);
  CHECK(is_sandbox(machine.labels));
  CHECK(environment_value(running, "SBX_TOKEN") == "t0=x");
  CHECK(environment_value(running, "SBX").empty());
  CHECK(socket_mount_of(running) == "/tmp/x/run");
  engine_address engine;
  engine.unix_socket = "/var/run/docker.sock";
  CHECK(tcp_url_of(running, engine) == "http://127.0.0.1:4711");

  auto address = running;
  address["NetworkSettings"]["Ports"] = json::object();
  CHECK(tcp_url_of(address, engine) == "http://172.17.0.2:49983");

  auto const ended = describe(
      json::parse(R"({"Id":"a","State":{"Status":"exited","ExitCode":137,"OOMKilled":true}})"));
  CHECK(ended.phase == hf::phase::ended);
  CHECK(ended.message == "container is exited, exit code 137, out of memory");
  CHECK_FALSE(is_sandbox(ended.labels));
}

TEST_CASE("docker container: a port published everywhere is reached at the engine's host") {
  auto const description = json::parse(
      R"({"NetworkSettings":{"Ports":{"49983/tcp":[{"HostIp":"0.0.0.0","HostPort":"1"}]}}})");
  engine_address remote;
  remote.url = "https://engine.example:2376";
  CHECK(tcp_url_of(description, remote) == "http://engine.example:1");
}

TEST_CASE("docker engine: versions are numbers, not text") {
  api_version older;
  api_version newer;
  REQUIRE(api_version::parse("1.9", older));
  REQUIRE(api_version::parse("1.41", newer));
  CHECK(older < newer);
  CHECK(newer.text() == "1.41");
  for (char const* const bad : {"", "1", "1.", "a.b", "1.41x"})
    CHECK_FALSE(api_version::parse(bad, older));
}
