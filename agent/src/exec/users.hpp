#ifndef HF_SANDBOX_AGENT_EXEC_USERS_HPP
#define HF_SANDBOX_AGENT_EXEC_USERS_HPP

#include "exec/spawn.hpp"

#include <optional>
#include <string_view>
#include <unordered_set>

namespace hf::agent {

/// Whom a request's `user` means: a name of /etc/passwd with its groups, "uid", or "uid:gid".
/// Nothing: there is no such user. The files are read here, because a static binary has no NSS.
/// Blocks for as long as they take to read.
[[nodiscard]] std::optional<identity> find_user(std::string_view text);

/// The same with the contents of /etc/passwd and /etc/group given.
[[nodiscard]] std::optional<identity> find_user(std::string_view text, std::string_view passwd,
                                                std::string_view group);

/// The user ids of the accounts in /etc/passwd.
[[nodiscard]] std::unordered_set<uid_t> uids_of_accounts();

}  // namespace hf::agent

#endif
