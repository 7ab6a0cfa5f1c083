#ifndef HF_SANDBOX_TESTS_SUPPORT_AGENT_ENDPOINT_HPP
#define HF_SANDBOX_TESTS_SUPPORT_AGENT_ENDPOINT_HPP

#include "support/agent_process.hpp"

#include <hf/sandbox/agent/endpoint.hpp>

#include <string>
#include <utility>

namespace hf::testing_support {

/// How a client reaches the agent through this unix socket, its own or a proxy's.
inline hf::endpoint endpoint_of(agent_process const& agent, std::string socket) {
  hf::endpoint to;
  to.url = "http://localhost";
  to.headers.add("X-Sandbox-Token", agent.token());
  to.unix_socket = std::move(socket);
  return to;
}
/// How a client reaches it directly.
inline hf::endpoint endpoint_of(agent_process const& agent) {
  return endpoint_of(agent, agent.socket_path());
}

}  // namespace hf::testing_support

#endif
