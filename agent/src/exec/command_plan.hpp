#ifndef HF_SANDBOX_AGENT_EXEC_COMMAND_PLAN_HPP
#define HF_SANDBOX_AGENT_EXEC_COMMAND_PLAN_HPP

#include "detail/unique_fd.hpp"
#include "exec/spawn.hpp"
#include "http/exchange.hpp"

#include <hf/sandbox/wire/exec.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace hf::agent {

/// What every command of an agent, or of one sandbox in it, starts from.
struct command_base {
  /// "NAME=value" each.
  std::vector<std::string> environment = {};
  /// Where commands run that name no directory; empty: the agent's own.
  std::string cwd = {};
  /// Who commands run as unless the request says otherwise; nothing: the agent's user.
  std::optional<identity> user = {};
  /// Whether a request may choose the user.
  bool may_choose_user = true;
  /// Limits that hold before those of the request.
  std::vector<std::pair<int, std::uint64_t>> limits = {};
  int landlock_ruleset = -1;
  bool no_new_privileges = false;
  void const* seccomp_filter = nullptr;
  bool drop_capabilities = false;
  /// Whether each command leads a session of its own.
  bool new_session = false;
  /// Score for the kernel's choice of what to end when memory runs out (-1000 to 1000).
  std::optional<int> oom_score = {};
  /// Scheduling priority; a request can only add to it.
  int nice = 0;
  /// Whether a request may go beyond `limits` and below `nice`.
  bool may_raise_limits = true;
  /// Whether every run has a helper that its descendants stay below, also those that leave its
  /// session: for runs whose markers the agent may not read.
  bool always_attributed = false;
};

/// The agent's environment without what is not for commands.
[[nodiscard]] std::vector<std::string> inherited_environment();

/// A plan and the descriptor that it refers to.
struct command_plan {
  spawn_plan plan = {};
  /// The script of a command that is too long for an argument.
  unique_fd script = {};
};

/// The plan of a request, its standard streams left open. `user` is who the request's `user` means
/// (`find_user`). Throws `http_error`.
[[nodiscard]] command_plan make_plan(wire::exec_request const& request, command_base const& base,
                                     std::string const& marker,
                                     std::optional<identity> const& user = {});

/// The answer to a failed start: 400 `exec_failed`, or 503 when the machine is at its limits.
[[nodiscard]] http_error start_error(std::string const& program, spawn_failure const& failure);

}  // namespace hf::agent

#endif
