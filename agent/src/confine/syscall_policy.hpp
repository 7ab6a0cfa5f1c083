#ifndef HF_SANDBOX_AGENT_CONFINE_SYSCALL_POLICY_HPP
#define HF_SANDBOX_AGENT_CONFINE_SYSCALL_POLICY_HPP

#include <linux/filter.h>

#include <vector>

namespace hf::agent::confine {

/// The filter of the agent and everything it starts: no mounts, namespaces, kernel keys, kernel
/// modules, bpf, perf, io_uring, userfaultfd; sockets only of the internet families, netlink and,
/// with `unix_sockets`, AF_UNIX. ptrace is left, for debuggers and sanitizers: who may trace whom
/// is decided by the pid namespace, Landlock and the agent not being dumpable.
[[nodiscard]] std::vector<sock_filter> common_policy(bool unix_sockets);

/// The further filter of commands where only Landlock stands between them and the user's files: it
/// knows nothing of changes of mode, owner, times and extended attributes, of unix sockets, or of
/// System V and POSIX IPC.
[[nodiscard]] std::vector<sock_filter> landlock_only_policy();

}  // namespace hf::agent::confine

#endif
