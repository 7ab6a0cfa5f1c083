#ifndef HF_SANDBOX_DOCKER_CONTAINER_HPP
#define HF_SANDBOX_DOCKER_CONTAINER_HPP

#include <hf/sandbox/docker/bind_source.hpp>
#include <hf/sandbox/docker/options.hpp>
#include <hf/sandbox/docker/resources.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/options.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hf::detail::docker {

/// Paths of the agent's things in a container.
inline constexpr std::string_view inside_directory = "/.hf-sandbox";
inline constexpr std::string_view inside_agent = "/.hf-sandbox/agent";
inline constexpr std::string_view inside_run = "/.hf-sandbox/run";
inline constexpr std::string_view inside_socket = "/.hf-sandbox/run/agent.sock";

/// The image when the caller names none; the same as on HF Jobs.
inline constexpr std::string_view default_image = "python:3.12";

/// What one attempt at a container has settled beside the caller's options.
struct container_plan {
  std::string name = {};
  std::string nonce = {};
  std::string token = {};
  std::string image = {};
  resources size = {};
  docker_reach reach = docker_reach::unix_socket;
  /// Host path of the agent's program to mount; empty: it is copied in.
  std::string agent_mount = {};
  /// Host path of the directory to share for the socket; empty: none.
  std::string socket_mount = {};
  /// Path inside of the file with the secrets; empty: none.
  std::string environment_file = {};
  /// Removed by the engine when it ends.
  bool auto_remove = true;
};

/// Refuses what a container cannot be given: `errc::unsupported` with the field's name, or
/// `errc::invalid_argument`.
template <class = void>
void check_launch_options(launch_options const& o) {
  auto const unsupported = [](std::string const& text) { throw error(errc::unsupported, text); };
  auto const invalid = [](std::string const& text) { throw error(errc::invalid_argument, text); };
  if (!o.name_space.empty())
    unsupported("name_space: containers have no owner; leave it empty with the Docker launcher");
  for (std::string_view const prefix : {"hf.co/spaces/", "huggingface.co/spaces/",
                                        "https://hf.co/spaces/", "https://huggingface.co/spaces/"})
    if (std::string_view(o.image).starts_with(prefix))
      unsupported("image: a Space cannot be a container's image; name the image itself");
  if (o.idle_timeout.count() < 0)
    invalid("idle_timeout must not be negative");
  if (o.timeout && o.timeout->count() <= 0)
    invalid("timeout must be positive");
  for (auto const* const variables : {&o.env, &o.secrets})
    for (auto const& [name, value] : *variables) {
      if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos ||
          value.find('\0') != std::string::npos)
        invalid("env and secrets: '" + name + "' is no name or value of an environment variable");
      if (name.starts_with("SBX_"))
        invalid("env and secrets: names that start with SBX_ are reserved ('" + name + "')");
    }
  for (auto const& label : o.labels)
    if (label.first.empty() || label.first.starts_with("hf-sandbox"))
      invalid("labels: keys must not be empty nor start with hf-sandbox ('" + label.first + "')");
  for (auto const& v : o.volumes) {
    if (v.type != "bind" && v.type != "volume")
      unsupported("volumes: the Docker launcher mounts the types bind and volume, not '" + v.type +
                  "'");
    if (!v.revision.empty())
      unsupported("volumes: revision has no meaning for the type " + v.type);
    if (v.type == "volume" && !v.path.empty())
      unsupported("volumes: path has no meaning for the type volume");
    if (v.type == "bind" && !v.source.starts_with('/'))
      invalid("volumes: the source of a bind must be an absolute path ('" + v.source + "')");
    if (v.type == "bind")
      if (auto const link = planted_link(v.path.empty() ? v.source : v.source + "/" + v.path);
          !link.empty())
        invalid("volumes: " + link +
                " is a symbolic link, which code in an earlier sandbox can have put there; name "
                "the directory that is meant");
    if (v.type == "volume" && v.source.empty())
      invalid("volumes: source must be the volume's name");
    if (!v.mount_path.starts_with('/') || v.mount_path == "/" ||
        v.mount_path.starts_with(inside_directory))
      invalid("volumes: mount_path must be absolute, and neither / nor below /.hf-sandbox ('" +
              v.mount_path + "')");
  }
}

/// The labels of a container, the caller's and those by which sandboxes are found on the Hub too.
template <class = void>
[[nodiscard]] std::map<std::string, std::string> container_labels(launch_options const& o,
                                                                  std::string const& nonce) {
  auto labels = o.labels;
  labels["hf-sandbox"] = "1";
  labels["hf-sandbox-mode"] = "dedicated";
  labels["hf-sandbox-nonce"] = nonce;
  return labels;
}

/// The body of `POST /containers/create`.
template <class json = nlohmann::json>
[[nodiscard]] json container_body(docker_options const& options, launch_options const& o,
                                  container_plan const& plan) {
  std::vector<std::string> env;
  for (auto const& [name, value] : o.env)
    env.push_back(name + "=" + value);
  env.push_back("SBX_TOKEN=" + plan.token);
  if (plan.reach == docker_reach::unix_socket) {
    env.push_back("SBX_SOCKET=" + std::string(inside_socket));
  } else {
    env.push_back("SBX_PORT=" + std::to_string(wire::default_port));
  }
  if (o.idle_timeout.count() > 0)
    env.push_back("SBX_IDLE_TIMEOUT=" + std::to_string(o.idle_timeout.count()));
  if (o.timeout)
    env.push_back("SBX_LIFETIME=" + std::to_string(o.timeout->count()));
  if (!plan.environment_file.empty())
    env.push_back("SBX_ENV_FILE=" + plan.environment_file);

  auto mounts = json::array();
  auto const bind = [&](std::string const& source, std::string_view target, bool read_only) {
    mounts.push_back(
        {{"Type", "bind"}, {"Source", source}, {"Target", target}, {"ReadOnly", read_only}});
  };
  if (!plan.agent_mount.empty())
    bind(plan.agent_mount, inside_agent, true);
  if (!plan.socket_mount.empty())
    bind(plan.socket_mount, inside_run, false);
  for (auto const& v : o.volumes) {
    if (v.type == "bind")
      // The host's files are safe from the sandbox unless the caller says otherwise.
      bind(v.path.empty() ? v.source : v.source + "/" + v.path, v.mount_path,
           v.read_only.value_or(true));
    else
      mounts.push_back({{"Type", "volume"},
                        {"Source", v.source},
                        {"Target", v.mount_path},
                        {"ReadOnly", v.read_only.value_or(false)}});
  }

  std::vector<std::string> capabilities{"CHOWN",  "DAC_OVERRIDE", "FOWNER",
                                        "SETUID", "SETGID",       "KILL"};
  capabilities.insert(capabilities.end(), options.add_capabilities.begin(),
                      options.add_capabilities.end());
  json host{
      {"AutoRemove", plan.auto_remove},
      {"Mounts", std::move(mounts)},
      {"CapDrop", {"ALL"}},
      {"CapAdd", std::move(capabilities)},
      {"SecurityOpt", {"no-new-privileges"}},
      {"NanoCpus", static_cast<std::int64_t>(plan.size.cpus * 1e9)},
      {"Memory", plan.size.memory},
      {"MemorySwap", plan.size.memory},
      // The driver whose lines can be read back, and which does not grow.
      {"LogConfig", {{"Type", "json-file"}, {"Config", {{"max-size", "1m"}, {"max-file", "1"}}}}}};
  if (options.pids_limit > 0)
    host["PidsLimit"] = options.pids_limit;
  if (!o.network.value_or(true))
    host["NetworkMode"] = "none";
  else if (!options.network.empty())
    host["NetworkMode"] = options.network;

  json body{{"Image", plan.image},
            {"Entrypoint", {inside_agent}},
            {"Cmd", json::array()},
            {"Env", std::move(env)},
            {"Labels", container_labels(o, plan.nonce)},
            // The image's check is about its own entry point, which does not run.
            {"Healthcheck", {{"Test", {"NONE"}}}}};
  if (plan.reach == docker_reach::published_port) {
    auto const port = std::to_string(wire::default_port) + "/tcp";
    body["ExposedPorts"] = {{port, json::object()}};
    auto const& address =
        options.publish_address.empty() ? std::string("127.0.0.1") : options.publish_address;
    host["PortBindings"] = {{port, json::array({json{{"HostIp", address}, {"HostPort", ""}}})}};
  }
  body["HostConfig"] = std::move(host);
  return body;
}

/// The value of a variable in a container's environment as `inspect` shows it; empty when absent.
template <class Json>
[[nodiscard]] std::string environment_value(Json const& description, std::string_view name) {
  auto const config = description.is_object() ? description.find("Config") : description.end();
  if (config == description.end() || !config->is_object())
    return {};
  auto const env = config->find("Env");
  if (env == config->end() || !env->is_array())
    return {};
  for (auto const& entry : *env) {
    if (!entry.is_string())
      continue;
    auto const& text = entry.template get_ref<std::string const&>();
    if (text.size() > name.size() && text.starts_with(name) && text[name.size()] == '=')
      return text.substr(name.size() + 1);
  }
  return {};
}

}  // namespace hf::detail::docker

#endif
