#ifndef HF_SANDBOX_AGENT_HTTP_TARGET_HPP
#define HF_SANDBOX_AGENT_HTTP_TARGET_HPP

#include "http/exchange.hpp"

#include <string>
#include <string_view>

namespace hf::agent {

/// Fills `path`, `raw_query` and `query` from `target`; false when a percent-encoding of path or
/// query is broken (the fields are filled all the same, the broken parts undecoded).
bool parse_target(request_head& head);

/// The target up to '?', without an absolute form's scheme and authority.
std::string_view target_path(std::string_view target);

}  // namespace hf::agent

#endif
