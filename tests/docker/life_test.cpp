#include "support/docker/engine.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/docker/tar.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

using namespace hf::testing_support;

namespace {

/// The directory of this machine that a container has its socket in.
std::filesystem::path directory_of(nlohmann::json const& description) {
  return hf::detail::docker::socket_mount_of(description).parent_path();
}

}  // namespace

TEST_CASE("terminate removes the container, its anonymous volumes and its directory") {
  docker_test test;
  auto& probe = test.probe();
  // An image whose one directory is a volume.
  std::string const image = "hf-sandbox-test/volume-" + hf::detail::random_hex(4);
  // Gone after the test, also when it fails.
  struct image_guard {
    engine_probe& probe;
    std::string name;
    ~image_guard() {
      try {
        probe.call("DELETE", "/images/" + name + "?force=1");
      } catch (...) {
      }
    }
  } const guard{probe, image};
  hf::detail::docker::tar_writer files;
  files.directory("data", 0755);
  auto const made = probe.call(
      "POST",
      "/images/create" +
          hf::http::encode_query({{"fromSrc", "-"}, {"repo", image}, {"changes", "VOLUME /data"}}),
      std::move(files).finish(), "application/x-tar");
  REQUIRE(made.first == 200);
  {
    auto sb = test.create(test.options(image));
    sb.write_file("/data/x", "y");
    std::string volume;
    auto const description = probe.inspect(sb.id());
    for (auto const& mount : description.at("Mounts"))
      if (mount.at("Type") == "volume")
        volume = mount.at("Name");
    auto const directory = directory_of(description);
    REQUIRE_FALSE(volume.empty());
    CHECK(probe.call("GET", "/volumes/" + volume).first == 200);
    CHECK(std::filesystem::exists(directory));
    sb.terminate();
    CHECK_FALSE(probe.exists(sb.id()));
    CHECK(probe.call("GET", "/volumes/" + volume).first == 404);
    CHECK_FALSE(std::filesystem::exists(directory));
    sb.terminate();
  }
}

TEST_CASE("a container whose creator is gone ends itself by its idle timeout") {
  docker_test test;
  auto options = test.options();
  options.idle_timeout = std::chrono::seconds(4);
  std::string id;
  {
    // As good as killed: nothing of it runs at the end.
    hf::curl_transport transport;
    auto launcher = test.launcher();
    id = launcher.launch(transport, options).id;
  }
  auto const directory = directory_of(test.probe().inspect(id));
  CHECK(std::filesystem::exists(directory));
  CHECK(eventually([&] { return !test.probe().exists(id); }));
  // What is left on this machine goes with a list, once it is older than any start.
  std::filesystem::last_write_time(
      directory, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(5));
  static_cast<void>(docker_sandbox::list({}, test.launcher()));
  CHECK_FALSE(std::filesystem::exists(directory));
}

TEST_CASE("a container lives no longer than its timeout, whatever it does") {
  docker_test test;
  auto options = test.options();
  options.timeout = std::chrono::seconds(2);
  options.idle_timeout = std::chrono::seconds(0);
  auto sb = test.create(options);
  try {
    static_cast<void>(sb.exec({"/bin/busybox", "sleep", "600"}));
  } catch (hf::error const& e) {
    INFO(to_string(e.kind()) << ": " << e.what());
    CHECK((e.kind() == hf::errc::sandbox_expired || e.kind() == hf::errc::connection_lost));
  }
  CHECK(eventually([&] { return !test.probe().exists(sb.id()); }));
}

TEST_CASE("sandboxes are listed and ended by their labels") {
  docker_test test;
  auto client = std::make_shared<docker_sandbox::client_type>(test.launcher());
  auto one = test.options();
  one.labels["kind"] = "a";
  auto two = test.options();
  two.labels["kind"] = "b";
  auto first = docker_sandbox::create(client, one);
  auto second = docker_sandbox::create(client, two);

  auto filter = test.filter();
  CHECK(docker_sandbox::list(client, filter).size() == 2);
  filter["kind"] = "b";
  auto const found = docker_sandbox::list(client, filter);
  REQUIRE(found.size() == 1);
  CHECK(found[0].id == second.id());
  CHECK(found[0].labels.at("hf-sandbox-mode") == "dedicated");

  CHECK(docker_sandbox::terminate_all(client, test.filter()) == 2);
  CHECK(docker_sandbox::list(client, test.filter()).empty());
  CHECK(test.containers() == 0);
  try {
    static_cast<void>(docker_sandbox::connect(client, first.id()));
    FAIL("connected");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::not_found);
  }
}

TEST_CASE("a container that cannot start its agent is reported with its log") {
  auto settings = docker_settings();
  // A static program that is no agent.
  settings.agent = "/bin/busybox";
  if (!std::filesystem::exists(settings.agent))
    settings.agent = "/usr/bin/busybox";
  if (!is_static(settings.agent))
    SKIP("there is no static busybox to stand in for a broken agent");
  docker_test test(settings);
  try {
    auto sb = test.create();
    FAIL("launched");
  } catch (hf::launch_error const& e) {
    CHECK(e.kind() == hf::errc::launch_failed);
    CHECK(e.stage() == "ready");
    CHECK(e.log_tail().find("applet not found") != std::string::npos);
    CHECK(std::string(e.what()).find("applet not found") != std::string::npos);
  }
  CHECK(test.containers() == 0);
}

TEST_CASE("an agent for another processor is named as such") {
  auto settings = docker_settings();
  char name[] = "/tmp/hf-sandbox-agent-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  auto const broken = std::filesystem::path(name) / "agent";
  // The same file, but its head says it is for a processor that nobody has.
  docker_test probe_first(settings);
  std::filesystem::copy_file(settings.agent, broken);
  {
    std::fstream file(broken, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(18);
    file.put('\x01');
    file.put('\x01');
  }
  std::filesystem::permissions(broken, std::filesystem::perms(0755));
  settings.agent = broken;
  docker_test test(settings);
  try {
    auto sb = test.create();
    FAIL("launched");
  } catch (hf::launch_error const& e) {
    INFO(e.what());
    CHECK(e.kind() == hf::errc::launch_failed);
    CHECK(std::string(e.what()).find("another processor") != std::string::npos);
  }
  CHECK(test.containers() == 0);
  std::filesystem::remove_all(name);
}

TEST_CASE("many sandboxes are created, used and ended at once") {
  docker_test test;
  int const n = scaled(20, 6);
  std::cout << "sandboxes at once: " << n << '\n';
  auto client = std::make_shared<docker_sandbox::client_type>(test.launcher());
  std::vector<std::string> outputs(static_cast<std::size_t>(n));
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i)
    threads.emplace_back([&, i] {
      auto& output = outputs[static_cast<std::size_t>(i)];
      try {
        auto options = test.options();
        options.env = {{"NUMBER", std::to_string(i)}};
        auto sb = docker_sandbox::create(client, options);
        output = sb.exec({"/bin/busybox", "sh", "-c", "echo $NUMBER"}).out;
      } catch (std::exception const& e) {
        output = e.what();
      }
    });
  for (auto& thread : threads)
    thread.join();
  for (int i = 0; i < n; ++i)
    CHECK(outputs[static_cast<std::size_t>(i)] == std::to_string(i) + "\n");
  CHECK(test.containers() == 0);
}

TEST_CASE("a launch that is cancelled leaves nothing behind") {
  docker_test test;
  for (int const delay : {0, 20, 80, 160}) {
    std::stop_source stop;
    auto options = test.options();
    options.stop = stop.get_token();
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(delay));
      stop.request_stop();
    });
    try {
      static_cast<void>(test.create(options));
    } catch (hf::error const& e) {
      CHECK(e.kind() == hf::errc::cancelled);
    }
    canceller.join();
    CHECK(test.containers() == 0);
  }
}

TEST_CASE("a start that takes too long is ended and undone") {
  docker_test test;
  auto options = test.options();
  options.start_timeout = std::chrono::milliseconds(1);
  try {
    static_cast<void>(test.create(options));
    FAIL("launched");
  } catch (hf::error const& e) {
    INFO(e.what());
    CHECK(e.kind() == hf::errc::start_timed_out);
  }
  CHECK(eventually([&] { return test.containers() == 0; }));
}
