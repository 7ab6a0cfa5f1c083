#ifndef HF_SANDBOX_DOCKER_LAUNCH_ANY_WAY_HPP
#define HF_SANDBOX_DOCKER_LAUNCH_ANY_WAY_HPP

#include <hf/sandbox/agent/locate.hpp>
#include <hf/sandbox/docker/container.hpp>
#include <hf/sandbox/docker/launch.hpp>
#include <hf/sandbox/docker/machines.hpp>
#include <hf/sandbox/docker/options.hpp>
#include <hf/sandbox/docker/resources.hpp>
#include <hf/sandbox/docker/socket_directory.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/hub/credentials.hpp>
#include <hf/sandbox/hub/environment.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

namespace hf::detail::docker {

/// How to get the agent into a container and how to reach it there.
struct launch_way {
  bool mount = false;
  docker_reach reach = docker_reach::published_port;
};

/// The best way that options, engine, transport and platform allow. `errc::unsupported` when there
/// is none.
template <class Json>
[[nodiscard]] launch_way best_way(machines<Json>& all, http::transport_ref const& transport,
                                  launch_options const& o, std::string const& agent) {
  auto const& options = all.options();
  auto const& engine = all.engine().address();
  bool const local = !engine.unix_socket.empty();
  launch_way way;

  struct stat info {};
  // Whoever the image's user is, it has to be able to run the program.
  bool const runnable = ::stat(agent.c_str(), &info) == 0 && (info.st_mode & 05) == 05;
  way.mount =
      options.injection == docker_injection::bind_mount ||
      (options.injection == docker_injection::automatic && local && runnable && all.mounts_work());

  bool const sockets = local && socket_directories && transport.behind().unix_sockets;
  if (options.reach == docker_reach::unix_socket && !sockets)
    throw error(errc::unsupported,
                "docker_options::reach: a shared unix socket needs an engine on this Linux machine "
                "and a transport with unix sockets",
                {.where = hop::docker});
  if (options.reach != docker_reach::automatic)
    way.reach = options.reach;
  else if (sockets && all.mounts_work() && all.sockets_work())
    way.reach = docker_reach::unix_socket;
  if (way.reach == docker_reach::unix_socket)
    return way;

  if (!o.network.value_or(true))
    throw error(errc::unsupported,
                "network: without a network the agent can only be reached through a shared unix "
                "socket, which does not work with this engine",
                {.where = hop::docker});
  if (way.reach == docker_reach::published_port && !local && options.publish_address.empty() &&
      !http::is_loopback_host(http::parse_url(engine.url).host))
    throw error(errc::unsupported,
                "the Docker engine at " + engine.name +
                    " is another machine: set docker_options::publish_address to the address of "
                    "that machine where the agents' ports may be opened",
                {.where = hop::docker});
  return way;
}

/// Starts a container in the best way; where that turns out not to work, in the next.
template <class Json>
[[nodiscard]] instance launch(machines<Json>& all, http::transport_ref transport,
                              launch_options const& o) {
  check_launch_options(o);
  container_plan plan;
  plan.image = o.image.empty() ? std::string(default_image) : o.image;
  plan.size = resources_for(all.options(), o.flavor);
  auto secrets = o.secrets;
  if (o.forward_hf_token)
    secrets["HF_TOKEN"] = hub::require_token("", {});

  auto const agent = locate_agent(all.options().agent);
  all.sweep_once(transport, {std::chrono::steady_clock::now() + o.start_timeout, o.stop});
  // At most: mounts do not work, then sockets do not, then what is left has to.
  for (int left = 2;; --left) {
    auto const way = best_way(all, transport, o, agent.string());
    plan.reach = way.reach;
    plan.agent_mount = way.mount ? agent.string() : std::string();
    try {
      return launch_attempt<Json>(all, transport, o, secrets, agent.string(), plan).run();
    } catch (way_blocked const& blocked) {
      auto const& options = all.options();
      bool const choice = blocked.mounts ? options.injection == docker_injection::automatic
                                         : options.reach == docker_reach::automatic;
      if (!choice || left == 0)
        throw launch_error(blocked.cause);
      if (blocked.mounts)
        all.give_up_mounts();
      else
        all.give_up_sockets();
    }
  }
}

}  // namespace hf::detail::docker

#endif
