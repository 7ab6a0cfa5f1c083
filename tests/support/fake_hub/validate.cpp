#include "support/fake_hub/state.hpp"

#include <algorithm>
#include <regex>
#include <set>

namespace hf::testing_support::fake {

namespace {

using nlohmann::json;

bool is_text_map(json const& value) {
  if (!value.is_object())
    return false;
  for (auto const& [key, item] : value.items())
    if (key.empty() || !item.is_string())
      return false;
  return true;
}

bool is_text_list(json const& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](json const& item) { return item.is_string(); });
}

std::string unknown_key(json const& value, std::set<std::string> const& known,
                        std::string const& where) {
  for (auto const& [key, item] : value.items())
    if (known.count(key) == 0)
      return where + ": unknown field '" + key + "'";
  return {};
}

std::string check_volume(json const& volume) {
  if (!volume.is_object())
    return "volumes: not an object";
  if (auto bad = unknown_key(
          volume, {"type", "source", "mountPath", "revision", "readOnly", "path"}, "volumes");
      !bad.empty())
    return bad;
  for (char const* const name : {"type", "source", "mountPath"})
    if (!volume.contains(name) || !volume[name].is_string())
      return std::string("volumes: ") + name + " is missing";
  auto const type = volume["type"].get<std::string>();
  if (type != "bucket" && type != "model" && type != "dataset" && type != "space")
    return "volumes: unknown type " + type;
  if (volume["mountPath"].get<std::string>().substr(0, 1) != "/")
    return "volumes: mountPath is not absolute";
  if (volume.contains("readOnly") && !volume["readOnly"].is_boolean())
    return "volumes: readOnly is not a boolean";
  for (char const* const name : {"revision", "path"})
    if (volume.contains(name) && !volume[name].is_string())
      return std::string("volumes: ") + name + " is not a text";
  return {};
}

}  // namespace

std::string check_labels(json const& labels) {
  static std::regex const plain("[A-Za-z0-9._-]{0,100}");
  if (!is_text_map(labels))
    return "labels: not an object of texts";
  for (auto const& [key, value] : labels.items())
    if (!std::regex_match(key, plain) || !std::regex_match(value.get<std::string>(), plain))
      return "labels: bad characters or too long: " + key;
  return {};
}

std::string check_job(json const& body, std::vector<std::string> const& flavors, bool any_client) {
  if (!body.is_object())
    return "the body is not an object";
  if (auto bad = unknown_key(
          body,
          {"command", "arguments", "environment", "flavor", "secrets", "timeoutSeconds", "labels",
           "volumes", "expose", "ssh", "resourceGroupId", "dockerImage", "spaceId"},
          "job");
      !bad.empty())
    return bad;
  for (char const* const name : {"command", "arguments", "environment", "flavor"})
    if (!body.contains(name))
      return std::string(name) + " is missing";
  if (!is_text_list(body["command"]) || body["command"].empty())
    return "command: not a list of texts";
  if (!is_text_list(body["arguments"]))
    return "arguments: not a list of texts";
  for (char const* const name : {"command", "arguments"})
    for (auto const& word : body[name])
      if (word.get_ref<std::string const&>().size() >= 128 * 1024)
        return std::string(name) + ": an argument of 128 KiB or more cannot be passed";
  if (!is_text_map(body["environment"]))
    return "environment: not an object of texts";
  if (!body["flavor"].is_string() ||
      std::find(flavors.begin(), flavors.end(), body["flavor"].get<std::string>()) == flavors.end())
    return "flavor: unknown";
  if (body.contains("dockerImage") == body.contains("spaceId"))
    return "exactly one of dockerImage and spaceId is needed";
  for (char const* const name : {"dockerImage", "spaceId"})
    if (body.contains(name) &&
        (!body[name].is_string() || body[name].get<std::string>().empty() ||
         body[name].get<std::string>().find("/spaces/") != std::string::npos))
      return std::string(name) + ": not a usable name";
  if (body.contains("secrets")) {
    if (!is_text_map(body["secrets"]))
      return "secrets: not an object of texts";
    for (auto const& [key, value] : body["secrets"].items())
      if (body["environment"].contains(key))
        return "secrets: also in environment: " + key;
  }
  if (body.contains("timeoutSeconds") && (!body["timeoutSeconds"].is_number_integer() ||
                                          body["timeoutSeconds"].get<std::int64_t>() < 1))
    return "timeoutSeconds: not a positive integer";
  if (body.contains("labels"))
    if (auto bad = check_labels(body["labels"]); !bad.empty())
      return bad;
  if (body.contains("volumes")) {
    if (!body["volumes"].is_array())
      return "volumes: not a list";
    for (auto const& volume : body["volumes"])
      if (auto bad = check_volume(volume); !bad.empty())
        return bad;
  }
  if (body.contains("expose")) {
    auto expose = body["expose"];
    // Clients other than the library may say that no port is public.
    if (any_client && expose.is_object() && expose.value("portsPublic", json()) == json::array())
      expose.erase("portsPublic");
    if (!expose.is_object() || expose.size() != 1 || !expose.contains("ports") ||
        !expose["ports"].is_array() || expose["ports"].empty())
      return "expose: {\"ports\": [...]} is needed";
    for (auto const& port : expose["ports"])
      if (!port.is_number_integer() || port.get<std::int64_t>() < 1 ||
          port.get<std::int64_t>() > 65535)
        return "expose: not a port";
  }
  if (body.contains("ssh") && body["ssh"] != json{{"enabled", true}})
    return "ssh: {\"enabled\": true} is needed";
  if (body.contains("resourceGroupId") && !body["resourceGroupId"].is_string())
    return "resourceGroupId: not a text";
  return {};
}

std::string check_fields(request const& rq, std::string const& token, bool any_client) {
  static std::set<std::string> const known{"host",           "user-agent",      "authorization",
                                           "accept",         "accept-encoding", "content-type",
                                           "content-length", "connection"};
  std::set<std::string> seen;
  for (auto const& field : rq.fields) {
    std::string name = field.name;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (known.count(name) == 0 && !any_client)
      return "unknown field '" + field.name + "'";
    if (!seen.insert(name).second)
      return "repeated field '" + field.name + "'";
  }
  static std::regex const agent(R"(hf-sandbox-cpp/[0-9]+\.[0-9]+\.[0-9]+(; [!-:<-~ ]+/[!-~ ]+)+)");
  std::string const user_agent(rq.fields.get("User-Agent"));
  if (!std::regex_match(user_agent, agent) && !any_client)
    return "User-Agent: " + user_agent;
  if (rq.body.find(token) != std::string::npos && rq.body.find("\"HF_TOKEN\"") == std::string::npos)
    return "the token stands in the body";
  if (rq.target.find(token) != std::string::npos)
    return "the token stands in the URL";
  bool const has_body = !rq.body.empty();
  if (has_body && rq.fields.get("Content-Type") != "application/json")
    return "Content-Type is not application/json";
  if (has_body && rq.method == "GET")
    return "a GET with a body";
  if ((rq.method == "POST" || rq.method == "PUT") && !rq.fields.contains("Content-Length"))
    return "no Content-Length";
  return {};
}

std::string check_telemetry(request const& rq) {
  static std::regex const create(
      R"(hf-sandbox-cpp/[0-9.]+; session_id/[0-9a-f]{32}; flavor/[a-z0-9-]+; timeout/[0-9]+; forward_hf_token/(true|false))");
  static std::regex const terminate(
      R"(hf-sandbox-cpp/[0-9.]+; session_id/[0-9a-f]{32}; duration_s/[0-9]+; reason/(user|destructor|atexit))");
  std::string const agent(rq.fields.get("User-Agent"));
  if (rq.method != "HEAD")
    return "not a HEAD request";
  if (rq.fields.contains("Authorization") || rq.fields.contains("Cookie"))
    return "credentials";
  if (!rq.query.empty() || !rq.body.empty())
    return "a query or a body";
  if (rq.path == "/api/telemetry/hf-sandbox/create")
    return std::regex_match(agent, create) ? "" : "User-Agent: " + agent;
  if (rq.path == "/api/telemetry/hf-sandbox/terminate")
    return std::regex_match(agent, terminate) ? "" : "User-Agent: " + agent;
  return "unknown event";
}

json const& hardware() {
  static json const list = json::array({{{"name", "cpu-basic"},
                                         {"prettyName", "CPU Basic"},
                                         {"cpu", "2 vCPU"},
                                         {"ram", "16 GB"},
                                         {"accelerator", nullptr},
                                         {"unitCostMicroUSD", 167},
                                         {"unitCostUSD", 0.000167},
                                         {"unitLabel", "minute"}},
                                        {{"name", "cpu-upgrade"},
                                         {"prettyName", "CPU Upgrade"},
                                         {"cpu", "8 vCPU"},
                                         {"ram", "32 GB"},
                                         {"accelerator", nullptr},
                                         {"unitCostMicroUSD", 500},
                                         {"unitCostUSD", 0.0005},
                                         {"unitLabel", "minute"}},
                                        {{"name", "t4-small"},
                                         {"prettyName", "Nvidia T4 - small"},
                                         {"cpu", "4 vCPU"},
                                         {"ram", "15 GB"},
                                         {"accelerator",
                                          {{"type", "gpu"},
                                           {"model", "T4"},
                                           {"quantity", "1"},
                                           {"vram", "16 GB"},
                                           {"manufacturer", "Nvidia"}}},
                                         {"unitCostMicroUSD", 6667},
                                         {"unitCostUSD", 0.006667},
                                         {"unitLabel", "minute"}}});
  return list;
}

}  // namespace hf::testing_support::fake
