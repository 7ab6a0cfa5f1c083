#ifndef HF_SANDBOX_AGENT_EXEC_SWEEP_HPP
#define HF_SANDBOX_AGENT_EXEC_SWEEP_HPP

#include "exec/process_scan.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace hf::agent {

/// By what the processes of a run are recognised.
struct sweep_target {
  /// The command; its pid is also its group's.
  pid_t leader = 0;
  /// Whether the leader has been waited for, so that its pid may mean another process.
  bool leader_gone = false;
  /// The helper, whose descendants belong to the run; 0: none.
  pid_t helper = 0;
  /// Value of the marker variable.
  std::string marker = {};
  /// No process of the run is older (ticks since boot).
  std::uint64_t since = 0;
};

struct sweep_result {
  /// Processes that got the signal.
  std::size_t signalled = 0;
  /// Processes of the run that are still alive.
  std::size_t alive = 0;
  /// Orphans that came to the agent during the run and bear no mark: they may belong to it. Only
  /// looked for when the run has no helper, or has lost it. Helpers and commands of the agent are
  /// among them.
  std::vector<process_info> orphans = {};
  /// Nothing could be seen: there is no /proc.
  bool blind = false;
};

/// Of `all` the processes that belong to the run, without the helper; zombies left out.
[[nodiscard]] std::vector<process_info> members_of(sweep_target const& target,
                                                   std::vector<process_info> const& all,
                                                   pid_t agent);

/// Sends a signal once to every process of the run. Blocks while it reads /proc.
[[nodiscard]] sweep_result signal_tree(sweep_target const& target, int signal);

/// Kills every process of the run, again and again until none is left or the time is over. Blocks.
[[nodiscard]] sweep_result kill_tree(sweep_target const& target,
                                     std::chrono::milliseconds patience);

/// Sends a signal (0: none) to every descendant of `root` and returns how many there are. Blocks.
std::size_t signal_descendants(pid_t root, int signal);

/// Kills every descendant of `root`, but for `root` itself, until none is left or the time is over.
/// Returns how many are. Blocks.
std::size_t kill_descendants(pid_t root, std::chrono::milliseconds patience);

}  // namespace hf::agent

#endif
