#ifndef HF_SANDBOX_AGENT_CONFINE_AGENT_SIDE_HPP
#define HF_SANDBOX_AGENT_CONFINE_AGENT_SIDE_HPP

#include "confine/report.hpp"
#include "confine/settings.hpp"

#include <sys/types.h>

#include <string>

namespace hf::agent::confine {

/// Confines this process, whose current directory is the scratch directory; returns the home
/// directory of the commands, in the process that is to be the agent (with a private root another
/// one than the caller). `uid` is the user to become, 0: none. The agent's pid goes to `pid_fd`.
[[nodiscard]] std::string become_agent(settings const& how, uid_t uid, int pid_fd,
                                       report const& status);

}  // namespace hf::agent::confine

#endif
