#include "launcher_suite.hpp"
#include "support/confined.hpp"

#include <hf/sandbox/launchers/process.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace hf::testing_support;

struct process_place {
  using transport_type = hf::curl_transport;
  using launcher_type = hf::process_launcher;

  public_directory base;
  std::string state = base.path() + "/state";
  std::string scratch = base.path() + "/scratch";

  process_place() { std::filesystem::create_directory(scratch); }

  static std::string unavailable() { return why_not(hf::isolation::private_root); }

  [[nodiscard]] hf::process_launcher launcher() const {
    hf::process_launcher_options options;
    options.state_directory = state;
    options.scratch_directory = scratch;
    return hf::process_launcher(options);
  }
  [[nodiscard]] hf::curl_transport transport() const { return {}; }
  [[nodiscard]] hf::launch_options options() const { return {}; }
  [[nodiscard]] std::size_t left() const {
    std::size_t count = 0;
    for (auto const& directory : {state, scratch})
      if (std::filesystem::exists(directory))
        count += static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(directory), {}));
    return count;
  }
  [[nodiscard]] std::vector<std::pair<hf::launch_options, std::string>> refused() const {
    hf::launch_options bucket;
    bucket.volumes = {{.type = "bucket", .source = "user/data", .mount_path = "/data"}};
    hf::launch_options owner;
    owner.name_space = "organisation";
    hf::launch_options token;
    token.forward_hf_token = true;
    return {{bucket, "volumes"}, {owner, "name_space"}, {token, "forward_hf_token"}};
  }
};

}  // namespace

HF_SANDBOX_LAUNCHER_SUITE("process", process_place);
