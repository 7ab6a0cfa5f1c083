#ifndef HF_SANDBOX_AGENT_FILES_ROOT_HPP
#define HF_SANDBOX_AGENT_FILES_ROOT_HPP

#include "detail/unique_fd.hpp"

#include <sys/types.h>

#include <optional>
#include <string>

namespace hf::agent {

/// Where the paths of file calls lead, and what is created there.
struct file_root {
  /// Whom created files and directories are given to.
  struct ids {
    uid_t user;
    gid_t group;
  };

  /// Directory that all paths are below ("/x" and "../x" mean "x" in it), where no symbolic link is
  /// ever followed. None: the whole machine, paths as given, links followed.
  unique_fd home = {};
  /// Absolute path of `home`, for answers.
  std::string home_path = {};
  /// Nothing: the agent's own.
  std::optional<ids> owner = {};
  /// Permissions of what is created.
  mode_t file_mode = 0644;
  mode_t directory_mode = 0755;

  [[nodiscard]] bool confined() const noexcept { return static_cast<bool>(home); }
};

}  // namespace hf::agent

#endif
