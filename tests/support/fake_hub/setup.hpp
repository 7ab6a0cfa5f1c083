#ifndef HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_SETUP_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_SETUP_HPP

#include "support/fake_hub/fake_hub.hpp"

#include <hf/sandbox/launchers/hf_jobs_options.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hf::testing_support {

/// An environment of a test's own: nothing but these variables.
inline hub::environment made_environment(std::map<std::string, std::string> variables) {
  auto const shared = std::make_shared<std::map<std::string, std::string>>(std::move(variables));
  return [shared](std::string const& name) -> std::optional<std::string> {
    auto const it = shared->find(name);
    return it == shared->end() ? std::nullopt : std::optional<std::string>(it->second);
  };
}

/// Launcher settings for a double: its agent, quick repetition, no usage events.
inline hf_jobs_options options_for(fake_hub const& hub,
                                   std::map<std::string, std::string> variables = {}) {
  hf_jobs_options options;
  options.token = hub.token();
  options.endpoint = hub.url();
  options.agent = agent_source::url(hub.agent_url(), hub.agent_sha256());
  options.telemetry = false;
  options.retries.first = std::chrono::milliseconds(20);
  options.retries.longest = std::chrono::milliseconds(200);
  options.retries.late = std::chrono::milliseconds(100);
  options.env = made_environment(std::move(variables));
  return options;
}

}  // namespace hf::testing_support

#endif
