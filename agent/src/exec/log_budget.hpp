#ifndef HF_SANDBOX_AGENT_EXEC_LOG_BUDGET_HPP
#define HF_SANDBOX_AGENT_EXEC_LOG_BUDGET_HPP

#include <cstdint>

namespace hf::agent {

/// What the output logs of some runs together use and may use, in bytes: of all runs, or of those
/// of one sandbox among several, which count against the whole as well.
struct log_budget {
  std::uint64_t memory_limit = 256u << 20;
  std::uint64_t disk_limit = std::uint64_t{8} << 30;
  std::uint64_t memory_used = 0;
  std::uint64_t disk_used = 0;
  /// The budget of all, for that of one sandbox.
  log_budget* whole = nullptr;

  [[nodiscard]] bool memory_short() const noexcept {
    return memory_used > memory_limit || (whole != nullptr && whole->memory_short());
  }
  [[nodiscard]] bool disk_has(std::uint64_t bytes) const noexcept {
    return disk_used + bytes <= disk_limit && (whole == nullptr || whole->disk_has(bytes));
  }
  void add_memory(std::uint64_t bytes) noexcept {
    for (log_budget* one = this; one != nullptr; one = one->whole)
      one->memory_used += bytes;
  }
  void remove_memory(std::uint64_t bytes) noexcept {
    for (log_budget* one = this; one != nullptr; one = one->whole)
      one->memory_used -= bytes;
  }
  void add_disk(std::uint64_t bytes) noexcept {
    for (log_budget* one = this; one != nullptr; one = one->whole)
      one->disk_used += bytes;
  }
  void remove_disk(std::uint64_t bytes) noexcept {
    for (log_budget* one = this; one != nullptr; one = one->whole)
      one->disk_used -= bytes;
  }
};

/// What one run's log may use, in bytes.
struct log_limits {
  /// Unread output at which the run's pipes are not read on while a reader is attached.
  std::uint64_t backlog = 16u << 20;
  /// Delivered output that is kept for a caller whose connection broke.
  std::uint64_t replay_window = 32u << 20;
  /// Memory of a run without a reader; what is older goes to the spill file.
  std::uint64_t memory = 16u << 20;
  /// The spill file.
  std::uint64_t spill = 1u << 30;
};

}  // namespace hf::agent

#endif
