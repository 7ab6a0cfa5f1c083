#ifndef HF_SANDBOX_AGENT_CONFINE_ETC_HPP
#define HF_SANDBOX_AGENT_CONFINE_ETC_HPP

#include "confine/report.hpp"

#include <string>

namespace hf::agent::confine {

/// Fills an empty directory with the harmless part of the host's /etc and with user, group and host
/// files that name nobody but the sandbox.
void make_etc(std::string const& target, report const& status);

}  // namespace hf::agent::confine

#endif
