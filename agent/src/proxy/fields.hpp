#ifndef HF_SANDBOX_AGENT_PROXY_FIELDS_HPP
#define HF_SANDBOX_AGENT_PROXY_FIELDS_HPP

#include "http/exchange.hpp"

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
std::string forwarded_head(request_head const& head, std::string_view target, bool chunked,
                           std::optional<std::uint64_t> length, bool upgrade);

/// The end-to-end fields of a server's answer, in their order.
field_list answer_fields(field_list const& fields);

}  // namespace hf::agent

#endif
