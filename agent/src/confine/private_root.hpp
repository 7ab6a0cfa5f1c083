#ifndef HF_SANDBOX_AGENT_CONFINE_PRIVATE_ROOT_HPP
#define HF_SANDBOX_AGENT_CONFINE_PRIVATE_ROOT_HPP

#include "confine/report.hpp"
#include "confine/settings.hpp"

#include <vector>

namespace hf::agent::confine {

/// Home directory of the commands inside a private root.
inline constexpr char const* inner_home = "/home/sandbox";

/// Exchanges the root directory for one that has only the system directories (read-only), parts of
/// /etc, a fresh /proc, /dev and /run, the volumes, and from the scratch directory, which must be
/// the current one, a home, /tmp and /var/tmp. Must be PID 1 of a pid namespace and root of the
/// user namespace that owns the mounts. Of the system directories the `hidden` ones are empty, in
/// the volumes (`resolve_volumes`) the `states`.
void enter_private_root(std::vector<volume> const& volumes, std::vector<std::string> const& hidden,
                        std::vector<std::string> const& states, report const& status);

}  // namespace hf::agent::confine

#endif
