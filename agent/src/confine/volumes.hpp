#ifndef HF_SANDBOX_AGENT_CONFINE_VOLUMES_HPP
#define HF_SANDBOX_AGENT_CONFINE_VOLUMES_HPP

#include "confine/report.hpp"
#include "confine/settings.hpp"

#include <string>
#include <vector>

namespace hf::agent::confine {

// Code in an earlier sandbox, or in one that runs now, may have written to a volume: a name in it
// can be a symbolic link that leads anywhere, and can be exchanged at any moment. So sources and
// targets are opened one component after the other, mounted through the descriptors, and nothing
// is ever created or truncated in a volume.

/// The real path of a volume's source, without a symbolic link on the way. Links that root made are
/// followed, for no sandbox runs as root; any other is refused. Returns why not, empty when all is
/// well. To be called on the host, as the user that runs the sandbox.
[[nodiscard]] std::string resolve_source(std::string const& source, std::string& resolved);

/// The volumes with their real sources, those whose target lies in another's after that one. Ends
/// the process when a source cannot be reached or leads through a link, naming it.
[[nodiscard]] std::vector<volume> resolve_volumes(std::vector<volume> volumes,
                                                  report const& status);

/// What is kept from sight: as `hidden_directories`, where it lies in a volume.
struct hidden_in_volume {
  std::string source;
  std::string target;
};
[[nodiscard]] std::vector<hidden_in_volume> hidden_in(volume const& v,
                                                      std::vector<std::string> const& hidden);

/// Mounts the volumes below `root`, the private root under construction, whose system directories
/// are in place already. A target that is missing is made where this sandbox's own files are, and
/// is refused by name in a volume or in a system directory. `hidden` (real paths) is covered.
void show_volumes(std::vector<volume> const& volumes, std::vector<std::string> const& hidden,
                  char const* root, report const& status);

/// Whether commands may have unix sockets beside these volumes: in a directory of the host there
/// may be sockets to connect to, which no path rule of this kernel keeps apart from other files.
/// A volume that is a socket asks for it.
[[nodiscard]] bool unix_sockets_beside(std::vector<volume> const& volumes);

}  // namespace hf::agent::confine

#endif
