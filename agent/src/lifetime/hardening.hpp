#ifndef HF_SANDBOX_AGENT_LIFETIME_HARDENING_HPP
#define HF_SANDBOX_AGENT_LIFETIME_HARDENING_HPP

#include <cstddef>

namespace hf::agent {

/// Makes the process fit for a life among untrusted code: not dumpable (its memory and environment
/// cannot be read through /proc), no end by a broken pipe, as many descriptors as are allowed.
/// Standard descriptors that are closed are opened on /dev/null.
void harden_process();

/// How many connections the descriptor limit leaves room for.
std::size_t connections_by_limit();

}  // namespace hf::agent

#endif
