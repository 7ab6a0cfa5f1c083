#ifndef HF_SANDBOX_AGENT_PROXY_ROUTES_HPP
#define HF_SANDBOX_AGENT_PROXY_ROUTES_HPP

#include "context.hpp"
#include "http/router.hpp"
#include "proxy/place.hpp"

#include <string_view>

namespace hf::agent {

/// Adds `ANY <prefix>/proxy/{port}/{rest}`: HTTP, event streams and WebSockets to a server inside.
void add_proxy_routes(router& routes, context& shared, std::string_view prefix,
                      proxy_place_of place_of);

}  // namespace hf::agent

#endif
