#ifndef HF_SANDBOX_AGENT_HOST_USER_PROCESSES_HPP
#define HF_SANDBOX_AGENT_HOST_USER_PROCESSES_HPP

#include <sys/types.h>

#include <chrono>
#include <unordered_set>

namespace hf::agent {

/// The real, effective, saved and file system user ids of all processes but zombies. Reads /proc,
/// which can block. Throws `std::system_error` when /proc cannot be read.
[[nodiscard]] std::unordered_set<uid_t> uids_of_processes();

/// Whether a process, other than a zombie, has this user id. Reads /proc.
[[nodiscard]] bool has_processes(uid_t uid);

/// Kills every process with this user id, again and again until none is left or the time is over;
/// whether none is left. Blocks. The caller must be root.
///
/// Processes are killed by a process of that user through kill(-1), which reaches all of them in
/// one system call: a fork that is under way fails, so that not even a fork bomb gets ahead.
[[nodiscard]] bool kill_processes_of(uid_t uid, std::chrono::milliseconds patience);

}  // namespace hf::agent

#endif
