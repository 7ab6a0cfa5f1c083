#ifndef HF_SANDBOX_DOCKER_OPTIONS_HPP
#define HF_SANDBOX_DOCKER_OPTIONS_HPP

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hf {

/// How the agent gets into a container.
enum class docker_injection {
  /// A read-only bind mount where the engine sees this machine's files, else the archive endpoint.
  automatic,
  /// A read-only bind mount; an engine that does not see the file is an error.
  bind_mount,
  /// A copy through the engine's archive endpoint; works with every engine.
  archive,
};

/// How the agent in a container is reached.
enum class docker_reach {
  /// `unix_socket` where it works, else `published_port`.
  automatic,
  /// A unix socket in a directory that the container shares with this machine; needs no network.
  unix_socket,
  /// A port of this machine's loopback interface (or of `docker_options::publish_address`).
  published_port,
  /// The container's own address; for engines whose networks this machine can route to.
  container_address,
};

/// Settings of a `docker_launcher`.
struct docker_options {
  /// Address of the engine as in DOCKER_HOST: "unix:///path", "tcp://host:port" (with TLS on port
  /// 2376 or when `cert_path` is set), "http://..." or "https://...". Empty: what the docker
  /// command would use (DOCKER_HOST, DOCKER_CONTEXT, the current context, /var/run/docker.sock),
  /// then the sockets of rootless engines and Docker Desktop.
  std::string host = {};
  /// Directory with ca.pem, cert.pem and key.pem for an engine behind TLS; empty: DOCKER_CERT_PATH
  /// when DOCKER_TLS_VERIFY is set.
  std::filesystem::path cert_path = {};
  /// The agent's program; empty: found as `locate_agent` does.
  std::filesystem::path agent = {};
  /// How the agent gets into the container.
  docker_injection injection = docker_injection::automatic;
  /// How it is reached.
  docker_reach reach = docker_reach::automatic;
  /// Address of the engine's machine to publish the agent's port at, for an engine elsewhere: the
  /// port is then open to whoever reaches that address, and only the token protects it. Empty:
  /// 127.0.0.1.
  std::string publish_address = {};
  /// Network that containers join; empty: the engine's default bridge. `launch_options::network`
  /// false overrides it.
  std::string network = {};
  /// CPUs of a container, fractions allowed; nothing: those of the flavor.
  std::optional<double> cpus = {};
  /// Memory of a container in bytes, swap included; nothing: that of the flavor.
  std::optional<std::uint64_t> memory = {};
  /// Most processes and threads of a container; 0: no limit.
  std::int64_t pids_limit = 4096;
  /// Capabilities beyond CHOWN, DAC_OVERRIDE, FOWNER, SETUID, SETGID and KILL, for instance
  /// "NET_BIND_SERVICE". Every one weakens the isolation.
  std::vector<std::string> add_capabilities = {};
  /// Pull images that the engine lacks.
  bool pull = true;
};

}  // namespace hf

#endif
