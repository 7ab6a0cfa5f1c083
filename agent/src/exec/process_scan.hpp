#ifndef HF_SANDBOX_AGENT_EXEC_PROCESS_SCAN_HPP
#define HF_SANDBOX_AGENT_EXEC_PROCESS_SCAN_HPP

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hf::agent {

/// The variable that marks every process of a run, unless it is wiped.
inline constexpr char run_marker_variable[] = "SBX_RUN";

/// What /proc/<pid>/stat says of a process.
struct process_info {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';
  /// Clock ticks since boot.
  std::uint64_t started = 0;

  [[nodiscard]] bool dead() const noexcept { return state == 'Z' || state == 'X'; }
};

/// One process; nothing when it is gone.
[[nodiscard]] std::optional<process_info> look_at_process(pid_t pid);
/// All processes; empty when /proc is not there.
[[nodiscard]] std::vector<process_info> scan_processes();
/// The value of the marker in a process's environment; nothing when it has none or may not be read.
/// Can take as long as the process likes: see `marker_reader`.
[[nodiscard]] std::optional<std::string> read_run_marker(pid_t pid);
/// Clock ticks since boot, comparable to `process_info::started`.
[[nodiscard]] std::uint64_t ticks_now();

/// Sends a signal to exactly this process, not to a later one with its pid. False when it is gone.
bool signal_process(process_info const& process, int signal);

}  // namespace hf::agent

#endif
