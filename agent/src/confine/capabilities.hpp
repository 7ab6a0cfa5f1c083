#ifndef HF_SANDBOX_AGENT_CONFINE_CAPABILITIES_HPP
#define HF_SANDBOX_AGENT_CONFINE_CAPABILITIES_HPP

#include <sys/types.h>

namespace hf::agent::confine {

/// Empties the bounding set for this process and all that come from it; returns 0 or an error
/// number. Without the right to do so (an ordinary user) it does nothing: `no_new_privs` then
/// keeps capabilities from coming back.
[[nodiscard]] int empty_bounding_set();
/// Gives up all capabilities and sets `no_new_privs`; returns 0 or an error number.
[[nodiscard]] int drop_capabilities();
/// Leaves all groups and becomes this user and group for good; returns 0 or an error number.
[[nodiscard]] int become_user(uid_t uid);

}  // namespace hf::agent::confine

#endif
