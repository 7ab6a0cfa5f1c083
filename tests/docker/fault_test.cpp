#include "support/docker/engine.hpp"

#include <hf/sandbox/testing/fault_transport.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <string>

using namespace hf::testing_support;

TEST_CASE("on a real engine, a connection that breaks at any step leaves no container") {
  auto settings = docker_settings();
  settings.reach = GENERATE(hf::docker_reach::unix_socket, hf::docker_reach::published_port);
  settings.injection = settings.reach == hf::docker_reach::unix_socket
                           ? hf::docker_injection::bind_mount
                           : hf::docker_injection::archive;
  docker_test test(settings);
  hf::testing::fault_transport<hf::curl_transport> transport;
  auto const options = test.options();
  int failures = 0;
  int step = 1;
  for (; step < 60; ++step) {
    CAPTURE(step);
    auto launcher = test.launcher();
    transport.plan(static_cast<std::uint64_t>(step));
    std::string id;
    try {
      id = launcher.launch(transport, options).id;
    } catch (hf::error const& e) {
      INFO(e.what());
      ++failures;
      CHECK(e.hop() == hf::hop::docker);
      CHECK(test.containers() == 0);
    }
    bool const fired = transport.fired();
    transport.clear();
    if (!id.empty())
      launcher.stop(transport, id);
    CHECK(test.containers() == 0);
    if (!fired)
      break;
  }
  CHECK(step < 60);
  CHECK(failures > 5);
}
