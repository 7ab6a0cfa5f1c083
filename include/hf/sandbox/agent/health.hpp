#ifndef HF_SANDBOX_AGENT_HEALTH_HPP
#define HF_SANDBOX_AGENT_HEALTH_HPP

#include <hf/sandbox/wire/json.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

namespace hf {

/// What an agent says of itself on `/health` when it is asked with its token.
struct agent_health {
  /// Version of the common protocol; 1 for agents that declare none.
  int protocol = 1;
  /// The agent's version; empty when it did not say.
  std::string version = {};
  /// Random id of this run of the agent; empty for agents without operation ids.
  std::string instance = {};
  /// Whether the answer had a list of features; agents of the common protocol have none.
  bool features_known = false;
  /// Features by name; an empty text means available, else the reason why not.
  std::map<std::string, std::string> features = {};

  /// Whether the feature is there.
  template <class Name>
  [[nodiscard]] bool has(Name const& feature) const {
    auto const it = features.find(feature);
    return it != features.end() && it->second.empty();
  }
};

namespace detail {

/// Reads `/health` and `/v1/info` bodies; members of unexpected types count as absent.
template <class Json>
agent_health parse_health(Json const& j, std::string instance) {
  agent_health health;
  health.instance = std::move(instance);
  if (!j.is_object())
    return health;
  if (auto const it = j.find("protocol"); it != j.end()) {
    auto const version = [](Json const& p) {
      return p.is_number_unsigned() && p.template get<std::uint64_t>() < 1000
                 ? p.template get<int>()
                 : 1;
    };
    if (it->is_array()) {
      for (auto const& p : *it)
        health.protocol = (std::max)(health.protocol, version(p));
    } else {
      health.protocol = version(*it);
    }
  }
  if (auto const it = j.find("version"); it != j.end() && it->is_string())
    health.version = it->template get<std::string>();
  if (auto const it = j.find("features"); it != j.end() && it->is_object()) {
    health.features_known = true;
    for (auto const& [name, value] : it->items())
      if (value.is_boolean() && value.template get<bool>())
        health.features[name] = "";
      else
        health.features[name] =
            value.is_string() ? value.template get<std::string>() : "not available";
  }
  return health;
}

}  // namespace detail
}  // namespace hf

#endif
