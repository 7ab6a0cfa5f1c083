#ifndef HF_SANDBOX_AGENT_EXEC_SETTINGS_HPP
#define HF_SANDBOX_AGENT_EXEC_SETTINGS_HPP

#include "exec/log_budget.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hf::agent {

/// Bounds of the commands' part of the agent.
struct exec_settings {
  log_limits log = {};
  /// Memory and disk of all logs together, in bytes. The disk's is further bounded by a tenth of
  /// what is free.
  std::uint64_t memory = 256u << 20;
  std::uint64_t disk = std::uint64_t{8} << 30;
  /// How long a run goes on without its caller, where the request does not say.
  std::chrono::milliseconds linger{60'000};
  /// How long the results of ended runs are kept, and how many.
  std::chrono::milliseconds results{600'000};
  std::size_t max_results = 100'000;
  /// Memory for the output of ended runs that was delivered, kept for a caller that was cut off.
  std::uint64_t delivered_memory = 64u << 20;
  /// Ended background processes that stay in the list.
  std::size_t listed = 256;
  /// Silence after which a stream says that it is alive.
  std::chrono::milliseconds ping{15'000};
  /// How long output may be awaited when the command has ended and its pipes are still open.
  std::chrono::milliseconds drain{2'000};
};

}  // namespace hf::agent

#endif
