#ifndef HF_SANDBOX_AGENT_HOST_SANDBOX_HPP
#define HF_SANDBOX_AGENT_HOST_SANDBOX_HPP

#include "exec/service.hpp"
#include "files/root.hpp"
#include "lifetime/activity.hpp"

#include <hf/sandbox/wire/sandboxes.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace hf::agent {

/// One sandbox among several: a user id, a home, a Landlock domain, a token, a table of runs. Lives
/// as long as somebody works with it; on the event loop's thread.
struct sandbox {
  /// What its runs are charged to; a run can outlive its sandbox by a moment.
  struct account {
    hf::agent::activity activity;
    log_budget budget;
  };

  sandbox(exec_core& core, std::shared_ptr<account> charged, command_base base)
      : charged_to(std::move(charged)),
        commands(core, {&charged_to->activity, &charged_to->budget, charged_to}, std::move(base)) {}

  [[nodiscard]] wire::sandbox_entry entry() const {
    wire::sandbox_entry entry;
    entry.id = id;
    entry.uid = static_cast<std::int64_t>(uid);
    entry.home = files->home_path;
    entry.confinement = ruleset ? "landlock" : "uid-only";
    return entry;
  }

  /// 16 hexadecimal digits.
  std::string id;
  /// 256 random bits as 64 hexadecimal digits.
  std::string token;
  uid_t uid = 0;
  std::int64_t created_at_ms = 0;
  /// Zero: never.
  std::chrono::seconds idle_timeout{0};
  std::shared_ptr<account> charged_to;
  std::shared_ptr<file_root const> files;
  unique_fd ruleset;
  exec_service commands;
  /// While the sandbox is registered, the agent is not idle.
  std::optional<hf::agent::activity::guard> presence;
};

}  // namespace hf::agent

#endif
