#ifndef HF_SANDBOX_AGENT_CONFINE_ENTRY_HPP
#define HF_SANDBOX_AGENT_CONFINE_ENTRY_HPP

namespace hf::agent::confine {

/// What a start by the process launcher leaves for `main`.
struct entry {
  /// Whether the program was started with `--confine=...`; else nothing was done.
  bool launched = false;
  /// The listening unix socket, close-on-exec.
  int listen_fd = -1;
  /// Becomes readable (end of file) when the keeper is gone: then the agent has to end itself.
  int keeper_fd = -1;
  /// The agent is PID 1 of its own pid namespace. It must not handle SIGTERM, SIGINT or SIGHUP
  /// then: without a handler the kernel keeps commands from ending it, and the keeper uses SIGKILL.
  bool own_pid_namespace = false;
};

/// Confines the process as the flags say; to be called first thing in `main`, before any thread.
///
/// Without a first argument `--confine=<mode>` it returns at once. Otherwise it takes its flags out
/// of `argv`, forks a keeper that stays outside and a child that is confined, and returns in that
/// child only, with `SBX_TOKEN`, `HOME`, `USER` and `LOGNAME` in the environment. Every other
/// process, and every failure, ends in here.
[[nodiscard]] entry enter(int& argc, char** argv);

/// The system call filter (a `sock_fprog`) that commands need beyond what the agent has itself;
/// null when there is none. To be installed in the child between fork and exec. Valid for ever.
[[nodiscard]] void const* command_filter() noexcept;

}  // namespace hf::agent::confine

#endif
