#ifndef HF_SANDBOX_AGENT_HOST_CREATE_REQUEST_HPP
#define HF_SANDBOX_AGENT_HOST_CREATE_REQUEST_HPP

#include <hf/sandbox/wire/sandboxes.hpp>

#include <string_view>

namespace hf::agent {

/// Reads the body of `POST /v1/sandboxes`. An empty body, and one that is no JSON object, ask for
/// one sandbox with the defaults, as the common protocol has it; a member of the wrong type or out
/// of its bounds is `http_error` 400.
[[nodiscard]] wire::create_sandboxes_request parse_create_request(std::string_view body);

}  // namespace hf::agent

#endif
