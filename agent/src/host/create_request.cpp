#include "host/create_request.hpp"

#include "http/exchange.hpp"

#include <hf/sandbox/wire/parse_requests.hpp>

#include <string>

namespace hf::agent {
namespace {

[[noreturn]] void refuse(std::string message) {
  throw http_error(400, "invalid_argument", std::move(message));
}

void read_number(json const& body, char const* name, std::int64_t lowest, std::int64_t highest,
                 std::int64_t& into) {
  auto const it = body.find(name);
  if (it == body.end() || it->is_null())
    return;
  bool const fits =
      it->is_number_unsigned() && it->get<std::uint64_t>() <= static_cast<std::uint64_t>(highest);
  if (!fits || it->get<std::int64_t>() < lowest)
    refuse("'" + std::string(name) + "' must be a whole number from " + std::to_string(lowest) +
           " to " + std::to_string(highest));
  into = it->get<std::int64_t>();
}

void read_environment(json const& body, std::map<std::string, std::string>& into) {
  auto const it = body.find("env");
  if (it == body.end() || it->is_null())
    return;
  if (!it->is_object())
    refuse("'env' must be an object");
  std::uint64_t size = 0;
  for (auto const& [name, value] : it->items()) {
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos)
      refuse("'env' has a name that is empty or has '=' or NUL in it");
    std::string text;
    if (value.is_string())
      text = value.get<std::string>();
    else if (value.is_number() || value.is_boolean())
      text = value.dump();
    else
      refuse("'env': the value of '" + name + "' must be a string");
    if (text.find('\0') != std::string::npos)
      refuse("'env': the value of '" + name + "' has a NUL byte");
    size += name.size() + text.size();
    into[name] = std::move(text);
  }
  if (size > wire::max_sandbox_env)
    refuse("env too large (" + std::to_string(size) + " bytes, max " +
           std::to_string(wire::max_sandbox_env) + ")");
}

}  // namespace

wire::create_sandboxes_request parse_create_request(std::string_view text) {
  wire::create_sandboxes_request request;
  // Checked first: a value costs many times the bytes that it was sent in.
  wire::detail::request_bounds bounds;
  bool const proper = json::sax_parse(text.begin(), text.end(), &bounds);
  if (!proper && bounds.exceeded())
    refuse("invalid JSON body: " + bounds.problem);
  json const body = proper ? json::parse(text.begin(), text.end()) : json(nullptr);
  if (!body.is_object())
    return request;
  read_number(body, "count", 0, std::int64_t{1} << 53, request.count);
  read_number(body, "max_procs", 1, wire::most_sandbox_processes, request.max_procs);
  read_number(body, "max_mem_mb", 1, wire::most_sandbox_memory_mb, request.max_mem_mb);
  read_number(body, "idle_timeout_secs", 0, std::int64_t{1} << 53, request.idle_timeout_secs);
  read_environment(body, request.env);
  return request;
}

}  // namespace hf::agent
