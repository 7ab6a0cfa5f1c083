#ifndef HF_SANDBOX_LAUNCHERS_PROCESS_HPP
#define HF_SANDBOX_LAUNCHERS_PROCESS_HPP

#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/detail/local_sandboxes.hpp>
#include <hf/sandbox/detail/local_start.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/launchers/process_options.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <sys/socket.h>

#include <chrono>
#include <concepts>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace hf {

/// Starts sandboxes as confined processes of this Linux machine.
///
/// Every sandbox is an agent with a private socket, a home of its own, and a keeper process that
/// ends it with all it started: when `stop` is called, when the creating program ends (however it
/// ends) or destroys the launcher, after `idle_timeout` and `timeout`. `release` takes away the
/// dependence on the creator. Sandboxes of the same user and state directory are found by every
/// program (`inspect`, `list`, `stop`).
///
/// `image` and `flavor` are only recorded, as the labels "hf-sandbox-image" and
/// "hf-sandbox-flavor": commands use the programs of this machine. Volumes of type "bind" and
/// `network = false` need `isolation::private_root`; otherwise commands have this machine's
/// network. `name_space`, `forward_hf_token` and other volumes are refused. Commands inherit PATH,
/// LANG and TZ from the creator, nothing else. Members may be called from several threads at once.
class process_launcher {
 public:
  /// With these settings.
  template <std::same_as<process_launcher_options> Options = process_launcher_options>
  explicit process_launcher(Options options = {})
      : core_(std::make_shared<core<>>(std::move(options))) {}

  /// Starts a sandbox and waits until its agent answers. Errors: `agent_not_found`,
  /// `isolation_unavailable` (with the remedy), `unsupported`, `invalid_argument`,
  /// `launch_failed` and `start_timed_out` (`launch_error`), `cancelled`.
  template <transport T>
  instance launch(T& through, launch_options const& options) {
    auto const deadline = std::chrono::steady_clock::now() + options.start_timeout;
    auto begun =
        detail::begin_local(core_of<T>()->sandboxes, core_of<T>()->options, options, deadline);
    try {
      begun.machine.health = detail::wait_until_ready(
          through, *begun.machine.endpoint, deadline, options.stop,
          [&] {
            if (begun.status->over())
              throw error(errc::launch_failed, "the agent ended before it answered");
          },
          std::chrono::milliseconds(5), std::chrono::milliseconds(20));
    } catch (error const& e) {
      auto const log = begun.undo.now();
      if (e.kind() == errc::start_timed_out || e.kind() == errc::launch_failed)
        throw launch_error(e.kind(), e.what(), "ready", log);
      throw;
    }
    core_of<T>()->hold(begun.machine.id, begun.undo.keep());
    return std::move(begun.machine);
  }

  /// The sandbox with this id; `errc::not_found` when there is none or it has ended.
  template <transport T>
  instance inspect(T&, std::string const& id) {
    if (auto machine = core_of<T>()->sandboxes.find(id))
      return std::move(*machine);
    throw error(errc::not_found, "there is no local sandbox " + id + " (or it has ended)");
  }

  /// The sandboxes that live and carry the labels.
  template <transport T>
  std::vector<instance> list(T&, label_filter const& filter) {
    core_of<T>()->sandboxes.remove_stale();
    std::vector<instance> found;
    for (auto& machine : core_of<T>()->sandboxes.all()) {
      bool wanted = true;
      for (auto const& [key, value] : filter) {
        auto const label = machine.labels.find(key);
        wanted = wanted && label != machine.labels.end() && label->second == value;
      }
      if (wanted)
        found.push_back(std::move(machine));
    }
    return found;
  }

  /// Ends a sandbox: returns when nothing of it runs and it is not found any more. What it wrote is
  /// removed by its keeper, which goes on after this when it is much.
  template <transport T>
  void stop(T&, std::string const& id) {
    core_of<T>()->drop(id);
    core_of<T>()->sandboxes.end(id);
  }

  /// The last lines that the agent printed; empty when there are none or the sandbox has ended.
  template <transport T>
  std::string logs(T&, std::string const& id) {
    auto const directory = core_of<T>()->sandboxes.open(id);
    return directory ? detail::read_file_at(directory.get(), "log").value_or("") : "";
  }

  /// Makes a sandbox that this launcher started outlive it and its program: only `stop`,
  /// `idle_timeout` and `timeout` end it then. `errc::not_found` for others.
  template <transport T>
  void release(T&, std::string const& id) {
    core_of<T>()->release(id);
  }

 private:
  template <class Json = wire::json>
  struct core {
    explicit core(process_launcher_options given)
        : options(std::move(given)), sandboxes(options.state_directory.string()) {}

    process_launcher_options const options;
    detail::local_sandboxes<Json> const sandboxes;
    std::mutex mutex;
    std::map<typename Json::string_t, detail::unique_fd> lifelines;

    void hold(std::string const& id, detail::unique_fd lifeline) {
      std::lock_guard const lock(mutex);
      lifelines[id] = std::move(lifeline);
    }

    void drop(std::string const& id) {
      std::lock_guard const lock(mutex);
      lifelines.erase(id);
    }

    void release(std::string const& id) {
      std::lock_guard const lock(mutex);
      auto const found = lifelines.find(id);
      if (found == lifelines.end())
        throw error(errc::not_found, "this launcher has not started the sandbox " + id);
      if (::send(found->second.get(), "R", 1, MSG_NOSIGNAL) != 1)
        throw error(errc::sandbox_expired, "sandbox " + id + " has ended");
      lifelines.erase(found);
    }
  };

  // Depends on the call's type, so that including this compiles nothing of what is behind it.
  template <class>
  [[nodiscard]] core<>* core_of() const noexcept {
    return core_.get();
  }

  std::shared_ptr<core<>> core_;
};

}  // namespace hf

#endif
