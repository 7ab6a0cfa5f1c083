#ifndef HF_SANDBOX_AGENT_CONFINE_HIDDEN_HPP
#define HF_SANDBOX_AGENT_CONFINE_HIDDEN_HPP

#include "confine/settings.hpp"

#include <string>
#include <vector>

namespace hf::agent::confine {

/// Directories that must stay out of reach although they lie in one of the system directories, or
/// are one: homes of the user (a service's may be in /opt), and where sandboxes have their state
/// and what they write. Real paths, without links. To be called as the user that starts the
/// sandbox.
[[nodiscard]] std::vector<std::string> hidden_directories(settings const& how);

/// Directories with the tokens, sockets and files of sandboxes: this one's, and those of other
/// launchers in the usual places. Real paths. To be called as the user that starts the sandbox.
[[nodiscard]] std::vector<std::string> state_directories(settings const& how);

/// Whether a path is this directory or lies below it.
[[nodiscard]] bool is_within(std::string const& path, std::string const& directory);

}  // namespace hf::agent::confine

#endif
