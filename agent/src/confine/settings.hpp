#ifndef HF_SANDBOX_AGENT_CONFINE_SETTINGS_HPP
#define HF_SANDBOX_AGENT_CONFINE_SETTINGS_HPP

#include <string>
#include <vector>

namespace hf::agent::confine {

/// How much a sandbox is kept from the machine it runs on.
enum class mode { private_root, landlock_only, none };

/// A host directory or file shown inside.
struct volume {
  bool read_only = true;
  std::string source;
  std::string target;
  /// S_IFMT bits of the source when it was looked at; 0: not yet.
  unsigned kind = 0;
};

/// The flags of a start by the process launcher.
struct settings {
  confine::mode mode = confine::mode::private_root;
  /// Directory of `agent.sock`, `token` and `log`; absolute, out of reach of the commands.
  std::string state;
  /// Directory that holds everything the commands write; absolute, made by the launcher, empty.
  std::string scratch;
  /// A further name of the state directory, to be removed with it; may be empty.
  std::string alias;
  int lifeline_fd = -1;
  int status_fd = -1;
  int lock_fd = -1;
  /// The home of the user that starts the sandbox; may be empty.
  std::string home;
  /// Seconds until the sandbox is ended; 0: never.
  long lifetime = 0;
  bool network = true;
  /// The directory above the state directory goes with its last sandbox.
  bool remove_base = false;
  std::vector<volume> volumes;
  /// Where the flags lie in memory: what commands could read in the agent's command line.
  std::vector<char*> consumed;
};

/// Whether `argv` asks for confinement at all.
[[nodiscard]] bool asked_for(int argc, char** argv);

/// Takes the flags out of `argv`; returns a sentence about what is wrong, empty when all is well.
[[nodiscard]] std::string parse_settings(int& argc, char** argv, settings& into);

}  // namespace hf::agent::confine

#endif
