#ifndef HF_SANDBOX_DOCKER_ENGINE_ADDRESS_HPP
#define HF_SANDBOX_DOCKER_ENGINE_ADDRESS_HPP

#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/read_text_file.hpp>
#include <hf/sandbox/docker/options.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/hub/environment.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::detail::docker {

/// Where an engine listens, and what TLS needs.
struct engine_address {
  /// Base URL without a trailing slash.
  std::string url = {};
  /// The engine's unix socket; empty: TCP.
  std::string unix_socket = {};
  http::tls_settings tls = {};
  /// How people know it: "unix:///var/run/docker.sock".
  std::string name = {};
  /// Where the address came from, for error texts: "DOCKER_HOST", "the docker context 'x'".
  std::string origin = {};
};

/// Adds the TLS files of a directory. A missing ca.pem is an error: without it no engine of one's
/// own making can be verified. The client's certificate is taken when both of its files are there.
template <class = void>
void use_certificates(engine_address& address, std::filesystem::path const& directory) {
  std::error_code ignored;
  auto const file = [&](char const* name) -> std::string {
    auto path = directory / name;
    return std::filesystem::exists(path, ignored) ? path.string() : std::string();
  };
  address.tls.ca_file = file("ca.pem");
  if (address.tls.ca_file.empty())
    throw error(errc::tls_failed,
                "TLS to the Docker engine at " + address.name + " needs " +
                    (directory / "ca.pem").string() +
                    ", which is not there; set DOCKER_CERT_PATH to the directory with ca.pem, "
                    "cert.pem and key.pem",
                {.where = hop::docker});
  auto certificate = file("cert.pem");
  auto key = file("key.pem");
  if (!certificate.empty() && !key.empty()) {
    address.tls.cert_file = std::move(certificate);
    address.tls.key_file = std::move(key);
  }
}

/// Understands a DOCKER_HOST value. `tls` says that TLS was asked for beside the address.
template <class = void>
[[nodiscard]] engine_address parse_engine_address(std::string const& host, bool tls,
                                                  std::string origin) {
  engine_address address;
  address.name = host;
  address.origin = std::move(origin);
  auto const colon = host.find("://");
  if (colon == std::string::npos)
    throw error(errc::invalid_argument,
                address.origin + " is '" + host +
                    "', but must look like unix:///path or "
                    "tcp://host:port",
                {.where = hop::docker});
  auto const scheme = host.substr(0, colon);
  auto rest = host.substr(colon + 3);
  if (scheme == "unix") {
    if (rest.empty())
      throw error(errc::invalid_argument, address.origin + " names no socket: '" + host + "'",
                  {.where = hop::docker});
    address.unix_socket = std::move(rest);
    address.url = "http://localhost";
    return address;
  }
  if (scheme == "ssh")
    throw error(errc::unsupported,
                address.origin + " is '" + host +
                    "', but ssh is not spoken here; open a tunnel (ssh -NL "
                    "/tmp/docker.sock:/var/run/docker.sock HOST) and set "
                    "DOCKER_HOST=unix:///tmp/docker.sock",
                {.where = hop::docker});
  if (scheme != "tcp" && scheme != "http" && scheme != "https")
    throw error(errc::unsupported,
                address.origin + " is '" + host +
                    "', but only unix, tcp, http and https engines "
                    "are spoken to here",
                {.where = hop::docker});
  while (!rest.empty() && rest.back() == '/')
    rest.pop_back();
  bool const secure = scheme == "https" || (scheme == "tcp" && tls);
  if (scheme == "tcp" && (rest.rfind(':') == std::string::npos || rest.back() == ']'))
    rest += secure ? ":2376" : ":2375";
  address.url = (secure ? "https://" : "http://") + rest;
  static_cast<void>(http::parse_url(address.url));
  return address;
}

/// The address that the docker command would use, from the options, the environment and the docker
/// configuration. Reads files, connects to nothing.
template <class Json = nlohmann::json>
[[nodiscard]] engine_address find_engine(docker_options const& options,
                                         hub::environment const& environment = {}) {
  namespace fs = std::filesystem;
  // The docker command, too, takes an empty variable for an unset one.
  auto const env = [&](char const* name) {
    auto value = hub::look_up(environment, name);
    return value && value->empty() ? std::nullopt : value;
  };
  auto const home = env("HOME");
  auto const config = env("DOCKER_CONFIG") ? fs::path(*env("DOCKER_CONFIG"))
                                           : (home ? fs::path(*home) / ".docker" : fs::path());
  auto const certificates = !options.cert_path.empty() ? options.cert_path
                            : env("DOCKER_CERT_PATH")  ? fs::path(*env("DOCKER_CERT_PATH"))
                                                       : config;
  auto const with_tls = [&](std::string const& host, std::string origin) {
    bool const asked = !options.cert_path.empty() || env("DOCKER_TLS_VERIFY").has_value();
    bool const by_port = host.starts_with("tcp://") && host.ends_with(":2376");
    auto address = parse_engine_address(host, asked || by_port, std::move(origin));
    if (address.url.starts_with("https:") && (asked || fs::exists(certificates / "ca.pem")))
      use_certificates(address, certificates);
    return address;
  };
  if (!options.host.empty())
    return with_tls(options.host, "docker_options::host");
  if (auto const host = env("DOCKER_HOST"))
    return with_tls(*host, "DOCKER_HOST");

  std::string context = env("DOCKER_CONTEXT").value_or("");
  if (context.empty() && !config.empty()) {
    if (auto const text = read_text_file(config / "config.json")) {
      auto const parsed = parse_json<Json>(*text);
      if (parsed.is_object() && parsed.contains("currentContext") &&
          parsed["currentContext"].is_string())
        context = parsed["currentContext"].template get<std::string>();
    }
  }
  if (!context.empty() && context != "default") {
    auto const key = sha256_hex(context);
    auto const origin = "the docker context '" + context + "'";
    auto const text = read_text_file(config / "contexts" / "meta" / key / "meta.json");
    auto const meta = parse_json<Json>(text.value_or(""));
    auto const at = typename Json::json_pointer("/Endpoints/docker/Host");
    if (!meta.is_object() || !meta.contains(at) || !meta.at(at).is_string())
      throw error(errc::not_found,
                  origin + " has no readable description below " + config.string() +
                      "; choose another with 'docker context use', or set DOCKER_HOST",
                  {.where = hop::docker});
    auto const files = config / "contexts" / "tls" / key / "docker";
    bool const tls = fs::exists(files / "ca.pem");
    auto address = parse_engine_address(meta.at(at).template get<std::string>(), tls, origin);
    if (tls && address.url.starts_with("https:"))
      use_certificates(address, files);
    auto const skip = typename Json::json_pointer("/Endpoints/docker/SkipTLSVerify");
    if (meta.contains(skip) && meta.at(skip).is_boolean() && meta.at(skip).template get<bool>())
      throw error(errc::unsupported,
                  origin +
                      " skips the verification of TLS, which is not done here; give it a CA "
                      "('docker context update --docker ca=...')",
                  {.where = hop::docker});
    return address;
  }

  // Where engines listen when nobody said anything: the system's, a rootless one, Docker Desktop.
  std::vector<std::string> sockets{"/var/run/docker.sock"};
  if (auto const run = env("XDG_RUNTIME_DIR"))
    sockets.push_back(*run + "/docker.sock");
  if (home)
    sockets.push_back(*home + "/.docker/run/docker.sock");
  std::error_code ignored;
  for (auto const& path : sockets)
    if (fs::is_socket(path, ignored))
      return parse_engine_address("unix://" + path, false, "the default");
  return parse_engine_address("unix://" + sockets.front(), false, "the default");
}

}  // namespace hf::detail::docker

#endif
