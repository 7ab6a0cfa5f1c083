#ifndef HF_SANDBOX_AGENT_CONFINE_NAMESPACES_HPP
#define HF_SANDBOX_AGENT_CONFINE_NAMESPACES_HPP

#include "confine/report.hpp"

namespace hf::agent::confine {

/// User and group id of the commands inside a private root.
inline constexpr unsigned inner_id = 1000;

/// Leaves for new user, mount, ipc, uts and (where there are any) cgroup namespaces, as their root;
/// children get a new pid namespace; without `network` also a new network with only its loopback.
void leave_namespaces(bool network, report const& status);

/// Enters a second user namespace in which this process is `inner_id` and no longer the owner of
/// its mounts.
void leave_root_behind(report const& status);

/// In the outer user namespace: lets it have only one part in `share` of the inotify instances and
/// watches that the user may have. As far as /proc/sys can be written.
void limit_user_namespace(unsigned share);

}  // namespace hf::agent::confine

#endif
