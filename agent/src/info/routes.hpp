#ifndef HF_SANDBOX_AGENT_INFO_ROUTES_HPP
#define HF_SANDBOX_AGENT_INFO_ROUTES_HPP

#include "context.hpp"
#include "http/limits.hpp"
#include "http/router.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>

namespace hf::agent {

/// What `/health` and `/v1/info` tell about this agent.
struct agent_facts {
  bool authentication = true;
  /// How many sandboxes there are, in host mode.
  std::function<std::size_t()> sandboxes = {};
  std::optional<std::chrono::seconds> idle_timeout;
  std::optional<std::chrono::seconds> lifetime;
  limits allowed;
  /// Name to true, or to why not.
  json features = json::object();
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

/// What `/health` says to authorised callers, beside status and protocol.
json health_details(agent_facts const& facts);

/// Adds `GET /v1/info`. Both references must live as long as the routes.
void add_info_routes(router& routes, context& shared, agent_facts const& facts);

}  // namespace hf::agent

#endif
