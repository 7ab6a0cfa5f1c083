#ifndef HF_SANDBOX_AGENT_PROXY_ROUTES_HPP
#define HF_SANDBOX_AGENT_PROXY_ROUTES_HPP

#include "context.hpp"
#include "http/router.hpp"

namespace hf::agent {

/// Adds `ANY /v1/proxy/{port}/{rest}`: HTTP, event streams and WebSockets to a server on
/// 127.0.0.1:port.
void add_proxy_routes(router& routes, context& shared);

}  // namespace hf::agent

#endif
