#ifndef HF_SANDBOX_AGENT_HOST_SETTINGS_HPP
#define HF_SANDBOX_AGENT_HOST_SETTINGS_HPP

#include <cstddef>
#include <string>

namespace hf::agent {

/// Bounds of an agent that holds many sandboxes (host mode).
struct host_settings {
  /// Whether this agent is one.
  bool enabled = false;
  /// Sandboxes at once.
  std::size_t capacity = 64;
  /// Oldest Landlock ABI of the kernel that the agent starts with.
  int min_landlock_abi = 6;
  /// Accepts sandboxes that are kept apart by their user ids only.
  bool allow_unconfined = false;
  /// Directory of the sandboxes' homes.
  std::string homes = "/sbx/homes";
};

}  // namespace hf::agent

#endif
