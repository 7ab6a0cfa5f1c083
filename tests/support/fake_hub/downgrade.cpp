#include "support/fake_hub/downgrade.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <vector>

namespace hf::testing_support::fake {

bool is_common_route(request const& rq) {
  static std::set<std::string> const known{
      "GET /health",         "POST /v1/exec",      "POST /v1/processes",
      "GET /v1/processes",   "GET /v1/files/read", "PUT /v1/files/write",
      "GET /v1/files/list",  "GET /v1/files/stat", "DELETE /v1/files/delete",
      "POST /v1/files/mkdir"};
  if (known.count(rq.method + " " + rq.path) != 0)
    return true;
  constexpr char processes[] = "/v1/processes/";
  if (rq.method == "DELETE" && rq.path.compare(0, sizeof processes - 1, processes) == 0)
    return rq.path.find('/', sizeof processes - 1) == std::string::npos;
  return rq.path.compare(0, 10, "/v1/proxy/") == 0;
}

bool has_command(request const& rq) {
  return rq.method == "POST" && (rq.path == "/v1/exec" || rq.path == "/v1/processes");
}

std::string common_request_body(std::string const& body) {
  static std::set<std::string> const known{"cmd",     "shell", "env",        "cwd",
                                           "timeout", "stdin", "background", "tag"};
  auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object())
    return body;
  auto out = nlohmann::json::object();
  for (auto const& [key, value] : json.items())
    if (known.count(key) != 0)
      out[key] = value;
  return out.dump();
}

std::string common_answer_body(std::string const& body) {
  static std::set<std::string> const known{"error", "status", "protocol",  "version", "uptime_ms",
                                           "mode",  "auth",   "sandboxes", "landlock"};
  auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object())
    return body;
  auto out = nlohmann::json::object();
  for (auto const& [key, value] : json.items())
    if (known.count(key) != 0)
      out[key] = value;
  return out.dump();
}

}  // namespace hf::testing_support::fake
