#ifndef HF_SANDBOX_AGENT_PROXY_FIELDS_HPP
#define HF_SANDBOX_AGENT_PROXY_FIELDS_HPP

#include "http/exchange.hpp"
#include "proxy/rewrite.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::agent {

using field_list = std::vector<std::pair<std::string, std::string>>;

/// Whether a request asks to leave HTTP (a WebSocket): "Connection: upgrade" with an "Upgrade".
bool wants_upgrade(request_head const& head);

/// The head that goes to the server inside: method, `target`, the caller's end-to-end fields in
/// their order, without its credentials. `chunked` or `length` (nothing: no body) frame the body.
///
/// Host and Origin are the server's own, unless the caller sent `X-Sandbox-Keep-Host: 1`; where the
/// request came to stands in X-Forwarded-Host, -Proto and -Prefix, behind what a proxy before this
/// one has said. `X-Sandbox-Forward-Authorization` becomes the Authorization.
std::string forwarded_head(request_head const& head, std::string_view target, bool chunked,
                           std::optional<std::uint64_t> length, bool upgrade,
                           proxy_names const& names);

/// The end-to-end fields of a server's answer, in their order, Location and Set-Cookie as callers
/// have to see them.
field_list answer_fields(field_list const& fields, proxy_names const& names);

}  // namespace hf::agent

#endif
