#ifndef HF_SANDBOX_AGENT_HOST_ROUTES_HPP
#define HF_SANDBOX_AGENT_HOST_ROUTES_HPP

#include "context.hpp"
#include "host/registry.hpp"
#include "http/router.hpp"

#include <string>

namespace hf::agent {

/// Adds `/v1/sandboxes` and, below `/v1/sandboxes/{id}`, the routes of a sandbox: those that a
/// machine with one sandbox has below `/v1`. All references must live as long as the routes.
void add_host_routes(router& routes, context& shared, sandbox_registry& sandboxes);

/// What `/v1/info` names of host mode; `peers_known`: whether connections of sandboxes to the agent
/// itself can be told from others.
[[nodiscard]] json sandbox_features(bool peers_known);

/// Whether the token of a request in host mode is good for its path: the host's for management
/// (`/v1/sandboxes`, `/v1/sandboxes/{id}/token`) and whatever is not below a sandbox, the sandbox's
/// own for everything else below its id, and for its deletion. An unknown id is answered like a
/// wrong token. An empty `host_token` lets everybody manage.
[[nodiscard]] bool is_authorised(request_head const& head, std::string const& host_token,
                                 sandbox_registry const& sandboxes);

}  // namespace hf::agent

#endif
