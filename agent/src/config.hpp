#ifndef HF_SANDBOX_AGENT_CONFIG_HPP
#define HF_SANDBOX_AGENT_CONFIG_HPP

#include "exec/settings.hpp"
#include "host/settings.hpp"
#include "http/limits.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace hf::agent {

/// Why the agent does not start; the text goes to standard error as it is.
struct config_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Everything that the environment (`SBX_*`) and the flags say; nothing else reads either.
struct config {
  /// TCP port on 0.0.0.0; 0 lets the kernel choose.
  std::uint16_t port = 8000;
  /// Path of a unix socket to listen on instead; empty: TCP.
  std::string socket;
  /// Empty only with `--allow-no-auth`.
  std::string token;
  bool allow_no_auth = false;
  /// Nothing: never.
  std::optional<std::chrono::seconds> idle_timeout;
  /// Longest life from the start on; nothing: no limit.
  std::optional<std::chrono::seconds> lifetime;
  /// Nothing: as many as the descriptor limit allows.
  std::optional<std::size_t> max_connections;
  /// Deadlines and sizes of the front door; the times can be changed by flags for tests.
  limits allowed;
  /// Bounds of the commands' part; changed by flags for tests, but for the spill limit.
  exec_settings exec;
  /// Many sandboxes in one machine.
  host_settings host;

  bool show_version = false;
  bool show_help = false;
};

/// Reads the environment and the arguments. Throws `config_error` for anything malformed. The
/// token's bytes in the process's environment block are overwritten and the variable removed.
config read_config(int argc, char** argv);

/// What `--help` prints.
extern char const* const help_text;

}  // namespace hf::agent

#endif
