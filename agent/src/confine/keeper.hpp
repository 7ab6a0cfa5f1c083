#ifndef HF_SANDBOX_AGENT_CONFINE_KEEPER_HPP
#define HF_SANDBOX_AGENT_CONFINE_KEEPER_HPP

#include "confine/report.hpp"
#include "confine/settings.hpp"

#include <sys/types.h>

#include <csignal>

namespace hf::agent::confine {

/// The signals that a keeper takes in `keep`, and blocks until then.
[[nodiscard]] sigset_t keeper_signals();

/// Watches over a sandbox from outside and ends it: when the agent ends, when the lifeline's other
/// end closes (unless a byte came before: the sandbox is released), at the end of its lifetime, on
/// SIGTERM. Then it kills all that came from it and removes the scratch and state directories.
/// `agent_fd` delivers the agent's pid, `log_fd` what it prints; of that the last part is kept in
/// the file `log`.
[[noreturn]] void keep(settings const& how, int agent_fd, int log_fd, report const& status);

}  // namespace hf::agent::confine

#endif
