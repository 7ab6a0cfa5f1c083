#ifndef HF_SANDBOX_AGENT_EXEC_SPAWN_HPP
#define HF_SANDBOX_AGENT_EXEC_SPAWN_HPP

#include "detail/unique_fd.hpp"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hf::agent {

/// Who a command runs as.
struct identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
  /// The home directory; "/" for who is not in /etc/passwd.
  std::string home = "/";
};

/// All that a new process needs; nothing is looked up after the fork.
struct spawn_plan {
  /// Program and arguments; not empty.
  std::vector<std::string> argv = {};
  /// "NAME=value" each. Its PATH is where the program is searched.
  std::vector<std::string> env = {};
  /// Working directory; empty: the agent's.
  std::string cwd = {};
  std::optional<identity> user = {};
  /// RLIMIT_* numbers and values, soft and hard alike.
  std::vector<std::pair<int, std::uint64_t>> limits = {};
  std::optional<int> nice = {};
  /// For /proc/self/oom_score_adj.
  std::optional<int> oom_score = {};
  /// Descriptors for the command's standard streams, each above 2.
  int in = -1;
  int out = -1;
  int err = -1;
  /// A descriptor that the command keeps under its number; -1: none.
  int keep = -1;
  /// Confinement of pooled sandboxes: a Landlock ruleset to enter; -1: none.
  int landlock_ruleset = -1;
  bool no_new_privileges = false;
  /// A classic BPF program (`sock_fprog`) for seccomp; null: none.
  void const* seccomp_filter = nullptr;
  /// A session of its own, not only a process group: within one session anybody may send SIGCONT.
  bool new_session = false;
  /// Drops every capability, also out of the bounding set.
  bool drop_capabilities = false;
};

/// What is known of a program that the kernel did not execute, beside the error.
enum class program_fault : std::int32_t {
  none,
  /// It is there: the program named in its first line, or its dynamic loader, is not.
  interpreter_missing,
  directory,
  /// No execute permission is set for anybody.
  not_executable,
  /// A file without content.
  empty,
  /// Neither a script nor a program for this machine.
  foreign,
};

/// Why nothing was started.
struct spawn_failure {
  /// chdir, exec, limits, user, landlock, fork.
  std::string_view stage;
  int error = 0;
  program_fault fault = program_fault::none;

  /// The machine lacks processes, descriptors or memory; the command is not to blame.
  [[nodiscard]] bool exhausted() const noexcept;
};

/// A process that runs in a process group of its own.
struct spawned {
  pid_t pid = -1;
  /// With a helper: its pid and the pipe it reports to (`helper_record`).
  pid_t helper = -1;
  unique_fd reports = {};
};

/// What a helper writes to its pipe, whole.
struct helper_record {
  enum class kind : std::int32_t { leader_ended = 1, all_gone = 2 };
  kind what;
  /// As in siginfo_t.
  std::int32_t code;
  std::int32_t status;
};

/// How often a process that the agent needs may be stopped by somebody until it is killed: without
/// an end, who stops it again and again would keep the agent busy.
inline constexpr int tolerated_stops = 20;

/// Lets a stopped child go on, or kills it when that has happened too often. `stops` counts.
void resume_or_kill(pid_t child, int& stops);

/// To be called when a process has been waited for: if it was a helper, its stack is free again.
void recycle_stack(pid_t process);

/// The program of the plan as it is found in the PATH of its environment: what to try, in order.
[[nodiscard]] std::vector<std::string> program_candidates(std::string const& program,
                                                          std::vector<std::string> const& env);

/// The number of a resource limit by its name ("nofile", "as", ...).
[[nodiscard]] std::optional<int> limit_by_name(std::string_view name);

/// The longest argument or variable that the kernel takes, its NUL included.
inline constexpr std::size_t max_argument = 128 * 1024;

}  // namespace hf::agent

#endif
