#ifndef HF_SANDBOX_AGENT_CONFINE_UNUSED_UID_HPP
#define HF_SANDBOX_AGENT_CONFINE_UNUSED_UID_HPP

#include <sys/types.h>

namespace hf::agent::confine {

/// A random user id that no account and no process has, and that this user namespace can express;
/// 0 when there is none.
[[nodiscard]] uid_t unused_uid();

}  // namespace hf::agent::confine

#endif
