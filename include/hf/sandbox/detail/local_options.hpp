#ifndef HF_SANDBOX_DETAIL_LOCAL_OPTIONS_HPP
#define HF_SANDBOX_DETAIL_LOCAL_OPTIONS_HPP

#include <hf/sandbox/detail/local_isolation.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/options.hpp>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hf::detail {

template <class = void>
[[noreturn]] void refuse_local_option(std::string const& field, std::string const& why) {
  throw error(errc::unsupported, "process_launcher cannot honour '" + field + "': " + why);
}

/// Refuses what a local process cannot honour (`errc::unsupported`) and what can never work
/// (`errc::invalid_argument`).
template <class Options>
void check_local_options(Options const& options, isolation level) {
  auto const invalid = [](std::string const& text) { throw error(errc::invalid_argument, text); };
  bool const private_root = level == isolation::private_root;
  if (!options.name_space.empty())
    refuse_local_option("name_space", "it belongs to HF Jobs");
  if (options.forward_hf_token)
    refuse_local_option("forward_hf_token", "put the token into 'secrets' yourself");
  if (options.network == false && !private_root)
    refuse_local_option("network", "a sandbox without network needs isolation::private_root");
  for (auto const& v : options.volumes) {
    if (v.type != "bind")
      refuse_local_option("volumes", "only type 'bind' is known, not '" + v.type + "'");
    if (!private_root)
      refuse_local_option("volumes", "they need isolation::private_root");
    if (!v.revision.empty())
      refuse_local_option("volumes.revision", "a directory has none");
    if (!v.path.empty())
      refuse_local_option("volumes.path", "name the directory in 'source'");
    for (auto const* const path : {&v.source, &v.mount_path})
      if (path->empty() || path->front() != '/' || path->find('\0') != std::string::npos)
        invalid("volumes: source and mount_path must be absolute paths");
    std::string_view const target = v.mount_path;
    if (target == "/" || target.find("/../") != target.npos || target.ends_with("/.."))
      invalid("volumes: mount_path must be below / and without '..'");
  }
  if (options.idle_timeout.count() < 0)
    invalid("idle_timeout must not be negative");
  if (options.timeout && options.timeout->count() <= 0)
    invalid("timeout must be positive");
  if (options.start_timeout.count() <= 0)
    invalid("start_timeout must be positive");
  for (auto const* const variables : {&options.env, &options.secrets})
    for (auto const& [name, value] : *variables) {
      if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos ||
          value.find('\0') != std::string::npos)
        invalid("env: '" + name + "' is no valid variable");
      if (name.starts_with("SBX_"))
        invalid("env: names that begin with SBX_ are reserved: " + name);
    }
  for (auto const& label : options.labels)
    if (label.first.empty() || label.first.starts_with("hf-sandbox"))
      invalid("labels: keys must not be empty nor begin with hf-sandbox ('" + label.first + "')");
}

/// The agent's whole environment: of the caller's only PATH, LANG and TZ, then what the options
/// add.
template <class Options>
[[nodiscard]] std::vector<std::string> local_environment(Options const& options) {
  std::map<std::string, std::string> variables;
  variables["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (char const* const name : {"PATH", "LANG", "TZ"})
    if (char const* const value = std::getenv(name); value != nullptr && *value != '\0')
      variables[name] = value;
  for (auto const* const from : {&options.env, &options.secrets})
    for (auto const& [name, value] : *from)
      variables[name] = value;
  if (options.idle_timeout.count() > 0)
    variables["SBX_IDLE_TIMEOUT"] = std::to_string(options.idle_timeout.count());
  std::vector<std::string> environment;
  environment.reserve(variables.size());
  for (auto const& [name, value] : variables)
    environment.push_back(name + "=" + value);
  return environment;
}

/// The labels of a local sandbox: the caller's, and what was asked for but is not honoured.
template <class Options>
[[nodiscard]] std::map<std::string, std::string> local_labels(Options const& options) {
  auto labels = options.labels;
  labels["hf-sandbox"] = "1";
  if (!options.image.empty())
    labels["hf-sandbox-image"] = options.image;
  if (!options.flavor.empty())
    labels["hf-sandbox-flavor"] = options.flavor;
  return labels;
}

}  // namespace hf::detail

#endif
