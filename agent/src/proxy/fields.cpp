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

// Fields that the agent sets itself, or has answered.
constexpr std::array<std::string_view, 6> not_forwarded{
    "authorization",     "expect", "host", "x-forwarded-host", "x-forwarded-proto",
    "x-forwarded-prefix"};

// Everything of that family is meant for the agent, secrets among it.
bool is_for_the_agent(std::string_view name) {
  return name.substr(0, 10) == "x-sandbox-";
}

// What a proxy before this one has put before the path; nothing when it is no plain path.
std::string_view outer_prefix(request_head const& head) {
  auto prefix = head.field("x-forwarded-prefix");
  while (!prefix.empty() && prefix.back() == '/')
    prefix.remove_suffix(1);
  bool const plain = !prefix.empty() && prefix.front() == '/' &&
                     prefix.find("//") == std::string_view::npos &&
                     prefix.find_first_of("?#\\ ") == std::string_view::npos;
  return plain ? prefix : std::string_view();
}

void append_forwarding(std::string& text, request_head const& head, proxy_names const& names) {
  bool const keep = head.field("x-sandbox-keep-host") == "1";
  append_field(text, "host", keep ? names.outside : names.inside);
  auto const or_else = [&](std::string_view name, std::string_view otherwise) {
    auto const said = head.field(name);
    append_field(text, name, said.empty() ? otherwise : said);
  };
  or_else("x-forwarded-host", names.outside);
  or_else("x-forwarded-proto", "http");
  append_field(text, "x-forwarded-prefix", std::string(outer_prefix(head)) + names.prefix);
  if (auto const value = head.field("x-sandbox-forward-authorization"); !value.empty())
    append_field(text, "authorization", value);
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
                           std::optional<std::uint64_t> length, bool upgrade,
                           proxy_names const& names) {
  std::string text;
  text.reserve(512);
  text.append(head.method).append(" ").append(target).append(" HTTP/1.1\r\n");
  append_forwarding(text, head, names);
  for (auto const& field : head.fields) {
    bool const own =
        std::find(not_forwarded.begin(), not_forwarded.end(), field.first) != not_forwarded.end();
    if (own || is_for_the_agent(field.first) || !is_end_to_end(head.fields, field.first))
      continue;
    if (field.first == "origin" && head.field("x-sandbox-keep-host") != "1")
      append_field(text, field.first, origin_inside(names, field.second));
    else
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

field_list answer_fields(field_list const& fields, proxy_names const& names) {
  field_list kept;
  for (auto const& field : fields) {
    if (!is_end_to_end(fields, field.first) || iequals(field.first, wire::instance_header))
      continue;
    kept.push_back(field);
    if (iequals(field.first, "location"))
      kept.back().second = location_outside(names, field.second);
    else if (iequals(field.first, "set-cookie"))
      kept.back().second = cookie_outside(names, field.second);
  }
  return kept;
}

}  // namespace hf::agent
