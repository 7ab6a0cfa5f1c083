#ifndef HF_SANDBOX_AGENT_CONFINE_UNUSED_UID_HPP
#define HF_SANDBOX_AGENT_CONFINE_UNUSED_UID_HPP

#include <sys/types.h>

namespace hf::agent::confine {

/// A random user id that no account and no process has, and that this user namespace can express;
/// 0 when there is none.
[[nodiscard]] uid_t unused_uid();

/// Whether this process is root of a user namespace that has no other user: then there is nobody to
/// become, and outside it is an ordinary user anyway.
[[nodiscard]] bool is_only_user();

}  // namespace hf::agent::confine

#endif
