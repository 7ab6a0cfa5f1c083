#ifndef HF_SANDBOX_HUB_SANDBOX_REQUEST_HPP
#define HF_SANDBOX_HUB_SANDBOX_REQUEST_HPP

#include <hf/sandbox/agent/bootstrap.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/hub/job_request.hpp>
#include <hf/sandbox/hub/sandbox_job.hpp>
#include <hf/sandbox/hub/start_once.hpp>
#include <hf/sandbox/options.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::hub {

/// Image of a sandbox that names none; the official client's default.
inline constexpr char const* default_image = "python:3.12";
/// Hardware of a sandbox that names none.
inline constexpr char const* default_flavor = "cpu-basic";
/// Longest life of a sandbox that names none.
inline constexpr std::chrono::seconds default_timeout = std::chrono::hours(24);

/// Variables that belong to the agent: the launcher's values win over the user's. (`SBX_SOCKET`
/// would make our agent listen where the Jobs proxy cannot reach it.)
inline constexpr std::string_view reserved_variables[] = {
    "SBX_PORT",     "SBX_TOKEN",     "SBX_IDLE_TIMEOUT", "SBX_HOST_MODE",
    "SBX_CAPACITY", "SBX_MAX_HOSTS", "SBX_SOCKET"};

namespace sandbox_request_detail {

template <class = void>
[[nodiscard]] bool is_reserved_variable(std::string_view name) noexcept {
  return std::find(std::begin(reserved_variables), std::end(reserved_variables), name) !=
         std::end(reserved_variables);
}

template <class Variables>
Variables checked_variables(Variables variables, char const* field) {
  for (auto const& [name, value] : variables)
    if (name.empty() || name.find('=') != std::string::npos ||
        name.find('\0') != std::string::npos || value.find('\0') != std::string::npos)
      throw error(errc::invalid_argument,
                  std::string(field) +
                      ": a name that is empty or has '=' or NUL, or a value with "
                      "NUL, cannot be an environment variable");
  std::erase_if(variables, [](auto const& v) { return is_reserved_variable(v.first); });
  return variables;
}

template <class Volumes, class Text = std::string>
void check_volumes(Volumes const& volumes) {
  std::vector<Text> mounted;
  for (auto const& v : volumes) {
    if (v.type != "bucket" && v.type != "model" && v.type != "dataset" && v.type != "space")
      throw error(errc::unsupported, "volumes: HF Jobs cannot mount the type '" + v.type +
                                         "' (bucket, model, dataset, space)");
    if (v.source.empty() || v.mount_path.empty() || v.mount_path[0] != '/')
      throw error(errc::invalid_argument,
                  "volumes: a source and an absolute mount_path are needed");
    if (std::find(mounted.begin(), mounted.end(), v.mount_path) != mounted.end())
      throw error(errc::invalid_argument, "volumes: two are mounted at " + v.mount_path);
    mounted.push_back(v.mount_path);
  }
}

}  // namespace sandbox_request_detail

/// Refuses what a job cannot be, before anything is sent: `errc::unsupported` with the field's name
/// for what HF Jobs do not have, `errc::invalid_argument` for what can never work.
template <class Options = launch_options>
void check_launch_options(Options const& options) {
  if (options.network && !*options.network)
    throw error(errc::unsupported, "network: a machine of HF Jobs cannot be without network");
  if (options.timeout && options.timeout->count() < 1)
    throw error(errc::invalid_argument, "timeout: at least one second");
  if (options.idle_timeout.count() < 0)
    throw error(errc::invalid_argument, "idle_timeout: not negative (0 s: never)");
  for (auto const& [key, value] : options.labels)
    if (key.substr(0, 10) == sandbox_label)
      throw error(errc::invalid_argument,
                  "labels: keys that begin with 'hf-sandbox' are reserved: " + key);
  check_labels(options.labels);
  for (auto const& [name, value] : options.secrets)
    if (options.env.count(name) != 0 && !sandbox_request_detail::is_reserved_variable(name))
      throw error(errc::invalid_argument, "env and secrets both have " + name);
  sandbox_request_detail::check_volumes(options.volumes);
}

/// A job that is a sandbox, and what its creator knows of it.
struct sandbox_request {
  /// What to start.
  job_request job = {};
  /// What the agent's token is made of, beside the Hugging Face token.
  std::string nonce = {};
  /// The start's own id, a label of the job.
  std::string operation = {};
};

/// The job for these options. An `agent` left at its default is `agent_source::official()` here:
/// the launcher reads the environment, this does not. `hf_token` signs the agent's token and
/// appears nowhere else, unless `forward_hf_token` asks for it.
template <class Options = launch_options>
[[nodiscard]] sandbox_request make_sandbox_request(Options const& options,
                                                   agent_source const& agent,
                                                   std::string const& hub_endpoint,
                                                   std::string const& hf_token) {
  namespace d = sandbox_request_detail;
  check_launch_options(options);
  auto start = detail::make_bootstrap(agent, hub_endpoint);
  sandbox_request out;
  out.nonce = detail::random_hex(16);
  out.operation = detail::random_hex(16);

  auto& job = out.job;
  job.command = std::move(start.command);
  job.arguments = std::move(start.arguments);
  job.image = options.image.empty() ? default_image : options.image;
  job.flavor = options.flavor.empty() ? default_flavor : options.flavor;
  job.timeout = options.timeout.value_or(default_timeout);
  job.expose = {wire::default_port};
  job.volumes = options.volumes;
  job.volumes.insert(job.volumes.end(), start.volumes.begin(), start.volumes.end());
  d::check_volumes(job.volumes);

  job.environment = d::checked_variables(options.env, "env");
  job.environment["SBX_PORT"] = std::to_string(wire::default_port);
  if (options.idle_timeout.count() > 0)
    job.environment["SBX_IDLE_TIMEOUT"] = std::to_string(options.idle_timeout.count());
  job.secrets = d::checked_variables(options.secrets, "secrets");
  job.secrets["SBX_TOKEN"] = agent_token(hf_token, out.nonce);
  if (options.forward_hf_token) {
    job.environment.erase("HF_TOKEN");
    job.secrets["HF_TOKEN"] = hf_token;
  }

  job.labels = options.labels;
  job.labels[sandbox_label] = "1";
  job.labels[mode_label] = "dedicated";
  job.labels[nonce_label] = out.nonce;
  job.labels[operation_label] = out.operation;
  return out;
}

}  // namespace hf::hub

#endif
