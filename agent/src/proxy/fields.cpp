#include "proxy/fields.hpp"

#include "http/field_text.hpp"

#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <array>
#include <optional>

namespace hf::agent {
namespace {

using http::iequals;

// Meant for the next hop only (RFC 9110, 7.6.1), or set anew for it.
constexpr std::array<std::string_view, 10> hop_by_hop{
    "connection",          "content-length",   "keep-alive", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "te",         "trailer",
    "transfer-encoding",   "upgrade"};

bool is_hop_by_hop(std::string_view name) {
  return std::any_of(hop_by_hop.begin(), hop_by_hop.end(),
                     [&](std::string_view known) { return iequals(known, name); });
}

// Whether a Connection field names `option`.
bool connection_names(field_list const& fields, std::string_view option) {
  for (auto const& field : fields) {
    if (!iequals(field.first, "connection"))
      continue;
    std::string_view list = field.second;
    while (!list.empty()) {
      auto const comma = list.find(',');
      if (iequals(trimmed(list.substr(0, comma)), option))
        return true;
      if (comma == std::string_view::npos)
        break;
      list.remove_prefix(comma + 1);
    }
  }
  return false;
}

bool is_end_to_end(field_list const& fields, std::string_view name) {
  return !is_hop_by_hop(name) && (iequals(name, "host") || !connection_names(fields, name));
}

}  // namespace

bool wants_upgrade(request_head const& head) {
  return head.minor_version == 1 && !head.field("upgrade").empty() &&
         connection_names(head.fields, "upgrade");
}

std::string forwarded_head(request_head const& head, std::string_view target, bool chunked,
                           std::optional<std::uint64_t> length, bool upgrade) {
  std::string text;
  text.reserve(512);
  text.append(head.method).append(" ").append(target).append(" HTTP/1.1\r\n");
  for (auto const& field : head.fields) {
    bool const credential = field.first == "x-sandbox-token" || field.first == "authorization";
    // The front door has answered an Expect itself.
    if (credential || field.first == "expect" || !is_end_to_end(head.fields, field.first))
      continue;
    append_field(text, field.first, field.second);
  }
  if (upgrade) {
    append_field(text, "connection", "upgrade");
    append_field(text, "upgrade", head.field("upgrade"));
  } else {
    append_field(text, "connection", "close");
  }
  if (chunked)
    append_field(text, "transfer-encoding", "chunked");
  else if (length)
    append_field(text, "content-length", std::to_string(*length));
  text.append("\r\n");
  return text;
}

field_list answer_fields(field_list const& fields) {
  field_list kept;
  for (auto const& field : fields)
    if (is_end_to_end(fields, field.first) && !iequals(field.first, wire::instance_header))
      kept.push_back(field);
  return kept;
}

}  // namespace hf::agent
