#include "info/routes.hpp"

#include "detail/landlock_abi.hpp"

#include <hf/sandbox/version.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <sys/utsname.h>

#include <algorithm>

namespace hf::agent {
namespace {

std::int64_t uptime_ms(agent_facts const& facts) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               facts.started)
      .count();
}

json idle_remaining_ms(context const& shared, agent_facts const& facts) {
  if (!facts.idle_timeout)
    return nullptr;
  auto const left = *facts.idle_timeout - shared.activity.idle();
  return (std::max)(
      std::int64_t{0},
      std::int64_t{std::chrono::duration_cast<std::chrono::milliseconds>(left).count()});
}

// Until the lifetime is over; null without one.
json remaining_ms(agent_facts const& facts) {
  if (!facts.lifetime)
    return nullptr;
  auto const end = std::chrono::milliseconds(*facts.lifetime).count();
  return (std::max<std::int64_t>)(0, end - uptime_ms(facts));
}

}  // namespace

json health_details(agent_facts const& facts) {
  int const abi = landlock_abi();
  return {{"agent", "hf-sandbox-agent"},
          {"version", HF_SANDBOX_VERSION_STRING},
          {"uptime_ms", uptime_ms(facts)},
          {"sandboxes", facts.sandboxes ? facts.sandboxes() : 0},
          {"mode", facts.sandboxes ? "host" : "dedicated"},
          {"auth", facts.authentication ? "required" : "disabled"},
          {"landlock", {{"abi", abi}, {"features", landlock_features(abi)}}},
          {"features", facts.features}};
}

void add_info_routes(router& routes, context& shared, agent_facts const& facts) {
  routes.add("GET", wire::info_route, [&](exchange& call) -> asio::awaitable<void> {
    utsname system{};
    ::uname(&system);
    json const answer = {{"agent", "hf-sandbox-agent"},
                         {"version", HF_SANDBOX_VERSION_STRING},
                         {"protocol", {2, wire::protocol_version}},
                         {"features", facts.features},
                         {"limits",
                          {{"json_body_bytes", wire::max_json_body},
                           {"head_bytes", facts.allowed.head_bytes},
                           {"header_fields", facts.allowed.fields},
                           {"connections", facts.allowed.connections}}},
                         {"kernel", system.release},
                         {"arch", system.machine},
                         {"uptime_ms", uptime_ms(facts)},
                         {"idle_remaining_ms", idle_remaining_ms(shared, facts)},
                         {"deadline_ms", remaining_ms(facts)}};
    co_await call.respond(200, answer);
  });
}

}  // namespace hf::agent
