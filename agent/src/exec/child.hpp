#ifndef HF_SANDBOX_AGENT_EXEC_CHILD_HPP
#define HF_SANDBOX_AGENT_EXEC_CHILD_HPP

#include "exec/spawn.hpp"

#include <sys/resource.h>

#include <cstdint>

namespace hf::agent {

/// Step numbers of a failure on their way through the pipe.
enum class spawn_step : std::int32_t { fork, limits, user, landlock, chdir, exec };
[[nodiscard]] std::string_view to_string(spawn_step step);

/// What the processes of a start write to the agent, whole.
struct spawn_report {
  enum class kind : std::int32_t { failed = 1, started = 2 };
  kind what;
  /// The failed step, or the pid.
  std::int32_t value;
  std::int32_t error;
  program_fault fault;
};

/// The plan as the child needs it: plain arrays, nothing to allocate.
struct child_plan {
  spawn_plan const* plan;
  char* const* argv;
  char* const* envp;
  char const* const* candidates;
  /// For a file that is no binary: { "/bin/sh", <to fill in>, arguments... }.
  char const** shell_argv;
  rlimit64 const* limits;
  /// What goes to /proc/self/oom_score_adj; empty: nothing.
  char oom_score[8];
  /// Where failures go; close-on-exec.
  int report;
  /// Whether the new process reports its own pid there: who starts it may be killed before he can.
  bool tells_pid;
  /// The number under which the command keeps the plan's `keep`.
  int keep_as;
  /// Where the process says that it has left the agent's descriptor table; null: it has its own.
  std::int32_t* left_table;
};

/// Leaves the agent's descriptor table with a copy of its low numbers (`start_slots`), and says so.
void leave_table(child_plan const& child);

/// Closes every descriptor above 2 but those, sorting them; negative ones count for nothing. All of
/// the agent's are close-on-exec, but a program can be long in coming, and who waits for the end of
/// another command's input must not wait for it. What the agent has inherited goes, too.
void close_all_but(int* kept, int count);

/// Becomes the command. Runs in the new process, which may share the agent's memory: only system
/// calls. Does not return.
int run_child(void* plan);

struct helper_plan {
  child_plan child;
  /// Write end of the pipe of `helper_record`s.
  int records;
  /// Descriptors to close when the kernel has no close_range.
  int highest_fd;
  /// The command's pid, from the moment there is one; 0 where memory is not shared.
  pid_t started;
};

/// Starts the command and stays behind as the parent of its descendants. Runs in a process that may
/// share the agent's memory for good. Does not return.
int run_helper(void* plan);

}  // namespace hf::agent

#endif
