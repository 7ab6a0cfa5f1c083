#include "launcher_suite.hpp"
#include "support/docker/engine.hpp"

#include <hf/sandbox/launchers/docker.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <string>
#include <utility>
#include <vector>

namespace {

using namespace hf::testing_support;

struct docker_place {
  using transport_type = hf::curl_transport;
  using launcher_type = hf::docker_launcher;

  docker_test test;

  static std::string unavailable() { return why_no_engine(); }

  [[nodiscard]] hf::docker_launcher launcher() const { return test.launcher(); }
  [[nodiscard]] hf::curl_transport transport() const { return {}; }
  [[nodiscard]] hf::launch_options options() const { return test.options(python_image); }
  [[nodiscard]] std::size_t left() { return test.containers(); }
  [[nodiscard]] std::vector<std::pair<hf::launch_options, std::string>> refused() const {
    auto bucket = options();
    bucket.volumes = {{.type = "bucket", .source = "user/data", .mount_path = "/data"}};
    auto owner = options();
    owner.name_space = "organisation";
    auto accelerator = options();
    accelerator.flavor = "a100-large";
    auto space = options();
    space.image = "hf.co/spaces/user/space";
    return {{bucket, "volumes"}, {owner, "name_space"}, {accelerator, "flavor"}, {space, "image"}};
  }
};

}  // namespace

HF_SANDBOX_LAUNCHER_SUITE("docker", docker_place);
