#ifndef HF_SANDBOX_LAUNCHERS_DOCKER_HPP
#define HF_SANDBOX_LAUNCHERS_DOCKER_HPP

#include <hf/sandbox/detail/owner.hpp>
#include <hf/sandbox/docker/launch_any_way.hpp>
#include <hf/sandbox/docker/machines.hpp>
#include <hf/sandbox/docker/options.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>

#include <concepts>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace hf {

/// Starts sandboxes as containers of a Docker engine, which it speaks to itself; no program is run.
///
/// A container's entry point is the agent; the image keeps its environment, user and working
/// directory, and needs nothing but a Linux root, not even a shell. Isolation: no new privileges,
/// the engine's default seccomp profile, all capabilities dropped but CHOWN, DAC_OVERRIDE, FOWNER,
/// SETUID, SETGID and KILL, limits on processes, memory and CPUs, no host files but
/// `launch_options::volumes`. A container is removed by the engine when it ends, and ends itself
/// after `idle_timeout` or `timeout`.
///
/// Whoever may use the engine (in effect root of its machine) can read the agent's token with
/// `docker inspect`, and so can `connect`; secrets are not shown there. See docs/docker.md.
///
/// Errors beside those of the transport: `unsupported` and `invalid_argument` name the option;
/// `connect_failed`, `permission_denied` and `tls_failed` are about the way to the engine;
/// `launch_error` has the stage ("pull", "create", "start" or "ready") and the container's log.
///
/// Movable; all members but moves may be called from several threads at once, and all block.
class docker_launcher {
 public:
  /// Connects to nothing yet; a bad address or context is reported by the first call.
  template <std::same_as<docker_options> Options = docker_options>
  explicit docker_launcher(Options options = {})
      : machines_(new detail::docker::machines<>(std::move(options))) {}

  /// Starts a container and waits until its agent answers. A missing image is pulled first; that
  /// time does not count against `start_timeout`. On failure nothing is left behind, unless the
  /// engine itself is gone.
  template <transport Transport>
  instance launch(Transport& transport, launch_options const& options) {
    return detail::docker::launch(*machines_of<Transport>(), http::transport_ref(transport),
                                  options);
  }

  /// What the engine says of a sandbox, with the endpoint of its agent while it runs. Takes a whole
  /// id, the beginning of one, or a name. `errc::not_found` for a container that is no sandbox,
  /// too.
  template <transport Transport>
  instance inspect(Transport& transport, std::string const& id) {
    return machines_of<Transport>()->inspect(http::transport_ref(transport), id);
  }

  /// The sandboxes of this engine that have not ended, whoever started them; without endpoints.
  template <transport Transport>
  std::vector<instance> list(Transport& transport, label_filter const& filter) {
    return machines_of<Transport>()->list(http::transport_ref(transport), filter);
  }

  /// Kills and removes a container, its anonymous volumes, and its directory on this machine.
  /// Leaves containers alone that are no sandboxes (`errc::invalid_argument`).
  template <transport Transport>
  void stop(Transport& transport, std::string const& id) {
    machines_of<Transport>()->stop(http::transport_ref(transport), id);
  }

  /// The last 50 lines that the agent printed; what commands print is not among them.
  template <transport Transport>
  std::string logs(Transport& transport, std::string const& id) {
    return machines_of<Transport>()->logs(http::transport_ref(transport), id);
  }

 private:
  // Depends on the call's type, so that including this compiles nothing of what is behind it.
  template <class>
  [[nodiscard]] detail::docker::machines<>* machines_of() const noexcept {
    return machines_.get();
  }

  detail::owner<detail::docker::machines<>> machines_;
};

}  // namespace hf

#endif
