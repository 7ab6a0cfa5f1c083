#ifndef HF_SANDBOX_DOCKER_DESCRIPTION_HPP
#define HF_SANDBOX_DOCKER_DESCRIPTION_HPP

#include <hf/sandbox/docker/container.hpp>
#include <hf/sandbox/docker/engine_address.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace hf::detail::docker {

/// A member below a path of objects ("/State/Status"); null when it is absent or when anything on
/// the way is no object. The accessors of the JSON library throw exceptions of their own there.
template <class Json>
[[nodiscard]] Json value_at(Json const& j, std::string_view path) {
  Json const* at = &j;
  while (!path.empty()) {
    path.remove_prefix(1);
    auto const end = (std::min)(path.find('/'), path.size());
    if (!at->is_object())
      return Json();
    auto const it = at->find(std::string(path.substr(0, end)));
    if (it == at->end())
      return Json();
    at = &*it;
    path.remove_prefix(end);
  }
  return *at;
}

/// The same as text; empty when it is absent or no text.
template <class Json>
[[nodiscard]] std::string text_at(Json const& j, std::string_view path) {
  auto const value = value_at(j, path);
  return value.is_string() ? value.template get<std::string>() : std::string();
}

template <class = void>
[[nodiscard]] phase phase_of(std::string_view status) noexcept {
  if (status == "created")
    return phase::starting;
  if (status == "running" || status == "paused" || status == "restarting")
    return phase::running;
  return phase::ended;
}

template <class Json>
[[nodiscard]] std::map<std::string, std::string> labels_of(Json const& labels) {
  std::map<std::string, std::string> out;
  if (labels.is_object())
    for (auto const& [key, value] : labels.items())
      if (value.is_string())
        out[key] = value.template get<std::string>();
  return out;
}

/// Id, phase, labels and a sentence from `GET /containers/{id}/json`; no endpoint.
template <class Json>
[[nodiscard]] instance describe(Json const& description) {
  instance out;
  out.id = text_at(description, "/Id");
  auto const status = text_at(description, "/State/Status");
  out.phase = phase_of(status);
  out.labels = labels_of(value_at(description, "/Config/Labels"));
  out.message = "container is " + status;
  if (out.phase == phase::ended) {
    if (auto const code = value_at(description, "/State/ExitCode"); code.is_number_integer())
      out.message += ", exit code " + code.dump();
    if (value_at(description, "/State/OOMKilled") == true)
      out.message += ", out of memory";
    if (auto const why = text_at(description, "/State/Error"); !why.empty())
      out.message += ": " + why;
  }
  return out;
}

/// Whether a container is a sandbox at all.
template <class = void>
[[nodiscard]] bool is_sandbox(std::map<std::string, std::string> const& labels) {
  auto const it = labels.find("hf-sandbox");
  return it != labels.end() && it->second == "1";
}

/// Host path of the shared directory that a container has its socket in; empty: it listens on TCP.
template <class Json>
[[nodiscard]] std::filesystem::path socket_mount_of(Json const& description) {
  for (auto const& mount : value_at(description, "/Mounts"))
    if (text_at(mount, "/Destination") == inside_run)
      return text_at(mount, "/Source");
  return {};
}

/// The URL at which a container's agent answers over TCP: its published port, else its address;
/// empty while it has neither.
template <class Json>
[[nodiscard]] std::string tcp_url_of(Json const& description, engine_address const& engine) {
  auto const port = std::to_string(wire::default_port);
  auto const ports = value_at(description, "/NetworkSettings/Ports");
  auto const bindings = ports.is_object() ? ports.find(port + "/tcp") : ports.end();
  if (bindings != ports.end() && bindings->is_array() && !bindings->empty()) {
    auto const& binding = bindings->front();
    std::string host = text_at(binding, "/HostIp");
    // Published at every address: the engine's own is the one that is known to be reachable.
    if (host.empty() || host == "0.0.0.0" || host == "::")
      host = engine.unix_socket.empty() ? http::parse_url(engine.url).host : "127.0.0.1";
    if (host.find(':') != std::string::npos)
      host = "[" + host + "]";
    return "http://" + host + ":" + text_at(binding, "/HostPort");
  }
  if (auto const networks = value_at(description, "/NetworkSettings/Networks");
      networks.is_object())
    for (auto const& entry : networks.items())
      if (auto const address = text_at(entry.value(), "/IPAddress"); !address.empty())
        return "http://" + address + ":" + port;
  return {};
}

/// The endpoint of an agent on TCP.
template <class = void>
[[nodiscard]] endpoint tcp_endpoint(std::string url, std::string token) {
  endpoint out;
  out.url = std::move(url);
  out.headers.set(std::string(wire::token_header), std::move(token));
  return out;
}

/// The endpoint of an agent whose socket is held open as `descriptor`. The host name is the
/// container's own, so that no transport takes one container's connection for another's when a
/// descriptor's number comes again.
template <class = void>
[[nodiscard]] endpoint socket_endpoint(std::string const& id, int descriptor, std::string token) {
  endpoint out;
  out.url = "http://" + id.substr(0, 12) + ".localhost";
  out.unix_socket = "/proc/self/fd/" + std::to_string(descriptor);
  out.headers.set(std::string(wire::token_header), std::move(token));
  return out;
}

}  // namespace hf::detail::docker

#endif
